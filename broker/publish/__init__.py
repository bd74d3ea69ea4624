"""broker/publish."""
