"""How much of the space for session policies and session tags a call takes: STS calls it the packed size.

AWS publishes neither the packing nor the space, so this rule is an approximation: policies may have 2048 characters,
tags 450, and the shares add up. It lies near what was seen: 9 tags of 252 characters are 498 %
(github.com/aws-actions/configure-aws-credentials/issues/1898), and tags that are handed on count, passed or not
(github.com/aws/containers-roadmap/issues/2413). It refuses to know what the policies say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.aws.refusal import Refusal

if TYPE_CHECKING:
    from sandbox.aws.exchange_request import ExchangeRequest
    from sandbox.aws.session_tags import SessionTags

_POLICY_CHARACTERS = 2048
_TAG_CHARACTERS = 450
_ALL = 100


def packed_size(request: ExchangeRequest, tags: SessionTags) -> dict[str, str]:
    """Give the element of the answer, none without policies and tags; Refusal: it is too much."""
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
