"""Role session names that are derived from a token. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from broker.core.model import UnverifiedClaims

SESSION_NAME_MAXIMUM_LENGTH = 64
SESSION_NAME_MINIMUM_LENGTH = 2
_MINIMUM_POD_LENGTH = 40


def session_name_for(claims: UnverifiedClaims) -> str:
    """Return the session name `namespace.pod`, which CloudTrail shows, in the 2 to 64 characters that STS allows.

    If it is too long, the unique end of the pod's name is kept. The service account replaces a missing pod. If both are
    missing, the last part of the subject replaces them.
    """
    name = claims.pod or claims.service_account or claims.subject.rsplit(":", 1)[-1]
    tail = _replace_invalid_characters(name)
    head = _replace_invalid_characters(claims.namespace)
    if head:
        room = SESSION_NAME_MAXIMUM_LENGTH - 1 - len(head)
        tail = tail[-max(room, _MINIMUM_POD_LENGTH) :]
        head = head[: SESSION_NAME_MAXIMUM_LENGTH - 1 - len(tail)]
        tail = f"{head}.{tail}"
    tail = tail[-SESSION_NAME_MAXIMUM_LENGTH:]
    return tail if len(tail) >= SESSION_NAME_MINIMUM_LENGTH else f"sts-broker-{tail}".rstrip("-")


def _replace_invalid_characters(text: str) -> str:
    """Return `text` with a hyphen instead of each character that STS rejects in a session name."""
    return re.sub(r"[^A-Za-z0-9_+=,.@-]", "-", text)
