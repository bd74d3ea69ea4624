"""AssumeRole on the wire: parameters, signature, and that threads sign with their own credentials."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import pytest
from msgspec.structs import replace

from broker.core.errors import SourceRejected
from broker.core.model import StsSpec
from broker.sts.exchange import StsExchanger
from sandbox.http.loopback import LoopbackServer, Request, Wire
from tests.support.fakes import EPOCH, FakeClock, make_chained, make_profile, make_session, make_token

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.core.model import ProfileSpec, TemporaryCredentials

NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
SESSION_NAME = "demo.app-7d9c5b6f8-x2x7k"


class Sts:
    """Responds to every call with a session of the requested role, and records the requests."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.refuse = ""
        self.server = LoopbackServer(answer=self._answer)

    def _answer(self, request: Request, wire: Wire) -> None:
        self.requests.append(request)
        sent = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        action = sent["Action"]
        if self.refuse:
            body = f"<ErrorResponse><Error><Code>{self.refuse}</Code><Message>No.</Message></Error></ErrorResponse>"
            wire.send(403, {"Content-Type": "text/xml"}, body.encode())
            return
        account, role = sent["RoleArn"].split(":")[4], sent["RoleArn"].rpartition("/")[2]
        arn = f"arn:aws:sts::{account}:assumed-role/{role}/{sent['RoleSessionName']}"
        body = (
            f'<{action}Response xmlns="{NAMESPACE}"><{action}Result><Credentials>'
            f"<AccessKeyId>ASIA{role:>016}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
            "<SessionToken>t</SessionToken><Expiration>2026-11-23T13:00:00Z</Expiration></Credentials>"
            f"<AssumedRoleUser><Arn>{arn}</Arn><AssumedRoleId>A:x</AssumedRoleId></AssumedRoleUser>"
            f"</{action}Result></{action}Response>"
        )
        wire.send(200, {"Content-Type": "text/xml"}, body.encode())


@pytest.fixture(scope="module")
def served() -> Iterator[Sts]:
    sts = Sts()
    yield sts
    sts.server.stop()


@pytest.fixture
def sts(served: Sts) -> Sts:
    served.requests.clear()
    served.refuse = ""
    return served


@pytest.fixture(scope="module")
def exchanger(served: Sts) -> StsExchanger:
    return StsExchanger(StsSpec(endpoint_url=served.server.url), FakeClock())


def parse_parameters(sts: Sts) -> dict[str, str]:
    return {name: value for name, (value,) in parse_qs(sts.requests[-1].body.decode()).items()}


def test_minimal_chain_sends_role_session_name_and_duration_only(sts: Sts, exchanger: StsExchanger) -> None:
    credentials = exchanger.exchange(make_chained("other"), make_session())
    assert parse_parameters(sts) == {
        "Action": "AssumeRole",
        "Version": "2011-06-15",
        "RoleArn": "arn:aws:iam::210987654321:role/other",
        "RoleSessionName": SESSION_NAME,
        "DurationSeconds": "3600",
    }
    assert credentials.account_id == "210987654321"
    assert credentials.expires_at == EPOCH + timedelta(hours=1)


def test_every_setting_of_a_chain_is_sent(sts: Sts, exchanger: StsExchanger) -> None:
    profile = make_chained(
        "other",
        external_id="ext-1",
        tags=(("team", "blue"), ("cost center", "7")),
        transitive_tag_keys=("team",),
        source_identity="app@demo",
    )
    policy = '{"Version":"2012-10-17","Statement":[]}'
    arns = ("arn:aws:iam::aws:policy/ReadOnlyAccess",)
    profile = replace(profile, session_name="mine", session_policy=policy, policy_arns=arns)
    exchanger.exchange(profile, make_session())
    sent = parse_parameters(sts)
    assert sent["RoleSessionName"] == "mine"
    assert sent["ExternalId"] == "ext-1"
    assert sent["SourceIdentity"] == "app@demo"
    assert (sent["Tags.member.1.Key"], sent["Tags.member.1.Value"]) == ("team", "blue")
    assert (sent["Tags.member.2.Key"], sent["Tags.member.2.Value"]) == ("cost center", "7")
    assert sent["TransitiveTagKeys.member.1"] == "team"
    assert sent["Policy"] == policy
    assert sent["PolicyArns.member.1.arn"] == arns[0]


def test_call_is_signed_with_the_source_credentials_and_has_their_session_token(
    sts: Sts, exchanger: StsExchanger
) -> None:
    session = make_session(number=7)
    exchanger.exchange(make_chained("other"), session)
    headers = {name.lower(): value for name, value in sts.requests[-1].headers.items()}
    assert f"Credential={session.generation.credentials.access_key_id}/" in headers["authorization"]
    assert "/eu-west-1/sts/aws4_request" in headers["authorization"]
    assert headers["x-amz-security-token"] == session.generation.credentials.session_token.reveal()


def test_exchange_of_a_token_is_unsigned_alongside_chains(sts: Sts, exchanger: StsExchanger) -> None:
    exchanger.exchange(make_chained("other"), make_session())
    exchanger.exchange(make_profile(), make_token())
    assert "authorization" not in {name.lower() for name in sts.requests[-1].headers}


def test_source_without_a_role_arn_gives_the_default_session_name(sts: Sts, exchanger: StsExchanger) -> None:
    exchanger.exchange(make_chained("other"), make_session(assumed_role_arn=""))
    assert parse_parameters(sts)["RoleSessionName"] == "sts-broker"


def test_refused_source_credentials_are_reported_as_such(sts: Sts, exchanger: StsExchanger) -> None:
    sts.refuse = "ExpiredToken"
    with pytest.raises(SourceRejected, match="profile default"):
        exchanger.exchange(make_chained("other"), make_session())


def test_threads_sign_with_their_own_sources(sts: Sts, exchanger: StsExchanger) -> None:
    """All threads share one client, and each has its own credentials."""
    results: dict[str, TemporaryCredentials] = {}
    begin = threading.Barrier(8)

    def ask(number: int) -> None:
        profile: ProfileSpec = make_chained(f"role{number}")
        begin.wait()
        for _ in range(5):
            results[profile.name] = exchanger.exchange(profile, make_session(number=number))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    for request in sts.requests:
        number = int(parse_qs(request.body.decode())["RoleArn"][0][-1])
        authorization = next(value for name, value in request.headers.items() if name.lower() == "authorization")
        assert f"Credential=ASIA{number:016d}/" in authorization
