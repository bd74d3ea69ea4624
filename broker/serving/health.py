"""The health page: `/livez`, `/readyz`, `/metrics` and `/status`.

Every response comes from a snapshot of the state; none waits for STS. The listener is reachable on the pod's network,
so no response contains a secret.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING

from broker.core.records import Struct, field
from broker.core.status import has_readers_served, is_live, is_ready, unready_profiles, why_unready
from broker.core.timestamps import timestamp
from broker.serving.answer_counts import NO_PROFILE
from broker.serving.exposition import CONTENT_TYPE
from broker.serving.http_messages import JSON, TEXT, Response
from broker.serving.metrics import NO_ANSWERS, Losses, render_metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from broker.core.clock import Clock
    from broker.core.faults import Fault
    from broker.core.notifications import Notified
    from broker.core.report_fields import ReportFields
    from broker.core.status import ProfileStatus, Snapshot
    from broker.core.web_identity_status import WebIdentityTokenStatus
    from broker.serving.http_messages import Request
    from broker.serving.process_readings import ProcessReadings

_UNAVAILABLE = HTTPStatus.SERVICE_UNAVAILABLE
_INDEX = "/livez\n/readyz\n/metrics\n/status\n"


class HealthApplication(Struct, frozen=True, kw_only=True):
    """The application of the health listener.

    `take_snapshot` returns the current snapshot. `read_process` returns the readings of the process, None if there are
    none. `count_losses` counts what the process has lost. `answers` has the numbers of answers of the credentials
    endpoint, by profile and status code.
    """

    take_snapshot: Callable[[], Snapshot]
    read_process: Callable[[], ProcessReadings | None]
    clock: Clock
    count_losses: Callable[[], Losses] = Losses
    answers: Mapping[tuple[str, int], int] = field(default_factory=dict)

    def __call__(self, request: Request) -> Response:
        """Answer one request."""
        if request.method not in {"GET", "HEAD"}:
            return _make_text_response(
                HTTPStatus.METHOD_NOT_ALLOWED, "Method not allowed. Use GET or HEAD.\n", ("Allow", "GET, HEAD")
            )
        return self._answer(request)

    def _answer(self, request: Request) -> Response:
        match request.path:
            case "/livez":
                live = is_live(self.take_snapshot(), self.clock.read().monotonic)
                return _make_text_response(
                    *((HTTPStatus.OK, "live\n") if live else (_UNAVAILABLE, "the main loop is not running\n"))
                )
            case "/readyz":
                unready = _list_unready(self.take_snapshot(), self.clock.read().now)
                return _make_text_response(*((_UNAVAILABLE, unready) if unready else (HTTPStatus.OK, "ready\n")))
            case "/metrics":
                body = render_metrics(
                    self.take_snapshot(), self.clock.read().now, self.read_process(), self.count_losses(), self.answers
                )
                return Response(status=HTTPStatus.OK, body=body, content_type=CONTENT_TYPE)
            case "/status":
                document = build_status_document(self.take_snapshot(), self.clock.read().now, self.answers)
                body = json.dumps(document, indent=2).encode() + b"\n"
                return Response(status=HTTPStatus.OK, body=body, content_type=JSON)
            case "/":
                return _make_text_response(HTTPStatus.OK, _INDEX)
            case _:
                return _make_text_response(HTTPStatus.NOT_FOUND, _INDEX)


def _make_text_response(status: HTTPStatus, text: str, *headers: tuple[str, str]) -> Response:
    return Response(status=status, body=text.encode(errors="backslashreplace"), content_type=TEXT, headers=headers)


def build_status_document(
    snapshot: Snapshot, now: datetime, answers: Mapping[tuple[str, int], int] = NO_ANSWERS
) -> ReportFields:
    """Return the snapshot as JSON values. Fields without a value are left out."""
    document: ReportFields = {"ready": is_ready(snapshot, now)}
    if snapshot.clock_skew is not None:
        document["clock_skew_seconds"] = round(snapshot.clock_skew.total_seconds(), 1)
    answers_by_profile = _group_answers(answers)
    if others := answers_by_profile.get(NO_PROFILE):
        document["answers"] = others
    tokens = {token.profile: token for token in snapshot.web_identity_tokens}
    document["profiles"] = [
        {
            **_build_profile_document(profile, tokens.get(profile.profile), ready=has_readers_served(profile, now)),
            "answers": answers_by_profile.get(profile.profile, {}),
        }
        for profile in snapshot.profiles
    ]
    return document


def _group_answers(answers: Mapping[tuple[str, int], int]) -> dict[str, dict[str, int]]:
    """Return the numbers of answers by profile and status code, without zeros."""
    found: dict[str, dict[str, int]] = {}
    for (profile, code), count in sorted(answers.items()):
        if count:
            found.setdefault(profile, {})[str(int(code))] = count
    return found


def _list_unready(snapshot: Snapshot, now: datetime) -> str:
    """Return one line for each required profile that is not ready, with the cause, or "" if all are ready."""
    unready = unready_profiles(snapshot, now)
    return "".join(
        f"{profile.profile}: {why_unready(profile)}\n" for profile in snapshot.profiles if profile.profile in unready
    )


def _build_profile_document(
    profile: ProfileStatus, token: WebIdentityTokenStatus | None, *, ready: bool
) -> dict[str, object]:
    document: ReportFields = {
        "profile": profile.profile,
        "role_arn": profile.role_arn,
        "source_profile": profile.source,
        "assumed_role_arn": profile.assumed_role_arn,
        "required": profile.required,
        "ready": ready,
        "phase": profile.phase.value,
        "generation": profile.generation,
        "published_generation": profile.published_generation,
        "packed_policy_percent": profile.sizes.packed_policy_percent,
        "session_token_percent": profile.sizes.session_token_percent,
        "session_token_bytes": profile.sizes.session_token_bytes,
        "expires_at": _format_instant(profile.expires_at),
        "next_refresh_at": _format_instant(profile.refresh_at),
        "token_fingerprint": profile.token_fingerprint,
        "token_issued_at": _format_instant(profile.token_issued_at),
        "token_expires_at": _format_instant(profile.token_expires_at),
        "refreshes": [
            _build_refresh_document(outcome, reason, count) for (outcome, reason), count in profile.refreshes.items()
        ],
    }
    if profile.notifications:
        document["notifications"] = [
            _build_notification_document(target, each) for target, each in profile.notifications.items()
        ]
    if profile.fault is not None:
        document["fault"] = _build_fault_document(profile.fault)
    if token is not None:
        document["web_identity_token"] = _build_token_document(token)
    return {name: value for name, value in document.items() if value != "" and value is not None}


def _build_token_document(token: WebIdentityTokenStatus) -> ReportFields:
    document: ReportFields = {
        "refreshes": [
            _build_refresh_document(outcome, reason, count) for (outcome, reason), count in token.refreshes.items()
        ],
    }
    if token.expires_at is not None:
        document["expires_at"] = timestamp(token.expires_at)
    if token.refresh_at is not None:
        document["next_refresh_at"] = timestamp(token.refresh_at)
    if token.fault is not None:
        document["fault"] = _build_fault_document(token.fault)
    return document


def _build_fault_document(fault: Fault) -> ReportFields:
    document: ReportFields = {
        "reason": fault.error.reason,
        "message": fault.error.message,
        "since": timestamp(fault.since),
        "count": fault.count,
    }
    if fault.error.remedy:
        document["remedy"] = fault.error.remedy
    return document


def _build_refresh_document(outcome: str, reason: str, count: int) -> ReportFields:
    return {"outcome": outcome, "reason": reason, "count": count}


def _build_notification_document(target: str, notified: Notified) -> ReportFields:
    document: ReportFields = {"target": target}
    if notified.failure is not None:
        document["fault"] = {"message": notified.failure.message, "remedy": notified.failure.remedy}
    return document


def _format_instant(instant: datetime | None) -> str:
    """Return the instant as `YYYY-MM-DDTHH:MM:SSZ`, "" for None."""
    return "" if instant is None else timestamp(instant)
