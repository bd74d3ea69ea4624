"""broker/settings."""
