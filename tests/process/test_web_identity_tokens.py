"""Web identity tokens, end to end: `sts-broker run` keeps `<profile>.jwt` fresh, which the published keys verify."""

from __future__ import annotations

import json
import signal
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import jwt
import pytest

from sandbox import StsServer
from sandbox.aws import faults, outbound
from tests.process.pod import RUN_FILES
from tests.support.program import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sandbox import Sandbox
    from tests.process.pod import Pod
    from tests.support.program import Program

pytestmark = pytest.mark.process

AUDIENCE = "https://vault.example/"
FILES = sorted([*RUN_FILES, ".web-identity-tokens.json", "default.jwt"])
REFRESHED, FAILED = "web_identity_token_refreshed", "web_identity_token_failed"


@pytest.fixture
def issuing_sts(box: Sandbox) -> Iterator[StsServer]:
    """Start an STS whose web identity tokens last 6 seconds, in an account that has enabled them."""
    with StsServer(account=box.account, addresses=box.addresses, token_lifetime=timedelta(seconds=6)) as sts:
        sts.outbound.enable(box.account_id)
        yield sts


@pytest.fixture
def pod(box: Sandbox, issuing_sts: StsServer, new_pod: Callable[[StsServer], Pod]) -> Pod:
    """Make a pod whose role may request tokens for AUDIENCE, of 5 minutes at most."""
    made = new_pod(issuing_sts)
    permit(box, made.role_arn, condition())
    return made


def condition(audience: str = AUDIENCE) -> dict[str, Any]:
    return {
        "ForAllValues:StringEquals": {"sts:IdentityTokenAudience": audience},
        "NumericLessThanEquals": {"sts:DurationSeconds": "300"},  # moto refuses a number
    }


def permit(box: Sandbox, role_arn: str, condition: dict[str, Any]) -> None:
    """Allow the role to request tokens under this condition. This replaces an earlier permission."""
    statement = {"Effect": "Allow", "Action": "sts:GetWebIdentityToken", "Resource": "*", "Condition": condition}
    box.iam.put_role_policy(
        RoleName=role_arn.rpartition("/")[2],
        PolicyName="tokens",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )


def verify(text: str, sts: StsServer, audience: str = AUDIENCE, algorithm: str = "RS256") -> dict[str, Any]:
    """Return the claims of a token, verified as a service outside AWS verifies it: by the published documents."""
    with urlopen(sts.url + outbound.DISCOVERY_PATH) as response:
        discovery = json.load(response)
    assert discovery["jwks_uri"] == discovery["issuer"] + outbound.KEYS_PATH
    key = jwt.PyJWKClient(sts.url + outbound.KEYS_PATH).get_signing_key_from_jwt(text)
    claims: dict[str, Any] = jwt.decode(
        text, key, algorithms=[algorithm], audience=audience, issuer=discovery["issuer"], leeway=5
    )
    return claims


def read_token(pod: Pod) -> str:
    return (pod.published / "default.jwt").read_text()


def wait_for_new_token(pod: Pod, before: str) -> str:
    def find() -> str:
        text = read_token(pod)
        return text if text != before else ""

    return eventually(find, what="a new web identity token")


def write_settings(pod: Pod, audience: str = AUDIENCE, algorithm: str = "RS256") -> str:
    """Return the path of a settings file with a token of a minute."""
    file = pod.root / "broker.yaml"
    section = {"audience": audience, "duration_seconds": 60, "signing_algorithm": algorithm}
    file.write_text(json.dumps({"web_identity_token": section}))
    return str(file)


def start(pod: Pod, audience: str = AUDIENCE, algorithm: str = "RS256", level: str = "info") -> Program:
    """Start a broker, and wait for its first token."""
    program = pod.start(BROKER_CONFIG=write_settings(pod, audience, algorithm), BROKER_LOG_LEVEL=level)
    program.wait_for(REFRESHED)
    return program


def stop(program: Program) -> int:
    program.signal(signal.SIGTERM)
    return program.wait()


