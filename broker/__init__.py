"""STS federation broker: a bound service account token in, fresh AWS credentials out."""

__version__ = "0.1.0"
