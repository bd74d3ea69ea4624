"""broker/runtime."""
