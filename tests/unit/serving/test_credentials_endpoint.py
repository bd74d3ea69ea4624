"""The credentials endpoint over real sockets: who gets credentials, who does not and why, and that nobody else can.

Behind it are the real listener, settings and status; the tests record the events that it serves.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from contextlib import ExitStack
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from broker.core import events
from broker.core.errors import PublishError, RoleDenied, TokenUnavailable
from broker.core.model import Configuration
from broker.core.schedule import Phase
from broker.core.status import Status
from broker.publish.formats import container_credentials_json
from broker.serving.answer_counts import AnswerCounts
from broker.serving.credentials_endpoint import PATH, CredentialsApplication, ServedCredentials, generate_token
from broker.serving.http_messages import Request
from broker.serving.listener import Listener, open_socket
from tests.support.fakes import FakeClock, make_credentials, make_generation, make_profile
from tests.support.loops import LoopThread
from tests.support.raw_http import RawAnswer, ask, parsed, request, sent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.core.events import Event
    from broker.core.model import Generation

REFUSED = re.compile(rb"HTTP/1\.[01] (400|401|403|404|405|413|431|501|503) ")
no_deadline = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=150)


class Endpoint:
    """A listener on a free port of loopback, and all that feeds it."""

    def __init__(self, *names: str, host: str = "127.0.0.1", connections: int = 512) -> None:
        configuration = Configuration(profiles=tuple(make_profile(name) for name in names or ("default",)))
        self.clock, self.served, self.token = FakeClock(), ServedCredentials(), generate_token()
        self.status = Status(configuration.profiles)
        self.answers = AnswerCounts(profile.name for profile in configuration.profiles)
        self.application = CredentialsApplication(
            configuration=configuration,
            token=self.token,
            served=self.served,
            take_snapshot=self.status.snapshot,
            clock=self.clock,
        )
        self._loop = LoopThread()
        listening = open_socket(host, 0)
        self._listener = Listener(
            self.application,
            listening,
            self._loop.loop,
            name="credentials",
            connections=connections,
            record=self.answers.record,
        )
        self._loop.start()
        self._loop.run(self._listener.start)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return self._listener.address

    def close(self) -> None:
        """Stop listening."""
        self._loop.stop()
        self._listener.close()

    @property
    def answered(self) -> dict[tuple[str, int], int]:
        """The answers so far, without zeros."""
        return {key: count for key, count in self.answers.counts.items() if count}

    def record(self, event: Event) -> None:
        """Let something happen."""
        self.status.record(event)
        self.served.record(event)

    def hold(self, generation: Generation) -> Generation:
        """Let STS give this generation."""
        self.record(events.Exchanged(at=self.clock.read(), generation=generation, duration=timedelta(seconds=0.2)))
        return generation

    def restore(self, generation: Generation) -> None:
        """Let the broker restore this generation at its start."""
        at = self.clock.read()
        self.record(events.Restored(at=at, generation=generation, phase=Phase.FRESH, refresh_at=at.now))

    def get(self, target: str = PATH, **parts: Any) -> RawAnswer:  # noqa: ANN401 - of a request
        """Ask with the right token, if not told otherwise."""
        return ask(self.address, target, **{"authorization": self.token.reveal(), **parts})

    def fail(self, reason: str = "exchange", profile: str = "default") -> None:
        """Let a step of the refresh fail."""
        at = self.clock.read()
        if reason == "token":
            self.record(events.TokenUnfit(at=at, profile=profile, error=TokenUnavailable("No token.", "Mount it.")))
        elif reason == "publish":
            error = PublishError("Full.", "Make room.", sink="files", errno=28)
            retry_in = timedelta(seconds=1)
            self.record(events.PublishFailed(at=at, profile=profile, error=error, failures=1, retry_in=retry_in))
        else:
            self.record(
                events.ExchangeFailed(
                    at=at,
                    profile=profile,
                    error=RoleDenied("No.", "Fix the trust policy."),
                    duration=timedelta(seconds=1),
                    fingerprint="0123456789ab",
                    phase=Phase.FRESH,
                    failures=1,
                    retry_in=timedelta(seconds=60),
                )
            )


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """Return an endpoint with published credentials."""
    endpoint = Endpoint()
    endpoint.hold(make_generation())
    yield endpoint
    endpoint.close()


@pytest.fixture(scope="module")
def besieged() -> Iterator[Endpoint]:
    """Return one for all hostile clients of this module."""
    endpoint = Endpoint("default", "quasar")
    endpoint.hold(make_generation("default"))
    endpoint.hold(make_generation("quasar", 2))
    yield endpoint
    assert endpoint.get().status == 200
    endpoint.close()


def assert_nothing_leaks(endpoint: Endpoint, answer: bytes) -> None:
    """Look for whatever is to be had with the token only: secrets, and names of profiles."""
    for secret in (b"secret+", b"session//token", b"ASIA", endpoint.token.reveal().encode(), b"quasar"):
        assert secret not in answer


class TestCredentials:
    """What they get who may."""

    def test_restored_credentials_are_served_until_they_expire(self) -> None:
        endpoint = Endpoint()
        endpoint.restore(make_generation())
        assert endpoint.get().json["AccessKeyId"] == make_generation().credentials.access_key_id
        endpoint.clock.advance(timedelta(hours=1))
        assert endpoint.get().status == 503
        endpoint.close()

    def test_answer_is_what_sdks_read(self, endpoint: Endpoint) -> None:
        answer = endpoint.get()
        credentials = make_generation().credentials
        assert answer.status == 200
        assert answer.json == {
            "AccessKeyId": credentials.access_key_id,
            "SecretAccessKey": credentials.secret_access_key.reveal(),
            "Token": credentials.session_token.reveal(),
            "Expiration": "2026-11-23T13:00:00Z",
            "AccountId": "123456789012",
        }
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers

    def test_account_is_left_out_where_none_is_known(self) -> None:
        assert b"AccountId" not in container_credentials_json(make_credentials(account_id=""))

    def test_newest_generation_is_served_though_none_was_published(self, endpoint: Endpoint) -> None:
        endpoint.hold(make_generation(number=2))
        endpoint.fail("publish")
        assert endpoint.get().json["AccessKeyId"] == "ASIA0000000000000002"

    def test_failures_take_nothing_away_while_credentials_are_good(self, endpoint: Endpoint) -> None:
        for reason in ("token", "exchange", "publish"):
            endpoint.fail(reason)
        assert endpoint.get().status == 200

    def test_every_profile_has_its_path(self) -> None:
        endpoint = Endpoint("default", "a.b-c_d")
        endpoint.hold(make_generation("default", 1))
        endpoint.hold(make_generation("a.b-c_d", 2))
        assert endpoint.get().json["AccessKeyId"].endswith("1")
        assert endpoint.get("/v1/credentials/default").json["AccessKeyId"].endswith("1")
        assert endpoint.get("/v1/credentials/a.b-c_d").json["AccessKeyId"].endswith("2")
        endpoint.close()

    def test_only_profile_is_the_default_whatever_its_name(self) -> None:
        endpoint = Endpoint("app")
        endpoint.hold(make_generation("app"))
        assert endpoint.get().status == endpoint.get("/v1/credentials/app").status == 200
        endpoint.close()

    def test_query_is_passed_over(self, endpoint: Endpoint) -> None:
        assert endpoint.get("/v1/credentials?a=b/../..&c").status == 200

    def test_connection_is_kept_for_those_who_want_it(self, endpoint: Endpoint) -> None:
        one = request(authorization=endpoint.token.reveal(), close=False)
        with socket.create_connection(endpoint.address, timeout=10) as client:
            for _ in range(4):
                client.sendall(one)
                answer = client.recv(65536)
                assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
                assert answer.count(b'"SecretAccessKey"') == 1

    def test_white_space_around_the_authorization_is_no_part_of_it(self, endpoint: Endpoint) -> None:
        """RFC 9110, section 5.5."""
        assert endpoint.get(authorization=f" {endpoint.token.reveal()}\t ").status == 200

    def test_old_http_is_answered_and_hung_up_on(self, endpoint: Endpoint) -> None:
        assert endpoint.get(version="HTTP/1.0", close=False).status == 200

    @pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
    def test_ipv6_loopback_serves_too(self) -> None:
        endpoint = Endpoint(host="::1")
        endpoint.hold(make_generation())
        assert endpoint.get(host=f"[::1]:{endpoint.address[1]}").status == 200
        endpoint.close()


class TestUnavailable:
    """503 with the reason, while nothing unexpired is held."""

    def test_nothing_yet_says_so_and_when_to_ask_again(self) -> None:
        endpoint = Endpoint()
        answer = endpoint.get()
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert answer.json["message"] == "default: no credentials yet"
        endpoint.hold(make_generation())
        assert endpoint.get().status == 200
        endpoint.close()

    def test_expired_credentials_are_not_served(self, endpoint: Endpoint) -> None:
        endpoint.clock.advance(timedelta(minutes=59, seconds=59))
        assert endpoint.get().status == 200
        endpoint.clock.advance(timedelta(seconds=1))
        answer = endpoint.get()
        assert (answer.status, answer.json["message"]) == (503, "default: credentials expired")

    def test_credentials_that_sts_ends_sooner_than_it_says_are_not_served_till_then(self, endpoint: Endpoint) -> None:
        """The node's clock is behind: what readers go by is not the end of it."""
        endpoint.hold(make_generation(number=2, lifetime=timedelta(minutes=10), expires_at=endpoint.clock.now))
        assert endpoint.get().status == 503

    @pytest.mark.parametrize(
        ("reason", "message"),
        [
            ("token", "default: token_unavailable: No token. Mount it."),
            ("exchange", "default: role_denied: No. Fix the trust policy."),
            ("publish", "default: no credentials yet"),
        ],
    )
    def test_fault_is_the_answer_to_why(self, reason: str, message: str) -> None:
        endpoint = Endpoint()
        endpoint.fail(reason)
        assert endpoint.get().json["message"] == message
        endpoint.close()

    def test_profiles_lack_credentials_each_for_itself(self) -> None:
        endpoint = Endpoint("default", "app")
        endpoint.hold(make_generation("app"))
        endpoint.fail(profile="default")
        assert endpoint.get("/v1/credentials/app").status == 200
        assert endpoint.get().json["message"].startswith("default: role_denied: ")
        endpoint.close()


