"""The health page: `/livez`, `/readyz`, `/metrics`, `/status`, answered from a snapshot, never by waiting for STS.

Nothing secret is served here, because the listener is open to the pod's network.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from broker.core.status import has_readers_served, is_live, is_ready, unready_profiles, why_unready
from broker.core.timestamps import timestamp
from broker.serving.http_messages import JSON, TEXT, Response

if TYPE_CHECKING:
    from datetime import datetime

    from broker.core.clock import Clock
    from broker.core.status import ProfileStatus, Snapshot
    from broker.serving.http_messages import Request

_UNAVAILABLE = HTTPStatus.SERVICE_UNAVAILABLE
_INDEX = "/livez\n/readyz\n/metrics\n/status\n"

RenderMetrics = Callable[[str], tuple[str, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthApplication:
    """The application of the health listener.

    `take` returns the present snapshot, `render_metrics` a scrape's content type and body for an Accept header.
    """

    take: Callable[[], Snapshot]
    render_metrics: RenderMetrics
    clock: Clock

    def __call__(self, request: Request) -> Response:
        """Answer one request."""
        if request.method not in {"GET", "HEAD"}:
            return _text(HTTPStatus.METHOD_NOT_ALLOWED, "GET or HEAD\n", ("Allow", "GET, HEAD"))
        return self._page(request)

    def _page(self, request: Request) -> Response:
        match request.path:
            case "/livez":
                is_turning = is_live(self.take(), self.clock.read().monotonic)
                return _text(*((HTTPStatus.OK, "live\n") if is_turning else (_UNAVAILABLE, "the loop does not turn\n")))
            case "/readyz":
                unready = _unready_text(self.take(), self.clock.read().now)
                return _text(*((_UNAVAILABLE, unready) if unready else (HTTPStatus.OK, "ready\n")))
            case "/metrics":
                content_type, body = self.render_metrics(request.headers.get("accept", ""))
                return Response(status=HTTPStatus.OK, body=body, content_type=content_type)
            case "/status":
                document = status_document(self.take(), self.clock.read().now)
                body = json.dumps(document, indent=2).encode() + b"\n"
                return Response(status=HTTPStatus.OK, body=body, content_type=JSON)
            case "/":
                return _text(HTTPStatus.OK, _INDEX)
            case _:
                return _text(HTTPStatus.NOT_FOUND, _INDEX)


def _text(status: HTTPStatus, text: str, *headers: tuple[str, str]) -> Response:
    return Response(status=status, body=text.encode(errors="backslashreplace"), content_type=TEXT, headers=headers)


def status_document(snapshot: Snapshot, now: datetime) -> dict[str, object]:
    """Return the snapshot as JSON values; times as `YYYY-MM-DDTHH:MM:SSZ`, null where there is none."""
    skew = snapshot.clock_skew
    return {
        "ready": is_ready(snapshot, now),
        "clock_skew_seconds": None if skew is None else round(skew.total_seconds(), 1),
        "profiles": [
            _profile_document(profile, ready=has_readers_served(profile, now)) for profile in snapshot.profiles
        ],
    }


def _unready_text(snapshot: Snapshot, now: datetime) -> str:
    """Return a line for each profile that is not ready, saying why; "" when all are."""
    unready = unready_profiles(snapshot, now)
    return "".join(
        f"{profile.profile}: {why_unready(profile)}\n" for profile in snapshot.profiles if profile.profile in unready
    )


def _profile_document(profile: ProfileStatus, *, ready: bool) -> dict[str, object]:
    fault = profile.fault
    return {
        "profile": profile.profile,
        "role_arn": profile.role_arn,
        "source_profile": profile.source or None,
        "assumed_role_arn": profile.assumed_role_arn,
        "required": profile.required,
        "ready": ready,
        "phase": profile.phase.value,
        "generation": profile.generation,
        "published_generation": profile.published_generation,
        "expires_at": _time(profile.expires_at),
        "next_refresh_at": _time(profile.refresh_at),
        "token": {
            "fingerprint": profile.token_fingerprint,
            "issued_at": _time(profile.token_issued_at),
            "expires_at": _time(profile.token_expires_at),
        },
        "fault": None
        if fault is None
        else {
            "reason": fault.error.reason,
            "message": fault.error.message,
            "remedy": fault.error.remedy,
            "since": timestamp(fault.since),
            "count": fault.count,
        },
        "refreshes": [
            {"outcome": outcome, "reason": reason, "count": count}
            for (outcome, reason), count in profile.refreshes.items()
        ],
    }


def _time(instant: datetime | None) -> str | None:
    return None if instant is None else timestamp(instant)
