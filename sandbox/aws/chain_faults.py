"""Refusals that only signed calls get, with AWS's code, message and status. Queue them with `action="AssumeRole"`."""

from __future__ import annotations

from sandbox.aws.faults import Refuse

EXPIRED_TOKEN = Refuse(code="ExpiredToken", message="The security token included in the request is expired", status=403)
INVALID_CLIENT_TOKEN_ID = Refuse(
    code="InvalidClientTokenId", message="The security token included in the request is invalid.", status=403
)
SIGNATURE_DOES_NOT_MATCH = Refuse(
    code="SignatureDoesNotMatch",
    message="The request signature we calculated does not match the signature you provided.",
    status=403,
)
# The caller's clock is more than 15 minutes behind: github.com/devsecops/bootcamp/issues/101.
SIGNATURE_EXPIRED = Refuse(
    code="SignatureDoesNotMatch",
    message="Signature expired: 20261123T120000Z is now earlier than 20261123T121500Z (20261123T123000Z - 15 min.)",
    status=403,
)
