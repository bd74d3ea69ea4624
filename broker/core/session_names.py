"""The name of a role session, made from the claims of the token, so that CloudTrail shows the workload. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from broker.core.model import SPIFFE_SCHEME

if TYPE_CHECKING:
    from broker.core.model import UnverifiedClaims

_MAXIMUM_LENGTH = 64
_MINIMUM_LENGTH = 2
_MINIMUM_POD_LENGTH = 40


def session_name_for(claims: UnverifiedClaims) -> str:
    """Return the session name, which CloudTrail shows, in the 2 to 64 characters that STS allows.

    It is `namespace.pod` of a pod, `repository.run_id` of GitHub Actions, `project_path.job_id` of GitLab, and the path
    of a SPIFFE ID. Tokens of the same pod, run or job give the same name. If it is too long, its unique end is kept.
    The service account replaces a missing pod. In other tokens, the last part of the subject is the name.
    """
    name = claims.pod or claims.service_account or _name_subject(claims.subject)
    head, tail = _replace_invalid_characters(claims.namespace), _replace_invalid_characters(name)
    if claims.repository or claims.project_path:
        head = _replace_invalid_characters(claims.repository or claims.project_path)
        tail = _replace_invalid_characters(claims.run_id or claims.job_id)
        tail = f"{head}.{tail}" if tail else head
    elif head:
        room = _MAXIMUM_LENGTH - 1 - len(head)
        tail = tail[-max(room, _MINIMUM_POD_LENGTH) :]
        head = head[: _MAXIMUM_LENGTH - 1 - len(tail)]
        tail = f"{head}.{tail}"
    tail = tail[-_MAXIMUM_LENGTH:]
    return tail if len(tail) >= _MINIMUM_LENGTH else f"sts-broker-{tail}".rstrip("-")


def _name_subject(subject: str) -> str:
    """Return the path of a SPIFFE ID, or its trust domain if it has no path; the last part of any other subject."""
    if not subject.startswith(SPIFFE_SCHEME):
        return subject.rsplit(":", 1)[-1]
    domain, _, path = subject.removeprefix(SPIFFE_SCHEME).partition("/")
    return path or domain


def _replace_invalid_characters(text: str) -> str:
    """Return `text` with a hyphen instead of each character that STS rejects in a session name."""
    return re.sub(r"[^A-Za-z0-9_+=,.@-]", "-", text)
