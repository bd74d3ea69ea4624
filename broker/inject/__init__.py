"""broker/inject."""
