"""The documents that an OIDC issuer publishes: where they are, how they are fetched, and whether STS can use them.

May import: broker.net and broker.core. Both `sts-broker issuer` and the doctor in the pod use it, so it works
without the cryptography library: whether keys are sound and who signed a token is for broker.issuer, or for STS.
Refuses to know: command lines, files, and how documents are written.
"""
