"""The sizes in a response: of session policies and session tags, packed, and of the session token.

AWS publishes neither the packing nor the limit, so this is an approximation: policies may have 2048 characters, tags
450, and the two shares are added. It is close to what was observed: 9 tags of 252 characters are 498 %
(github.com/aws-actions/configure-aws-credentials/issues/1898). Inherited tags count even if they are not passed
(github.com/aws/containers-roadmap/issues/2413).

The size of the token is exact. Its share is of 4096 bytes, the most that MinimumSessionTokenSize may ask for in
botocore's STS model, because AWS does not publish the maximum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.aws.refusal import Refusal

if TYPE_CHECKING:
    from sandbox.aws.exchange_request import ExchangeRequest
    from sandbox.aws.session_tags import SessionTags

_POLICY_CHARACTERS = 2048
_TAG_CHARACTERS = 450
_TOKEN_BYTES = 4096
_ALL = 100


def packed_size(request: ExchangeRequest, tags: SessionTags) -> dict[str, str]:
    """Return the PackedPolicySize element, if there are policies or tags. Raises Refusal if the size is too large."""
    share = request.policy_characters / _POLICY_CHARACTERS + tags.characters / _TAG_CHARACTERS
    percent = round(_ALL * share)
    if share > 1:
        percent = max(percent, _ALL + 1)
        if request.policy_characters:
            message = f"Packed policy consumes {percent}% of allotted space, please use smaller policy."
        else:
            message = f"Packed size of session tags consumes {percent}% of allotted space."
        raise Refusal("PackedPolicyTooLarge", message)
    return {"PackedPolicySize": str(max(1, percent))} if share else {}


def token_size(session_token: str) -> dict[str, str]:
    """Return the SessionTokenSize and SessionTokenUtilization elements."""
    size = len(session_token.encode())
    return {
        "SessionTokenUtilization": str(min(_ALL, round(_ALL * size / _TOKEN_BYTES))),
        "SessionTokenSize": str(size),
    }
