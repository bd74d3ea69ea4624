"""Self-hosted OIDC issuers: check one as STS does, and write the documents of one.

May import: broker.discovery, broker.tokens, broker.publish, broker.settings, broker.net, broker.files, broker.core, and
cryptography, which the extra `operator` installs. The sidecar's image contains neither this package nor that library.
Refuses to know: the running broker, and how STS is called.
"""
