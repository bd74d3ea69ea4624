"""broker/policy."""
