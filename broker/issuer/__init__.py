"""broker/issuer."""