class TestRefusals:
    """Who is sent away, with what, and in which order."""

    @pytest.mark.parametrize("name", [None, "", "Basic ", "Bearer {}", " {}x", "{}, {}", "{}\x00", "\xff\xfe", "é"])
    def test_other_authorization_is_401(self, endpoint: Endpoint, name: str | None) -> None:
        given = name if name is None else name.format(endpoint.token.reveal(), endpoint.token.reveal())
        answer = endpoint.get(authorization=given)
        if name == "{} ":  # white space around a header's value is none of it
            assert answer.status == 200
            return
        assert answer.status == (400 if name == "{}\x00" else 401)
        if answer.status == 401:
            assert "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE" in answer.json["message"]
            assert_nothing_leaks(endpoint, answer.body)

    @pytest.mark.parametrize("cut", [1, 20, 42])
    def test_truncated_token_is_401(self, endpoint: Endpoint, cut: int) -> None:
        assert endpoint.get(authorization=endpoint.token.reveal()[:-cut]).status == 401

    def test_doubled_authorization_is_401(self, endpoint: Endpoint) -> None:
        twice = (f"Authorization: {endpoint.token.reveal()}",)
        assert endpoint.get(headers=twice).status == 401

    def test_token_of_another_start_is_401(self, endpoint: Endpoint) -> None:
        assert endpoint.get(authorization=generate_token().reveal()).status == 401

    def test_tokens_are_long_and_never_the_same(self) -> None:
        tokens = {generate_token().reveal() for _ in range(50)}
        assert len(tokens) == 50
        assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", token) for token in tokens)
        assert "redacted" in repr(generate_token())

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "HEAD", "PROPFIND"])
    def test_other_methods_are_405_and_told_which_is_not(self, endpoint: Endpoint, method: str) -> None:
        answer = endpoint.get(method=method)
        assert (answer.status, answer.headers["allow"]) == (405, "GET")
        assert (answer.body == b"") == (method == "HEAD")

    @pytest.mark.parametrize(
        "host",
        ["localhost", "LocalHost:80", "127.0.0.1", "127.0.0.1:9911", "127.255.0.254:1", "[::1]", "[::1]:65535"],
    )
    def test_loopback_names_are_let_in(self, endpoint: Endpoint, host: str) -> None:
        assert endpoint.get(host=host).status == 200

    @pytest.mark.parametrize(
        "host",
        [
            None,
            "",
            "example.com",
            "127.0.0.1.example.com",
            "127.0.0.1:80.example.com",
            "example.com:127.0.0.1",
            "localhost.example.com",
            "localhost.",
            "127.0.0.256",
            "127.1",
            "0.0.0.0",
            "10.0.0.1",
            "169.254.170.2",
            "[::]",
            "::1",
            "[::1",
            "[::ffff:127.0.0.1]",
            "127.0.0.1:",
            "127.0.0.1:999999",
            "localhost, localhost",
            "user@127.0.0.1",
            "127.0.0.1/",
            "\xb2\xb27.0.0.1",
        ],
    )
    def test_other_hosts_are_403_whatever_they_know(self, endpoint: Endpoint, host: str | None) -> None:
        answer = endpoint.get(host=host)
        assert answer.status == 403
        assert_nothing_leaks(endpoint, answer.body)

    def test_doubled_host_is_403(self, endpoint: Endpoint) -> None:
        assert endpoint.get(headers=("Host: 127.0.0.1",)).status == 403

    @pytest.mark.parametrize(
        "header",
        [
            "X-Forwarded-For: 127.0.0.1",
            "x-forwarded-for:",
            "X-Forwarded-Host: example.com",
            "X-Forwarded-Proto: https",
            "X-Real-IP: 127.0.0.1",
            "Forwarded: for=127.0.0.1",
            "Via: 1.1 proxy",
        ],
    )
    def test_forwarded_requests_are_403_whatever_they_know(self, endpoint: Endpoint, header: str) -> None:
        assert endpoint.get(headers=(header,)).status == 403

    def test_unknown_profile_is_404_and_told_which_there_are_only_to_who_has_the_token(self) -> None:
        endpoint = Endpoint("app", "audit")
        answer = endpoint.get("/v1/credentials/nope")
        assert answer.status == 404
        assert "/v1/credentials/app, /v1/credentials/audit" in answer.json["message"]
        strangers = ask(endpoint.address, "/v1/credentials/nope", authorization="x")
        assert strangers.status == ask(endpoint.address, "/v1/credentials/app", authorization="x").status == 401
        assert_nothing_leaks(endpoint, strangers.body)
        endpoint.close()

    def test_default_is_404_and_told_why_where_it_could_be_any_of_several(self) -> None:
        endpoint = Endpoint("app", "audit")
        answer = endpoint.get()
        assert answer.status == 404
        assert "works only with a single profile or with a profile named default" in answer.json["message"]
        endpoint.close()

    @pytest.mark.parametrize(
        "target",
        [
            "/",
            "/v1",
            "/v1/credentials/",
            "/v1/credentials//",
            "//v1/credentials",
            "/v1//credentials",
            "/v1/credentials/default/",
            "/v1/credentials/../credentials",
            "/v1/credentials/%2e%2e/credentials",
            "/v1/./credentials",
            "/v1%2fcredentials",
            "/v1/credentials%2Fdefault",
            "/v1/credentials/def%61ult",
            "/v1/credentials/default%00",
            "/v1/credentials\x00",
            "/v1/credentials;a",
            "/v1/credentials#a",
            "/V1/credentials",
            "/v1/credentials/Default",
            "v1/credentials",
            "http://127.0.0.1/v1/credentials",
            "http://example.com/v1/credentials",
            "*",
            "/v1/credentials/" + "a" * 7000,
            "/readyz",
            "/v1/credentials/\xff",
        ],
    )
    def test_other_spellings_lead_nowhere(self, endpoint: Endpoint, target: str) -> None:
        answer = endpoint.get(target)
        assert answer.status in {400, 404}
        for secret in (b"secret+", b"session//token", b"ASIA"):
            assert secret not in answer.body

    @pytest.mark.parametrize("status", [401, 403, 404, 405, 503])
    def test_refusals_have_the_shape_that_every_sdk_reads(self, status: int) -> None:
        endpoint, changes = Endpoint(), dict[str, Any]()
        changes = {
            401: {"authorization": "x"},
            403: {"host": "example.com"},
            404: {"target": "/"},
            405: {"method": "POST"},
        }.get(status, {})
        answer = endpoint.get(**changes)
        document = answer.json
        assert answer.status == status
        assert document["code"] == document["Code"] != "Success"
        assert document["message"] == document["Message"]
        assert document["message"].endswith((".", "yet"))
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
        endpoint.close()


