"""The health page: `/livez`, `/readyz`, `/metrics`, `/status`, answered from a snapshot, never by waiting for STS.

Nothing secret is served here, because the listener is open to the pod's network.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from broker.core.status import has_readers_served, is_live, is_ready, unready_profiles, why_unready
from broker.core.timestamps import timestamp

if TYPE_CHECKING:
    from datetime import datetime

    from broker.core.clock import Clock
    from broker.core.status import ProfileStatus, Snapshot

_TEXT = "text/plain; charset=utf-8"
_JSON = "application/json"
_STATUS_LINES = {200: "200 OK", 404: "404 Not Found", 405: "405 Method Not Allowed", 503: "503 Service Unavailable"}
_INDEX = "/livez\n/readyz\n/metrics\n/status\n"

StartResponse = Callable[[str, list[tuple[str, str]]], object]
RenderMetrics = Callable[[str], tuple[str, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthApplication:
    """The WSGI application. `take` returns the present snapshot, `render_metrics` a scrape's content type and body."""

    take: Callable[[], Snapshot]
    render_metrics: RenderMetrics
    clock: Clock

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            status, content_type, body = 405, _TEXT, b"GET or HEAD\n"
        else:
            status, content_type, body = self._answer(environ["PATH_INFO"], environ.get("HTTP_ACCEPT", ""))
        headers = [("Content-Type", content_type), ("Content-Length", str(len(body))), ("Cache-Control", "no-store")]
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            headers.append(("Allow", "GET, HEAD"))
        start_response(_STATUS_LINES[status], headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _answer(self, path: str, accept: str) -> tuple[int, str, bytes]:
        match path:
            case "/livez":
                live = is_live(self.take(), self.clock.read().monotonic)
                return (200, _TEXT, b"live\n") if live else (503, _TEXT, b"the loop does not turn\n")
            case "/readyz":
                unready = _unready_text(self.take(), self.clock.read().now)
                return (503, _TEXT, unready.encode(errors="backslashreplace")) if unready else (200, _TEXT, b"ready\n")
            case "/metrics":
                return 200, *self.render_metrics(accept)
            case "/status":
                document = status_document(self.take(), self.clock.read().now)
                return 200, _JSON, json.dumps(document, indent=2).encode() + b"\n"
            case "/":
                return 200, _TEXT, _INDEX.encode()
            case _:
                return 404, _TEXT, _INDEX.encode()


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
