"""Bound service account tokens: read from the projected file, or requested from the Kubernetes API, and reported.

May import: broker.net, broker.settings, broker.files and broker.core.
Refuses to know: STS. It reads a token's claims to wait and to explain, and never verifies a signature.
"""
