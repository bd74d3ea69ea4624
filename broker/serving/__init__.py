"""The HTTP side: the listener, the credentials endpoint, the health page, and the metrics.

May import publish (for its formats) and core. Refuses to know how credentials are obtained; it never calls STS and
reads no file.
"""
