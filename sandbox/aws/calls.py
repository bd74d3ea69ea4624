"""The record of STS calls, which tests and the demo read and can wait for.

A call is recorded before its response is sent, so a client that has the response finds the record. Tokens appear only
as short fingerprints.
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
    """One call. `outcome` is "Success", the error code, "HTTP <status>", "Hang" or "Reset". `fault` names the fault.

    `reason` explains a refusal in more detail than the response. Texts that the caller did not send are empty.
    `duration_seconds` is None if the request has no valid one. `caller_arn` belongs to the session or user whose key
    signed the call, even if the signature is wrong, and is empty for unsigned calls. The record has the keys of tags
    but not their values, and whether there is an external id but not the id, also in `reason`.
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
    """Return the first 12 hex digits of a token's SHA-256; "" for an empty token."""
    return hashlib.sha256(token.encode()).hexdigest()[:12] if token else ""


def describe_call(form: Mapping[str, str], *, time: datetime, caller_arn: str) -> Call:
    """Return the record of a request, valid or not. The caller adds the outcome."""
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
    """Return a reason in which the request's external id is replaced."""
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
        """Return a copy of the list."""
        with self._changed:
            return list(self._calls)

    def clear(self) -> None:
        """Remove all calls."""
        with self._changed:
            self._calls.clear()

    def wait_for(self, count: int, timeout: timedelta) -> list[Call]:
        """Wait until there are at least `count` calls, and return all. Raises TimeoutError after `timeout`."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._calls) >= count, timeout.total_seconds()):
                raise TimeoutError(f"{len(self._calls)} of {count} calls arrived within {timeout}")
            return list(self._calls)
