"""What to request a web identity token for, and the limits of STS for such tokens.

This module is imported only to check the settings, or if a profile has `web_identity_token`.
"""

from __future__ import annotations

from datetime import timedelta

from broker.core.records import Struct

MINIMUM_LIFETIME = timedelta(seconds=60)
"""The shortest lifetime that STS accepts, and `MAXIMUM_LIFETIME` the longest (botocore's STS model)."""
MAXIMUM_LIFETIME = timedelta(hours=1)
DEFAULT_LIFETIME = timedelta(minutes=5)
MAXIMUM_AUDIENCES = 10
MAXIMUM_AUDIENCE_LENGTH = 1000
SIGNING_ALGORITHMS = ("RS256", "ES384")
FILE_ENDING = "jwt"
"""The token of a profile is published as `<profile>.jwt`."""


class WebIdentityTokenSpec(Struct, frozen=True, kw_only=True):
    """What to request for a profile: the audiences, the lifetime and the signature of its tokens."""

    audiences: tuple[str, ...]
    duration: timedelta = DEFAULT_LIFETIME
    signing_algorithm: str = SIGNING_ALGORITHMS[0]
