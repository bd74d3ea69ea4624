"""broker/doctor."""
