"""sandbox/cluster."""