class TestCounts:
    """Which answers count for which profile."""

    def test_usual_answers_begin_at_zero_for_each_profile_and_for_none(self) -> None:
        endpoint = Endpoint("app", "other")
        profiles = {(name, code) for name in ("app", "other") for code in (200, 401, 403, 503)}
        assert endpoint.answers.counts == dict.fromkeys(profiles | {("", code) for code in (400, 401, 403, 404)}, 0)
        endpoint.close()

    def test_every_answer_counts_once_for_the_profile_in_its_path(self) -> None:
        endpoint = Endpoint("app", "other")
        endpoint.hold(make_generation("app"))
        other = f"{PATH}/other"
        for _ in range(3):
            assert endpoint.get(f"{PATH}/app").status == 200
        assert endpoint.get(other).status == 503
        assert endpoint.get(other, authorization="wrong").status == 401
        assert endpoint.get(other, host="example.com").status == 403
        assert endpoint.get(other, headers=("Via: 1.1 proxy",)).status == 403
        assert endpoint.get(other, method="POST").status == 405
        assert endpoint.answered == {
            ("app", 200): 3,
            ("other", 503): 1,
            ("other", 401): 1,
            ("other", 403): 2,
            ("other", 405): 1,
        }
        endpoint.close()

    def test_short_path_counts_for_the_only_profile_and_its_query_does_not_matter(self, endpoint: Endpoint) -> None:
        assert endpoint.get().status == endpoint.get(f"{PATH}?a=1").status == endpoint.get(f"{PATH}/default").status
        assert endpoint.answered == {("default", 200): 3}

    def test_path_that_names_no_profile_counts_for_none(self) -> None:
        endpoint = Endpoint("app", "other")
        assert endpoint.get(PATH).status == 404
        assert endpoint.get(f"{PATH}/typo").status == 404
        assert endpoint.get("/", authorization="wrong").status == 401
        assert endpoint.get("/", host="example.com").status == 403
        assert endpoint.answered == {("", 404): 2, ("", 401): 1, ("", 403): 1}
        endpoint.close()

    @pytest.mark.parametrize(
        ("content", "code"),
        [
            (b"nonsense\r\n\r\n", 400),
            (b"GET /v1/credentials HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 9000, 431),
            (b"GET /v1/credentials HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000\r\n\r\n", 413),
            (b"GET /v1/credentials HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
        ],
    )
    def test_request_that_cannot_be_read_counts_for_no_profile(
        self, endpoint: Endpoint, content: bytes, code: int
    ) -> None:
        assert sent(endpoint.address, content).split(b" ")[1] == b"%d" % code
        assert endpoint.answered == {("", code): 1}

    def test_bug_counts_for_no_profile(self, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(endpoint.served, "get_response", lambda *_: 1 // 0)
        assert endpoint.get().status == 500
        assert endpoint.answered == {("", 500): 1}

    def test_client_that_gets_no_answer_is_not_counted(self, endpoint: Endpoint) -> None:
        with socket.create_connection(endpoint.address, timeout=10) as client:
            client.sendall(b"GET /v1/cred")
        assert endpoint.get().status == 200
        assert endpoint.answered == {("default", 200): 1}

    def test_each_request_on_a_kept_connection_counts(self, endpoint: Endpoint) -> None:
        with socket.create_connection(endpoint.address, timeout=10) as client:
            for _ in range(5):
                client.sendall(request(authorization=endpoint.token.reveal(), close=False))
                assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert endpoint.answered == {("default", 200): 5}


class TestHostileClients:
    """Whatever they send: a refusal or nothing, no secret, and the next one is served."""

    @pytest.mark.parametrize(
        ("content", "status"),
        [
            (b"GET /v1/credentials HTTP/1.1\r\nX: ".ljust(8192, b"a"), 431),
            (b"GET /".ljust(8192, b"a"), 431),
            (b"GET /v1/credentials\r\n\r\n", 505),  # HTTP/0.9
            (b"GET /v1/credentials HTTP/2.0\r\nHost: 127.0.0.1\r\n\r\n", 505),
            (b"\x16\x03\x01 no TLS here\r\n\r\n", 400),
            (b"GET  /v1/credentials HTTP/1.1\r\nConnection: close\r\n\r\n", 403),
            (b"GET /v1/credentials HTTP/1.1\r\nHost : 127.0.0.1\r\n\r\n", 400),
            (b"GET /v1/credentials HTTP/1.1\r\nHost: 127.0.0.1\nX: y\r\n\r\n", 400),
            (b"GET /v1/credentials HTTP/1.1\r\nHost: 127.0.0.1\r\n\tfolded: y\r\nConnection: close\r\n\r\n", 400),
            (b"get /v1/credentials HTTP/1.1\r\n\r\n", 400),
            (b"POST /v1/credentials HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2000\r\n\r\n" + b"x" * 2000, 413),
            (b"POST /v1/credentials HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n", 400),
            (b"POST /v1/credentials HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
            (b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
            (
                b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + b"401\r\n" + b"x" * 1025,
                413,
            ),
            (request(headers=("Transfer-Encoding: chunked",)) + b"2\r\nhi\r\n0\r\n\r\n", 401),
        ],
    )
    def test_what_is_too_much_or_no_http_is_answered_in_short(
        self, endpoint: Endpoint, content: bytes, status: int
    ) -> None:
        answer = sent(endpoint.address, content)
        assert answer.startswith((b"HTTP/1.0 %d " % status, b"HTTP/1.1 %d " % status))
        assert_nothing_leaks(endpoint, answer)
        assert endpoint.get().status == 200

    @given(content=st.binary(max_size=400))
    @example(content=b"\r\n" * 200)
    @example(content=b"\0" * 400)
    @no_deadline
    def test_any_bytes_get_a_refusal_or_nothing(self, besieged: Endpoint, content: bytes) -> None:
        answer = sent(besieged.address, content, finish=True)
        assert not answer or REFUSED.match(answer)
        assert_nothing_leaks(besieged, answer)

    @given(
        method=st.sampled_from(["GET", "HEAD", "POST", "G ET", "", "get"]),
        target=st.text(st.characters(max_codepoint=255), max_size=40).map(lambda text: f"/v1/credentials{text}"),
        host=st.sampled_from(["127.0.0.1", "localhost:9911", "example.com", "[::1]"]),
        authorization=st.text(st.characters(max_codepoint=255), max_size=60),
        names=st.lists(
            st.sampled_from(["Host", "Authorization", "X", "Via", "Transfer-Encoding", "Expect"]), max_size=3
        ),
        value=st.text(st.characters(max_codepoint=255), max_size=30),
    )
    @no_deadline
    def test_any_request_without_the_token_gets_a_refusal_or_nothing(  # noqa: PLR0913, PLR0917 - each is a part of a request
        self,
        besieged: Endpoint,
        method: str,
        target: str,
        host: str,
        authorization: str,
        names: list[str],
        value: str,
    ) -> None:
        headers = tuple(f"{name}: {value}" for name in names)
        content = request(target, method=method, host=host, authorization=authorization, headers=headers)
        answer = sent(besieged.address, content, finish=True)
        assert not answer or REFUSED.match(answer) or answer.startswith(b"HTTP/1.1 100 Continue")
        assert b" 200 " not in answer
        assert_nothing_leaks(besieged, answer)

    @given(target=st.text(st.characters(min_codepoint=33, max_codepoint=255), min_size=1, max_size=40))
    @no_deadline
    def test_any_target_but_the_known_ones_leads_nowhere_with_the_token_too(
        self, besieged: Endpoint, target: str
    ) -> None:
        path = target.partition("?")[0]
        if path in {PATH, f"{PATH}/default", f"{PATH}/quasar"}:
            return
        answer = parsed(sent(besieged.address, request(target, authorization=besieged.token.reveal())))
        assert answer.status in {400, 404}
        assert b"SecretAccessKey" not in answer.body
        assert {profile for profile, _ in besieged.answers.counts} == {"", "default", "quasar"}, "no client adds series"

    @given(authorization=st.text(max_size=80))
    @no_deadline
    def test_any_authorization_text_is_refused_and_raises_nothing(self, besieged: Endpoint, authorization: str) -> None:
        """Not even one that no HTTP server would pass on."""
        headers = {"host": "127.0.0.1", "authorization": authorization}
        response = besieged.application(Request(method="GET", target=PATH, headers=headers))
        assert response.status == HTTPStatus.UNAUTHORIZED

    def test_requests_sent_ahead_of_their_answers_get_the_first_answer_alone(self, endpoint: Endpoint) -> None:
        """No SDK pipelines, and a client that does could make the broker buffer answers without limit."""
        token = endpoint.token.reveal()
        first = request(authorization=token, close=False)
        for second in (first, request(close=False), b"GET", b"nonsense \r\n\r\n" * 100):
            answer = parsed(sent(endpoint.address, first + second))
            assert (answer.status, answer.headers["connection"]) == (200, "close")

    def test_requests_one_after_another_on_one_connection_are_answered_each_for_itself(
        self, endpoint: Endpoint
    ) -> None:
        token = endpoint.token.reveal()
        requests = [
            request(close=False),
            request(authorization=token, close=False),
            request("/nope", authorization=token, close=False),
            request(method="HEAD", close=False),
            request(authorization=token, host="example.com", close=False),
            request(authorization=token),
        ]
        statuses = []
        with socket.create_connection(endpoint.address, timeout=10) as client:
            for content in requests:
                client.sendall(content)
                statuses.append(client.recv(65536).split(b" ")[1])
            assert client.recv(65536) == b"", "closed after the request that asks for it"
        assert statuses == [b"401", b"200", b"404", b"405", b"403", b"200"]

    def test_slow_clients_delay_a_good_one_by_nothing_to_speak_of(self, endpoint: Endpoint) -> None:
        with ExitStack() as stack:
            for number in range(200):
                client = stack.enter_context(socket.create_connection(endpoint.address))
                client.sendall(
                    b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"
                    if number % 2
                    else b"GET /v1/credentials HTT"
                )
            took = [_seconds_of_a_get(endpoint) for _ in range(20)]
        assert sorted(took)[10] < 0.1

    def test_more_slow_clients_than_places_lock_nobody_out(self) -> None:
        endpoint = Endpoint(connections=20)
        endpoint.hold(make_generation())
        with ExitStack() as stack:
            for _ in range(100):
                stack.enter_context(socket.create_connection(endpoint.address)).sendall(b"GET")
            for _ in range(20):
                assert endpoint.get().status == 200
        endpoint.close()

    def test_generations_change_under_a_crowd_and_every_answer_is_one_of_them(self, endpoint: Endpoint) -> None:
        wrong: list[RawAnswer] = []

        def read() -> None:
            for _ in range(200):
                answer = endpoint.get()
                number = int(answer.json["AccessKeyId"][4:]) if answer.status == 200 else 0
                expected = container_credentials_json(make_credentials(serial=number))
                if answer.body != expected:
                    wrong.append(answer)

        readers = [threading.Thread(target=read) for _ in range(4)]
        for reader in readers:
            reader.start()
        number = 1
        while any(reader.is_alive() for reader in readers):
            number += 1
            endpoint.hold(make_generation(number=number))
            readers[-1].join(0.001)  # a thread that never rests would hardly let the others turn
        assert wrong == []
        assert number > 10


def _seconds_of_a_get(endpoint: Endpoint) -> float:
    began = time.monotonic()
    assert endpoint.get().status == 200
    return time.monotonic() - began
