"""`token_source: token-request` as in a pod: an API server with TLS, its CA and the pod's own token are mounted."""

from __future__ import annotations

import json
import signal
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from sandbox.aws import faults
from sandbox.aws.calls import fingerprint
from sandbox.cluster.api_server import ApiServer, CannedResponse
from sandbox.cluster.cluster_ca import ClusterCa
from tests.process.asking_pod import AskingPod
from tests.process.pod import RUN_FILES, TEXT_FILES
from tests.support.fakes import make_jwt
from tests.support.program import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.process.pod import Pod

pytestmark = pytest.mark.process


@pytest.fixture
def asking(pod: Pod) -> Iterator[AskingPod]:
    asking = AskingPod(pod=pod, api=ApiServer(pod.box.issuer))
    yield asking
    asking.close()


def test_once_publishes_a_generation_with_a_token_from_the_api(asking: AskingPod) -> None:
    ended = asking.run("once")
    assert (ended.code, ended.out) == (0, "")
    assert sorted(asking.pod.contents()) == sorted(TEXT_FILES)
    assert asking.pod.exchanges() == asking.given()
    (call,) = asking.api.calls
    assert call.bearer == fingerprint((asking.directory / "token").read_text())
    assert call.body["spec"]["audiences"] == ["sts.amazonaws.com"]


def test_run_starts_without_a_warning_and_calls_the_api_once(asking: AskingPod) -> None:
    program = asking.start()
    program.wait_for("refreshed")
    assert {line["level"] for line in program.lines()} == {"info"}
    assert sorted(asking.pod.contents()) == sorted(RUN_FILES)
    assert program.get("/readyz").status == 200
    assert program.status()["token_fingerprint"] == asking.given()[0]
    program.refresh()
    program.wait_for("refreshed", count=2)
    assert len(asking.api.calls) == 1


def test_first_exchange_follows_the_token_at_once(asking: AskingPod) -> None:
    """Not a second later, when the loop would read again anyway."""
    program = asking.start()
    observed = program.wait_for("token_observed")
    awaited = program.wait_for("token_unfit")
    assert awaited["reason"] == "token_awaited"
    began, ended = (line["time"][17:23] for line in (awaited, observed))
    assert (float(ended) - float(began)) % 60 < 0.9
    program.wait_for("refreshed")  # before the next test counts the calls of STS


def test_exec_runs_its_command_with_a_token_from_the_api(asking: AskingPod) -> None:
    asking.pod.published.mkdir()
    ended = asking.run("exec", "--", "sh", "-c", 'test -n "$AWS_CONTAINER_CREDENTIALS_FULL_URI" && exit 7')
    assert ended.code == 7
    assert asking.pod.exchanges() == asking.given()


def test_token_verb_shows_a_token_from_the_api(asking: AskingPod) -> None:
    ended = asking.run("token")
    shown = dict(line.split(None, 1) for line in ended.out.splitlines())
    assert (ended.code, ended.err) == (0, "")
    assert shown["token"] == f"{asking.given()[0]} from the Kubernetes API (unverified)"
    assert shown["subject"] == "system:serviceaccount:demo:app"
    assert shown["verdict"] == "can be sent to STS"
    document = json.loads(asking.run("token", "--json", "--audience", "other").out)
    assert document["audiences"] == ["other"]
    assert document["fit"] is True


def test_token_verb_reports_why_there_is_no_token(asking: AskingPod) -> None:
    asking.api.cluster.allowed.clear()
    ended = asking.run("token")
    assert (ended.code, ended.out) == (3, "")
    assert "kubectl -n demo create role sts-federation-broker" in ended.err
    assert ended.err.endswith("[token_refused]\n")
    ended = asking.run("token", KUBERNETES_SERVICE_HOST="")
    assert ended.code == 2
    assert "token_source (BROKER_TOKEN_SOURCE): token-request needs KUBERNETES_SERVICE_HOST" in ended.err


def test_token_verb_reads_the_yaml_file(asking: AskingPod) -> None:
    file = asking.pod.root / "broker.yaml"
    file.write_text("token_source: token-request\naudience: of.the.file\n")
    ended = asking.run("token", "--json", BROKER_TOKEN_SOURCE="", BROKER_CONFIG=str(file))
    assert json.loads(ended.out)["audiences"] == ["of.the.file"]
    ended = asking.run("token", "--json", str(asking.pod.volume.path), "--audience", "sts.amazonaws.com")
    assert json.loads(ended.out)["fingerprint"] == fingerprint(asking.pod.volume.path.read_text())


def test_rotated_service_account_token_and_ca_are_used_for_the_next_token(asking: AskingPod) -> None:
    asking.api.cluster.lifetime = timedelta(seconds=5)
    program = asking.start()
    program.wait_for("refreshed")
    asking.api.change_ca()
    own = asking.mount()
    time.sleep(5)  # the token's life
    program.refresh()
    eventually(lambda: len(asking.given()) >= 2, what="another token")
    program.wait_for("refreshed", token_fingerprint=asking.given()[1])
    assert asking.api.calls[-1].bearer == fingerprint(own)


def test_missing_role_ends_once_with_the_commands_that_create_it(asking: AskingPod) -> None:
    asking.api.cluster.allowed.clear()
    ended = asking.run("once", "--timeout", "60")
    assert ended.code == 3
    assert ended.seconds < 30
    assert ended.lines[-1]["reason"] == "token_refused"
    assert "--verb=create --resource=serviceaccounts/token --resource-name=app" in ended.lines[-1]["message"]
    assert len(asking.api.calls) == 1
    assert asking.pod.exchanges() == []


