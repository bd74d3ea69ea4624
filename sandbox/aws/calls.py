"""The record of what STS was asked: a list that tests and the demo read, and can wait on.

Rules: a call is recorded before its answer leaves, so whoever has the answer finds the record; tokens appear as a short
fingerprint only.
It refuses to know what the calls mean.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox.aws.constraints import members

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call. `outcome` is "Success", the error code, "HTTP <status>", "Hang" or "Reset"; `fault` names a fault.

    `reason` says why a call was refused, in more words than the caller gets.
    Texts that the caller did not send are empty; `duration_seconds` is None when the request left it to STS or was
    not readable. `caller_arn` is of the session or user whose key signed the call, checked or not, and empty where
    nobody did. Tags appear by their keys and an external id by its presence, also in `reason`.
    """

    time: datetime
    action: str
    role_arn: str
    session_name: str
    duration_seconds: int | None
    token_fingerprint: str
    outcome: str = ""
    request_id: str = ""
    fault: str | None = None
    reason: str = ""
    caller_arn: str = ""
    has_external_id: bool = False
    has_policy: bool = False
    policy_arns: tuple[str, ...] = ()
    tag_keys: tuple[str, ...] = ()
    transitive_tag_keys: tuple[str, ...] = ()
    source_identity: str = ""


def fingerprint(token: str) -> str:
    """Name a token without showing it: the first 12 hex digits of its SHA-256; empty for no token."""
    return hashlib.sha256(token.encode()).hexdigest()[:12] if token else ""


def call_of(form: Mapping[str, str], *, time: datetime, caller_arn: str) -> Call:
    """Record what was asked, however wrong it is; how it ended is left open."""
    duration = form.get("DurationSeconds", "")
    return Call(
        time=time,
        action=form.get("Action", ""),
        role_arn=form.get("RoleArn", ""),
        session_name=form.get("RoleSessionName", ""),
        duration_seconds=int(duration) if duration.isdecimal() else None,
        token_fingerprint=fingerprint(form.get("WebIdentityToken", "")),
        caller_arn=caller_arn,
        has_external_id="ExternalId" in form,
        has_policy="Policy" in form,
        policy_arns=tuple(members(form, "PolicyArns", field="arn").values()),
        tag_keys=tuple(members(form, "Tags", field="Key").values()),
        transitive_tag_keys=tuple(members(form, "TransitiveTagKeys").values()),
        source_identity=form.get("SourceIdentity", ""),
    )


def without_external_id(form: Mapping[str, str], reason: str) -> str:
    """Take the external id that was sent out of a reason."""
    external_id = form.get("ExternalId", "")
    return reason.replace(external_id, "<external id>") if external_id else reason


class CallLog:
    """A thread-safe list of calls, oldest first."""

    def __init__(self) -> None:
        self._calls: list[Call] = []
        self._changed = threading.Condition()

    def record(self, call: Call) -> None:
        """Append a call."""
        with self._changed:
            self._calls.append(call)
            self._changed.notify_all()

    def snapshot(self) -> list[Call]:
        """Copy the list."""
        with self._changed:
            return list(self._calls)

    def clear(self) -> None:
        """Forget all calls."""
        with self._changed:
            self._calls.clear()

    def wait_for(self, count: int, timeout: timedelta) -> list[Call]:
        """Wait until there are at least `count` calls; TimeoutError after `timeout` of real time."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._calls) >= count, timeout.total_seconds()):
                raise TimeoutError(f"{len(self._calls)} of {count} calls arrived within {timeout}")
            return list(self._calls)
