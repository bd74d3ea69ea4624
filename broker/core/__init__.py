"""broker/core."""
