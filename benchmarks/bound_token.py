"""A bound service account token, for servers that do not verify signatures."""

from __future__ import annotations

import base64
import json
import secrets
import time

_LIFE_SECONDS = 3600


def make_token() -> str:
    """Return a token with the claims of a bound one and an invalid signature, which the broker does not verify."""
    now = int(time.time())
    claims = {
        "aud": ["sts.amazonaws.com"],
        "exp": now + _LIFE_SECONDS,
        "iat": now,
        "nbf": now,
        "iss": "https://oidc.example/id/0123456789ABCDEF0123456789ABCDEF",
        "sub": "system:serviceaccount:team:app",
        "jti": secrets.token_hex(16),
        "kubernetes.io": {
            "namespace": "team",
            "node": {"name": "node-1", "uid": secrets.token_hex(16)},
            "pod": {"name": "app-6d5f8c7b9-x2x4z", "uid": secrets.token_hex(16)},
            "serviceaccount": {"name": "app", "uid": secrets.token_hex(16)},
        },
    }
    header = {"alg": "RS256", "kid": secrets.token_hex(20), "typ": "JWT"}
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), secrets.token_bytes(256)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
