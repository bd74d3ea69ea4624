"""AWS_ENDPOINT_URL, the SDKs' endpoint for all services. The broker does not read it (docs/adr/0018-sts-endpoint.md).

A variable that is meant for S3 must not redirect the token. Somebody who set it for STS needs to know. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

IGNORED_ENDPOINT_VARIABLE: Final = "AWS_ENDPOINT_URL"
IGNORED_ENDPOINT_REMEDY: Final = "To call a custom STS endpoint, set sts.endpoint_url (AWS_ENDPOINT_URL_STS)."
_FOUND: Final = f"{IGNORED_ENDPOINT_VARIABLE} is set, but the broker does not read it."


def find_ignored_endpoint(environ: Mapping[str, str], endpoint_url: str) -> str:
    """Return the sentence that reports the variable, or "" if it is not set or `endpoint_url` (the setting) is."""
    return _FOUND if environ.get(IGNORED_ENDPOINT_VARIABLE) and not endpoint_url else ""