def test_token_is_verified_by_the_published_keys_over_three_generations(pod: Pod) -> None:
    program = start(pod)
    mode = (pod.published / "default.jwt").stat().st_mode & 0o777
    texts = [read_token(pod)]
    while len(texts) < 3:
        texts.append(wait_for_new_token(pod, texts[-1]))
        assert verify(texts[-1], pod.sts)["exp"] > time.time(), "readers get a token that is still valid"
    claims = [verify(text, pod.sts) for text in texts]
    assert [each["sub"] for each in claims] == [pod.role_arn] * 3
    assert len({each["jti"] for each in claims}) == 3
    identity = claims[0]["https://sts.amazonaws.com/"]
    assert identity["aws_account"] == pod.box.account_id
    assert identity["source_region"] == pod.box.region
    assert identity["federated_provider"] == pod.box.provider_arn
    assert mode == 0o640
    assert sorted(pod.contents()) == FILES
    assert [call.duration_seconds for call in pod.sts.calls if call.action == outbound.ACTION][:3] == [60] * 3
    assert len([call for call in pod.sts.calls if call.action == faults.WEB_IDENTITY]) == 1, "no other exchange"
    assert program.metric('sts_broker_web_identity_token_expiry_timestamp_seconds{profile="default"}') > time.time()


def test_token_of_another_algorithm_and_audience_follows_the_settings_of_the_next_start(pod: Pod) -> None:
    first = start(pod)
    before = read_token(pod)
    assert stop(first) == 0
    permit(pod.box, pod.role_arn, condition("other"))
    start(pod, "other", "ES384")
    after = read_token(pod)
    assert after != before
    assert verify(after, pod.sts, "other", "ES384")["aud"] == "other"
    restored = [line for program in pod.programs for line in program.lines("restored")]
    assert len(restored) == 1, "another audience requires no other credentials"


def test_token_that_is_no_longer_configured_is_removed_at_the_next_start(pod: Pod) -> None:
    assert stop(start(pod)) == 0
    (pod.published / "other.jwt").write_text("a file of the app")
    program = pod.start()
    program.wait_for("restored")
    eventually(lambda: not (pod.published / "default.jwt").exists(), what="removal")
    assert sorted(pod.contents()) == sorted([*RUN_FILES, "other.jwt"])
    assert "web_identity" not in program.get("/metrics").body


def test_refused_token_leaves_credentials_and_readiness_alone_until_it_is_permitted(pod: Pod) -> None:
    pod.sts.outbound.disable(pod.box.account_id)
    program = pod.start_and_publish(BROKER_CONFIG=write_settings(pod))
    line = program.wait_for(FAILED)
    assert line["error_code"] == "OutboundWebIdentityFederationDisabledException"
    assert line["reason"] == "web_identity_token_denied"
    assert "aws iam enable-outbound-web-identity-federation" in line["message"]
    assert program.get("/readyz").status == 200
    status = json.loads(program.get("/status").body)["profiles"][0]
    assert status["web_identity_token"]["fault"]["reason"] == "web_identity_token_denied"
    assert "fault" not in status
    assert not (pod.published / "default.jwt").exists()
    pod.sts.outbound.enable(pod.box.account_id)
    program.refresh()
    program.wait_for(REFRESHED)
    assert verify(read_token(pod), pod.sts)["sub"] == pod.role_arn


def test_hanging_call_does_not_delay_the_credentials(pod: Pod) -> None:
    pod.sts.always(faults.Hang(), action=outbound.ACTION)
    program = pod.start_and_publish(BROKER_CONFIG=write_settings(pod))
    eventually(lambda: [each for each in pod.sts.calls if each.outcome == "Hang"], what="a call that hangs")
    program.refresh()
    program.wait_for("refreshed", count=2)
    assert program.get("/readyz").status == 200
    assert program.lines(REFRESHED) == []


def test_deleted_token_is_published_again(pod: Pod) -> None:
    program = start(pod)
    (pod.published / "default.jwt").unlink()
    program.wait_for("published_lost")
    eventually((pod.published / "default.jwt").exists, what="the file")


def test_quoted_token_and_secrets_stay_out_of_every_output(pod: Pod) -> None:
    program = start(pod, level="debug")
    quoted = read_token(pod)
    pod.sts.script(
        faults.Refuse(code="AccessDenied", message=f"The token {quoted} is not good"),
        faults.Spoiled.TRUNCATED_XML,
        action=outbound.ACTION,
    )
    program.refresh()
    program.wait_for(FAILED)
    program.refresh()
    program.wait_for(FAILED, count=2)
    pages = [program.get(path).body for path in ("/status", "/metrics", "/readyz")]
    canaries = pod.canaries()
    assert [page for page in pages if canaries.found_in(page)] == []
    assert canaries.found_in(program.output()) == set()
    assert any(name.startswith("web identity token") for name in canaries.found_in(quoted)), "the search works"


def test_once_publishes_no_token_and_warns(pod: Pod) -> None:
    ended = pod.run("once", "--timeout", "20", BROKER_CONFIG=write_settings(pod))
    assert ended.code == 0
    assert "Only `sts-broker run` publishes web identity tokens" in ended.err
    assert not (pod.published / "default.jwt").exists()
