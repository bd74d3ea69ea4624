"""Scripts that the Dockerfile runs during a build. They are not part of the images."""
