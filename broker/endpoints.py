"""The health listener: `/livez`, `/readyz`, `/metrics`, `/status`, answered from a snapshot, never by waiting for STS.

waitress does the serving (docs/adr/0003-http-serving.md). Requests are bounded in size, number and idle time. Nothing
secret is served here, because the listener is open to the pod's network.
"""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import waitress.server
import waitress.wasyncore

from broker.formats import timestamp
from broker.status import is_live, unready_profiles

if TYPE_CHECKING:
    from datetime import datetime

    from broker.clock import Clock
    from broker.status import ProfileStatus, Snapshot

CLIENT_PATIENCE_SECONDS = 10
_log = logging.getLogger(__name__)
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
    unready = unready_profiles(snapshot, now)
    skew = snapshot.clock_skew
    return {
        "ready": not unready,
        "clock_skew_seconds": None if skew is None else round(skew.total_seconds(), 1),
        "profiles": [_profile_document(profile, ready=profile.profile not in unready) for profile in snapshot.profiles],
    }


class Listener:
    """Serves an application on one socket, on threads of its own."""

    def __init__(self, application: HealthApplication, listening: socket.socket, *, threads: int = 2) -> None:
        self._server = waitress.server.create_server(
            application,
            sockets=[listening],
            threads=threads,
            ident=None,
            connection_limit=200,
            cleanup_interval=5,
            asyncore_loop_timeout=10,  # how often it wakes with nothing to do; requests wake it at once
            asyncore_use_poll=True,
            max_request_header_size=8192,
            max_request_body_size=1024,
        )
        self._server.maintenance = self._drop_slow_clients
        self._thread = threading.Thread(target=self._server.run, name="health", daemon=True)
        self.address = listening.getsockname()[:2]

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering, within a second, and close the socket."""
        self._server.task_dispatcher.shutdown(timeout=0.5)  # first, for its threads write into the loop's pipe
        trigger = self._server.trigger
        with trigger.lock:  # an awake loop must not close the pipe between these two, which pull_trigger() allows
            trigger.thunks.append(self._close_all)  # waitress's loop must do it itself
            trigger._physical_pull()  # noqa: SLF001 - likewise
        self._thread.join(timeout=1)

    def _drop_slow_clients(self, now: float) -> None:
        """Close what idles, and what has not brought its request by now: waitress itself lets a trickle live on."""
        for channel in self._server.active_channels.values():
            since = channel.last_activity if channel.request is None else channel.creation_time
            if not channel.requests and since < now - CLIENT_PATIENCE_SECONDS:
                channel.will_close = True

    def _close_all(self) -> None:
        waitress.wasyncore.close_all(self._server._map, ignore_all=True)  # noqa: SLF001 - it has no other way to end


def open_socket(host: str, port: int) -> socket.socket:
    """Return a listening socket; host "" means every address, of both families where the node has both.

    Raises OSError.
    """
    if host:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        except OSError:
            _log.debug("No IPv6 here; listening on IPv4 alone.")
    return socket.create_server(("", port))


def _unready_text(snapshot: Snapshot, now: datetime) -> str:
    """Return a line for each profile that is not ready, saying why; "" when all are."""
    unready = unready_profiles(snapshot, now)
    return "".join(
        f"{profile.profile}: {_why(profile)}\n" for profile in snapshot.profiles if profile.profile in unready
    )


def _why(profile: ProfileStatus) -> str:
    if profile.fault is not None:
        return f"{profile.fault.error.reason}: {profile.fault.error}"
    return "no credentials published yet" if profile.published_usable_until is None else "credentials expired"


def _profile_document(profile: ProfileStatus, *, ready: bool) -> dict[str, object]:
    fault = profile.fault
    return {
        "profile": profile.profile,
        "role_arn": profile.role_arn,
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
