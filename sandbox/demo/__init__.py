"""sandbox/demo."""
