"""How much of STS's space a session uses, as far as STS reports it.

STS stores session policies and tags in the session token, whose size has a limit that is not published. Above it, STS
refuses the call (https://repost.aws/knowledge-center/iam-role-aws-sts-error). The sizes are the fields
PackedPolicySize, SessionTokenUtilization and SessionTokenSize of a response (botocore's STS model). STS leaves them out
where they do not apply, and other implementations of STS leave out all.
"""

from __future__ import annotations

from broker.core.records import Struct

NEAR_LIMIT_PERCENT = 80
"""From here on the broker warns. deploy/monitoring has an alert with the same bound."""


class SessionSizes(Struct, frozen=True, kw_only=True):
    """The sizes of one session. None means that STS did not report the size.

    `packed_policy_percent` counts session policies and session tags, inherited tags included. At more than 100, STS
    refuses the call. `session_token_percent` is the share of the maximum size of a session token.
    """

    packed_policy_percent: int | None = None
    session_token_percent: int | None = None
    session_token_bytes: int | None = None


UNKNOWN_SIZES = SessionSizes()


def is_newly_near(percent: int | None, before: int | None) -> bool:
    """Return whether the share is near its limit, and differs from the one that was reported `before`."""
    return percent is not None and percent >= NEAR_LIMIT_PERCENT and percent != before
