"""Scripts that the Dockerfile runs while it builds; nothing of them is in the image."""
