"""The health listener over real sockets: what it says, to whom, and that nothing can make it wait."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest

from broker.core import events
from broker.core.errors import RoleDenied, TokenAudienceMismatch, TokenError
from broker.core.refresher import Message, Refresher, Stop, Wake
from broker.core.schedule import Action, Decision, Phase, Reason, RefreshPolicy
from broker.core.session_sizes import SessionSizes
from broker.core.status import Status
from broker.loop.event_loop import EventLoop, Inbox
from broker.publish.background import BackgroundSink
from broker.runtime.loop_clock import LoopClock
from broker.serving.answer_counts import AnswerCounts
from broker.serving.health import HealthApplication
from broker.serving.http_messages import Response
from broker.serving.listener import Listener, open_socket
from broker.serving.process_readings import ProcessReader
from tests.support.fakes import EPOCH, FakeClock, make_credentials, make_generation, make_profile, make_token
from tests.support.loops import LoopThread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from broker.core.errors import ExchangeError
    from broker.core.model import BoundToken, Generation, ProfileSpec, Proof, TemporaryCredentials

INDEX = b"/livez\n/readyz\n/metrics\n/status\n"


class Health:
    """A listener on a free port of loopback, and all that feeds it."""

    def __init__(self, *profiles: ProfileSpec) -> None:
        self.clock = FakeClock()
        self.status = Status(profiles or (make_profile(),))
        self.answers = AnswerCounts(profile.name for profile in profiles or (make_profile(),))
        application = HealthApplication(
            take_snapshot=self.status.snapshot,
            read_process=ProcessReader().read,
            clock=self.clock,
            answers=self.answers.counts,
        )
        self._loop = LoopThread()
        self.listener = Listener(application, open_socket("127.0.0.1", 0), self._loop.loop, name="health")
        self._loop.start()
        self._loop.run(self.listener.start)

    def close(self) -> None:
        """Stop listening."""
        self._loop.stop()
        self.listener.close()

    def turn(self) -> None:
        """Let the loop turn once."""
        self.status.record(events.Turned(at=self.clock.read()))

    def publish(self, generation: Generation) -> None:
        """Let readers have this generation."""
        at = self.clock.read()
        self.status.record(events.Exchanged(at=at, generation=generation, duration=timedelta(seconds=0.2)))
        refresh_at = EPOCH + timedelta(minutes=30)
        self.status.record(events.Published(at=at, generation=generation, refresh_at=refresh_at))

    def request(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Return status, headers and body of the answer."""
        connection = _connection(self.listener)
        with contextlib.closing(connection):
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            return response.status, response.msg, response.read()

    def get(self, path: str) -> tuple[int, str]:
        """Return status and text of a GET."""
        status, _, body = self.request("GET", path)
        return status, body.decode()

    def raw(self, sent: bytes) -> bytes:
        """Return all that is answered to these bytes."""
        with socket.create_connection(self.listener.address, timeout=5) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.fixture
def health() -> Iterator[Health]:
    health = Health()
    yield health
    health.close()


class TestLivez:
    """Liveness depends on the main loop only."""

    def test_not_live_before_the_first_turn(self, health: Health) -> None:
        assert health.get("/livez") == (503, "the main loop is not running\n")

    def test_live_while_the_loop_turns_whatever_fails(self, health: Health) -> None:
        health.turn()
        health.status.record(events.TokenUnfit(at=health.clock.read(), profile="default", error=_mismatch()))
        assert health.get("/livez") == (200, "live\n")

    def test_not_live_after_three_naps_without_a_turn(self, health: Health) -> None:
        health.turn()
        health.clock.advance(timedelta(seconds=89))
        assert health.get("/livez")[0] == 200
        health.clock.advance(timedelta(seconds=1))
        assert health.get("/livez")[0] == 503

    def test_leap_of_the_wall_clock_kills_nobody(self, health: Health) -> None:
        health.turn()
        health.clock.jump(timedelta(days=365))
        assert health.get("/livez")[0] == 200


