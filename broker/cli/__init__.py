"""broker/cli."""
