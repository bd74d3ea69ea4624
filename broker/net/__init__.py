"""broker/net."""