class TestReadyz:
    """Whether readers of every required profile have unexpired credentials."""

    def test_not_ready_before_anything_is_published(self, health: Health) -> None:
        assert health.get("/readyz") == (503, "default: no credentials published yet\n")

    def test_ready_from_publication_to_expiry(self, health: Health) -> None:
        health.publish(make_generation())
        assert health.get("/readyz") == (200, "ready\n")
        health.clock.advance(timedelta(minutes=59, seconds=59))
        assert health.get("/readyz")[0] == 200
        health.clock.advance(timedelta(seconds=1))
        assert health.get("/readyz") == (503, "default: credentials expired\n")

    def test_ready_through_failures_as_long_as_credentials_are_good(self, health: Health) -> None:
        """A pod that still works must be neither restarted nor removed from its Services."""
        health.publish(make_generation())
        health.status.record(_failed(health))
        assert health.get("/readyz")[0] == 200

    def test_fault_is_the_answer_to_why_not(self, health: Health) -> None:
        health.status.record(_failed(health))
        assert health.get("/readyz") == (503, "default: role_denied: No. Fix the trust policy.\n")

    def test_profile_that_is_not_required_is_not_waited_for(self) -> None:
        health = Health(make_profile("app"), make_profile("extra", required=False))
        health.publish(make_generation("app"))
        assert health.get("/readyz")[0] == 200
        health.close()

    def test_every_profile_that_is_not_ready_has_its_line(self) -> None:
        health = Health(make_profile("a"), make_profile("b"))
        assert health.get("/readyz")[1].count("\n") == 2
        health.close()

    def test_audience_that_no_encoding_has_is_told_all_the_same(self, health: Health) -> None:
        """A token's claims are anybody's text: JSON can spell half a character."""
        error = TokenAudienceMismatch("Audience \ud800.")
        health.status.record(events.TokenUnfit(at=health.clock.read(), profile="default", error=error))
        status, text = health.get("/readyz")
        assert status == 503
        assert "token_audience_mismatch" in text
        assert health.get("/status")[0] == 200


class TestStatus:
    """The snapshot as JSON."""

    def test_status_leaves_out_fields_without_a_value(self, health: Health) -> None:
        _, text = health.get("/status")
        document = json.loads(text)
        assert document.keys() == {"ready", "profiles"}
        assert document["ready"] is False
        (profile,) = document["profiles"]
        assert profile == {
            "profile": "default",
            "role_arn": "arn:aws:iam::123456789012:role/app",
            "required": True,
            "ready": False,
            "phase": "starting",
            "generation": 0,
            "published_generation": 0,
            "refreshes": [],
            "answers": {},
        }

    def test_status_has_the_answers_of_the_endpoint_by_profile_and_code(self) -> None:
        health = Health(make_profile("app"), make_profile("extra"))
        for profile, code in (("app", HTTPStatus.OK), ("app", HTTPStatus.OK), ("app", HTTPStatus.UNAUTHORIZED)):
            health.answers.record(Response(status=code, body=b"", profile=profile))
        health.answers.record(Response(status=HTTPStatus.NOT_FOUND, body=b""))
        document = json.loads(health.get("/status")[1])
        assert document["answers"] == {"404": 1}
        assert [profile["answers"] for profile in document["profiles"]] == [{"200": 2, "401": 1}, {}]
        health.close()

    def test_status_has_the_sizes_that_sts_reported(self, health: Health) -> None:
        health.publish(make_generation(sizes=SessionSizes(packed_policy_percent=0, session_token_bytes=1680)))
        (profile,) = json.loads(health.get("/status")[1])["profiles"]
        assert (profile["packed_policy_percent"], profile["session_token_bytes"]) == (0, 1680)
        assert "session_token_percent" not in profile

    def test_profile_that_need_not_be_ready_is_ready_only_where_it_is(self) -> None:
        """Otherwise the status of a denied chained role that is optional would look healthy."""
        health = Health(make_profile("app"), make_profile("extra", required=False))
        health.publish(make_generation("app"))
        document = json.loads(health.get("/status")[1])
        assert document["ready"]
        assert [profile["ready"] for profile in document["profiles"]] == [True, False]
        health.close()

    def test_status_tells_everything_but_secrets(self, health: Health) -> None:
        generation, token, at = make_generation(clock_skew=timedelta(seconds=2.5)), make_token(), health.clock.read()
        decision = Decision(
            action=Action.EXCHANGE,
            phase=Phase.FRESH,
            reason=Reason.NO_CREDENTIALS,
            refresh_at=EPOCH + timedelta(hours=1),
        )
        health.status.record(events.Decided(at=at, profile="default", decision=decision))
        health.status.record(events.TokenObserved(at=at, profile="default", token=token))
        health.publish(generation)
        health.status.record(_failed(health))
        status, headers, body = health.request("GET", "/status")
        document = json.loads(body)
        assert (status, headers["Content-Type"]) == (200, "application/json")
        assert (document["ready"], document["clock_skew_seconds"]) == (True, 2.5)
        assert document["profiles"] == [
            {
                "profile": "default",
                "role_arn": "arn:aws:iam::123456789012:role/app",
                "assumed_role_arn": generation.credentials.assumed_role_arn,
                "required": True,
                "ready": True,
                "phase": "fresh",
                "generation": 1,
                "published_generation": 1,
                "expires_at": "2026-11-23T13:00:00Z",
                "next_refresh_at": "2026-11-23T12:30:00Z",
                "token_fingerprint": token.fingerprint,
                "token_issued_at": "2026-11-23T12:00:00Z",
                "token_expires_at": "2026-11-23T13:00:00Z",
                "fault": {
                    "reason": "role_denied",
                    "message": "No.",
                    "remedy": "Fix the trust policy.",
                    "since": "2026-11-23T12:00:00Z",
                    "count": 1,
                },
                "refreshes": [
                    {"outcome": "success", "reason": "refresh_due", "count": 1},
                    {"outcome": "failure", "reason": "role_denied", "count": 1},
                ],
                "answers": {},
            }
        ]
        for secret in (generation.credentials.secret_access_key, generation.credentials.session_token, token.raw):
            assert secret.reveal().encode() not in body


