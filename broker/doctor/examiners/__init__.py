"""broker/doctor/examiners."""
