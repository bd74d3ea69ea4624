"""broker/serving."""
