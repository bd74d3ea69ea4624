"""broker/trust/linter."""
