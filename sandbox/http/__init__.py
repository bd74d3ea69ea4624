"""sandbox/http."""
