"""broker/tokens."""
