"""broker/sts."""