def test_missing_role_keeps_run_going_and_readyz_names_it(asking: AskingPod) -> None:
    asking.api.cluster.allowed.clear()
    program = asking.start()
    program.wait_for("token_unfit", reason="token_refused", level="error")
    answer = program.get("/readyz")
    assert (answer.status, program.get("/livez").status) == (503, 200)
    assert answer.body.startswith("default: token_refused: The Kubernetes API answered 403")


def test_api_that_is_down_at_the_start_is_called_until_it_is_up(asking: AskingPod) -> None:
    asking.api.stop()
    program = asking.start()
    fault = program.wait_for("token_unfit", reason="token_unavailable")
    assert f"No answer from the Kubernetes API at 127.0.0.1:{asking.api.port}: Connection refused." in fault["message"]
    asking.api.restart()
    program.wait_for("refreshed")
    assert asking.pod.exchanges() == asking.given()


def test_another_cause_of_the_same_reason_is_logged_again(asking: AskingPod) -> None:
    asking.api.script(CannedResponse(status=500, body=b""), CannedResponse(status=503, body=b'{"message": "starting"}'))
    program = asking.start()
    program.wait_for("refreshed")
    logged = [line["message"] for line in program.lines("token_unfit", reason="token_unavailable")]
    assert [message.partition(". ")[0] for message in logged] == [
        "The Kubernetes API answered 500",
        "The Kubernetes API answered 503: starting",
    ]


def test_later_outage_has_no_effect_while_the_token_is_valid(asking: AskingPod) -> None:
    program = asking.start()
    program.wait_for("refreshed")
    asking.api.stop()
    program.refresh()
    program.wait_for("refreshed", count=2)
    assert asking.pod.exchanges() == asking.given() * 2


def test_failed_renewal_is_logged_while_the_token_in_hand_is_used(asking: AskingPod) -> None:
    asking.api.cluster.lifetime = timedelta(seconds=15)
    program = asking.start()
    program.wait_for("refreshed")
    asking.api.always(CannedResponse(status=500, body=b""))
    time.sleep(11.9)  # with the moment since the request, 80 % of its lifetime
    program.refresh()
    failed = program.wait_for("token_request_failed")
    assert failed["level"] == "warning"
    assert failed["reason"] == "token_unavailable"
    program.wait_for("refreshed", count=2)
    assert set(asking.pod.exchanges()) == set(asking.given())


def test_api_with_a_certificate_of_another_ca_gets_no_request(asking: AskingPod) -> None:
    asking.mount(ca=ClusterCa())
    ended = asking.run("once", "--timeout", "1")
    assert ended.code == 3
    assert "is not this cluster's Kubernetes API" in ended.lines[-1]["message"]
    assert asking.api.calls == []


def test_api_with_a_certificate_for_another_name_gets_no_request(asking: AskingPod) -> None:
    ended = asking.run("once", "--timeout", "1", KUBERNETES_SERVICE_HOST="localhost")
    assert ended.code == 3
    assert "certificate is not valid for 'localhost'" in ended.lines[-1]["message"]
    assert asking.api.calls == []


def test_token_of_a_secret_is_refused_because_it_names_no_pod(asking: AskingPod) -> None:
    asking.mount(token=make_jwt(exp=None, aud=None))
    ended = asking.run("once", "--timeout", "1")
    assert ended.code == 3
    assert "names no pod" in ended.lines[-1]["message"]


def test_hanging_api_ends_once_at_the_timeout_with_token_awaited(asking: AskingPod) -> None:
    asking.api.always(faults.Hang())
    ended = asking.run("once", "--timeout", "1")
    assert ended.code == 3
    assert ended.seconds < 15
    assert ended.lines[-1]["reason"] == "token_awaited"


def test_sigterm_does_not_wait_for_a_hanging_api(asking: AskingPod) -> None:
    asking.api.always(faults.Hang())
    program = asking.start()
    program.wait_for("token_unfit")
    program.signal(signal.SIGTERM)
    began = time.monotonic()
    assert program.wait() == 0
    assert time.monotonic() - began < 2


def test_path_of_the_webhook_is_ignored_with_a_warning(asking: AskingPod) -> None:
    ended = asking.run("once", AWS_WEB_IDENTITY_TOKEN_FILE=str(asking.pod.volume.path))
    assert ended.code == 0
    assert [line["level"] for line in ended.lines if line["event"] == "warning"] == ["warning"]
    assert asking.pod.exchanges() == asking.given()


def test_profiles_with_two_audiences_have_one_token_each(asking: AskingPod) -> None:
    file = asking.pod.root / "broker.yaml"
    file.write_text("profiles:\n  - {name: default}\n  - {name: other, audience: other.example, required: false}\n")
    program = asking.start(BROKER_CONFIG=str(file))
    program.wait_for("refreshed", profile="default")
    program.wait_for("token_observed", profile="other")
    audiences = {call.issued: call.body["spec"]["audiences"] for call in asking.api.calls}
    for profile, audience in (("default", "sts.amazonaws.com"), ("other", "other.example")):
        assert audiences[program.wait_for("token_observed", profile=profile)["token_fingerprint"]] == [audience]


def test_missing_address_of_the_api_is_a_configuration_error(asking: AskingPod) -> None:
    ended = asking.run("run", KUBERNETES_SERVICE_PORT="")
    assert ended.code == 2
    assert "token-request needs KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT" in ended.err
