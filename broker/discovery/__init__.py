"""broker/discovery."""
