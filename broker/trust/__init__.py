"""broker/trust."""