class TestHttp:
    """The protocol, and its abuse."""

    def test_root_and_unknown_paths_list_what_there_is(self, health: Health) -> None:
        assert health.request("GET", "/")[::2] == (200, INDEX)
        assert health.request("GET", "/nope")[::2] == (404, INDEX)
        assert health.request("GET", "/livez/")[0] == 404
        assert health.request("GET", "/%ff")[0] == 404

    def test_query_is_passed_over(self, health: Health) -> None:
        health.turn()
        assert health.get("/livez?verbose=1")[0] == 200

    @pytest.mark.parametrize("path", ["/", "/livez", "/readyz", "/metrics", "/status", "/nope"])
    def test_head_is_get_without_a_body(self, health: Health, path: str) -> None:
        status, headers, body = health.request("HEAD", path)
        assert status == health.get(path)[0]
        assert int(headers["Content-Length"]) > 0
        assert body == b""

    @pytest.mark.parametrize("path", ["/livez", "/metrics", "/nope"])
    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
    def test_other_methods_are_refused_and_told_which_are_not(self, health: Health, method: str, path: str) -> None:
        status, headers, body = health.request(method, path)
        assert (status, headers["Allow"], body) == (405, "GET, HEAD", b"Method not allowed. Use GET or HEAD.\n")

    def test_answers_are_not_to_be_cached_and_name_no_server(self, health: Health) -> None:
        _, headers, _ = health.request("GET", "/readyz")
        assert headers["Cache-Control"] == "no-store"
        assert headers["Server"] is None

    @pytest.mark.parametrize(
        ("sent", "answered"),
        [
            (b"GET /livez HTTP/1.1\r\nX: ".ljust(8192, b"a"), b" 431 "),
            (b"GET /".ljust(8192, b"a"), b" 431 "),
            (b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 2000\r\n\r\n" + b"x" * 2000, b" 413 "),
            (b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", b" 400 "),
            (b"\x16\x03\x01 no TLS here\r\n\r\n", b" 400 "),
            (b"GET /livez HTTP/1.0\r\n\r\n", b" 503 "),
        ],
    )
    def test_what_is_too_much_or_no_http_is_answered_in_short(
        self, health: Health, sent: bytes, answered: bytes
    ) -> None:
        assert answered in health.raw(sent).split(b"\r\n")[0]
        assert health.get("/")[0] == 200

    def test_clients_that_say_nothing_keep_nobody_waiting(self, health: Health) -> None:
        silent = [socket.create_connection(health.listener.address) for _ in range(20)]
        silent[0].sendall(b"GET /livez HT")
        assert health.get("/")[0] == 200
        for connection in silent:
            connection.close()

    @pytest.mark.parametrize(
        "accept",
        [
            "",
            "text/html",
            "application/openmetrics-text",
            # The default of Prometheus 3: https://prometheus.io/docs/instrumenting/content_negotiation/
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
                "application/openmetrics-text;version=0.0.1;q=0.4,"
                "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
            ),
        ],
    )
    def test_metrics_have_the_text_format_whatever_is_accepted(self, health: Health, accept: str) -> None:
        """Scrapers parse by the Content-Type of the response."""
        status, headers, body = health.request("GET", "/metrics", Accept=accept)
        assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
        assert b"\nsts_broker_ready 0.0\n" in body
        assert b"\nprocess_open_fds " in body


def test_probes_are_answered_while_sts_and_the_disk_hang() -> None:
    """One thread runs the main loop and the listener, and waits for neither."""
    profiles = (make_profile("a"), make_profile("b"))
    loop, status = EventLoop(), Status(profiles)
    clock, inbox, let_go, publishing = LoopClock(loop), Inbox[Message](loop), threading.Event(), threading.Event()

    class Hanging:
        def begin(
            self, profile: ProfileSpec, proof: Proof, on_end: Callable[[TemporaryCredentials | ExchangeError], None]
        ) -> None:
            del proof
            if profile.name == "a":  # the exchange of the other one does not end
                on_end(make_credentials(received_at=clock.read().now))

        def publish(self, generations: Sequence[Generation]) -> None:
            del generations
            publishing.set()
            let_go.wait(10)

        def missing(self) -> frozenset[str]:
            return frozenset()

        def read(self, audience: str) -> BoundToken:
            del audience
            return make_token()

    hanging = Hanging()
    refresher = Refresher(
        profiles=profiles,
        tokens={"a": hanging, "b": hanging},
        exchanges=hanging,
        publisher=BackgroundSink(hanging, name="files", wake=lambda: inbox.put(Wake())),
        record=status.record,
        clock=clock,
        inbox=inbox,
        chance=lambda: 0.0,
        policy=RefreshPolicy(),
    )
    application = HealthApplication(take_snapshot=status.snapshot, read_process=ProcessReader().read, clock=clock)
    listener = Listener(application, open_socket("127.0.0.1", 0), loop, name="health")
    listener.start()
    main_loop = threading.Thread(target=refresher.run, daemon=True)
    main_loop.start()
    assert publishing.wait(10)
    answers = {path: get(listener, path) for path in ("/livez", "/readyz", "/status", "/metrics")}
    assert [status for status, _ in answers.values()] == [200, 503, 200, 200]
    assert json.loads(answers["/status"][1])["profiles"][0]["generation"] == 1
    let_go.set()
    inbox.put(Stop())
    main_loop.join(10)
    listener.close()


def get(listener: Listener, path: str) -> tuple[int, str]:
    """Return status and text of a GET."""
    with contextlib.closing(_connection(listener)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()


def _connection(listener: Listener) -> http.client.HTTPConnection:
    host, port = listener.address
    return http.client.HTTPConnection(host, port, timeout=5)


def _mismatch() -> TokenError:
    return TokenAudienceMismatch("Another audience.")


def _failed(health: Health) -> events.ExchangeFailed:
    return events.ExchangeFailed(
        at=health.clock.read(),
        profile="default",
        error=RoleDenied("No.", "Fix the trust policy."),
        duration=timedelta(seconds=1),
        fingerprint="0123456789ab",
        phase=Phase.FRESH,
        failures=1,
        retry_in=timedelta(seconds=60),
    )
