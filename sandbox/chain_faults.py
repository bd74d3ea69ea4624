"""Refusals that only a signed call meets, to be scripted with `action="AssumeRole"`.

Codes, messages and statuses are AWS's; https://repost.aws/knowledge-center/ names the ways to come by each.
"""

from __future__ import annotations

from sandbox.faults import Refuse

EXPIRED_TOKEN = Refuse(code="ExpiredToken", message="The security token included in the request is expired", status=403)
INVALID_CLIENT_TOKEN_ID = Refuse(
    code="InvalidClientTokenId", message="The security token included in the request is invalid.", status=403
)
SIGNATURE_DOES_NOT_MATCH = Refuse(
    code="SignatureDoesNotMatch",
    message="The request signature we calculated does not match the signature you provided.",
    status=403,
)
# The caller's clock is behind by more than a quarter of an hour.
SIGNATURE_EXPIRED = Refuse(
    code="SignatureDoesNotMatch",
    message="Signature expired: 20261123T120000Z is now earlier than 20261123T121500Z (20261123T123000Z - 15 min.)",
    status=403,
)
