"""sandbox/aws."""
