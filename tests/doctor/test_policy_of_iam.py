"""`sts-broker doctor --policy iam`: the policy in IAM is checked like a file; an unreadable IAM is not a fault."""

from __future__ import annotations

import json
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote
from xml.sax.saxutils import escape

import pytest
from msgspec.structs import replace

from broker.doctor.checks import Outcome
from sandbox.http.loopback import LoopbackServer
from tests.support.fronts import TlsFront

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.http.loopback import Request, Wire
    from tests.doctor.faulty_pod import Diagnosis, FaultyPod

OTHERS = "system:serviceaccount:other:app"
OTHER_ACCOUNT = "210987654321"
NOWHERE = "http://127.0.0.1:9"
TWO = """
region: eu-west-1
profiles:
  - {{name: default, role_arn: "{role}"}}
  - {{name: second, role_arn: "{role}", duration_seconds: 1800}}
  - {{name: partner, role_arn: "{role}", source_profile: default}}
"""


@pytest.fixture(autouse=True)
def iam(pod: FaultyPod) -> None:
    """Use the sandbox's STS as IAM too: it verifies signatures and passes the calls to moto."""
    pod.environ["AWS_ENDPOINT_URL_IAM"] = pod.sandbox.sts.url
    pod.options = replace(pod.options, policy="iam")


def keys_of_a_user(pod: FaultyPod, account: str = "") -> dict[str, str]:
    """Return the variables of a new IAM user's keys."""
    name = f"operator-{pod.memory.name}"
    with pod.sandbox.iam_client(account or pod.sandbox.account_id) as client:
        client.create_user(UserName=name)
        key = client.create_access_key(UserName=name)["AccessKey"]
    pod.canaries.add("the shell's secret", key["SecretAccessKey"])
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


def list_callers(pod: FaultyPod, action: str = "GetRole") -> list[str]:
    return [call.caller_arn for call in pod.sandbox.sts.calls if call.action == action]


def examine(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> Diagnosis:
    """Run the doctor with a copied token, so that keys in the shell are not reported as rival credentials."""
    token = pod.disk / "copied"
    token.write_text(pod.volume.path.read_text())
    pod.options = replace(pod.options, token=str(token))
    return pod.diagnose(monkeypatch)


def explain_unread(report: Diagnosis) -> str:
    """Return why the policy was not read, and assert that this is not reported as a fault of the pod."""
    assert "trust-policy" not in report.failed | report.warned, report.text
    return report.results_with(Outcome.NOT_CHECKED)["trust-policy"]


@contextmanager
def fake_iam(pod: FaultyPod, body: str | bytes, status: int = 200) -> Iterator[list[Request]]:
    """Replace IAM with a server that sends this answer; yield the requests that it received."""
    received: list[Request] = []

    def answer(request: Request, wire: Wire) -> None:
        received.append(request)
        wire.send(status, {"Content-Type": "text/xml"}, body if isinstance(body, bytes) else body.encode())

    server = LoopbackServer(answer=answer)
    pod.environ["AWS_ENDPOINT_URL_IAM"] = server.url
    try:
        yield received
    finally:
        server.stop()


def write_error(code: str, message: str = "no") -> str:
    """Return an error in the format of IAM (API Reference, Common Errors)."""
    error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
    return f'<ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/">{error}</ErrorResponse>'


def write_role(arn: str, policy: object) -> str:
    """Return a role in the format of GetRole."""
    document = quote(json.dumps(policy))
    inner = f"<Role><Arn>{arn}</Arn><AssumeRolePolicyDocument>{document}</AssumeRolePolicyDocument></Role>"
    namespace = "https://iam.amazonaws.com/doc/2010-05-08/"
    return f'<GetRoleResponse xmlns="{namespace}"><GetRoleResult>{inner}</GetRoleResult></GetRoleResponse>'


def test_policy_that_allows_the_token_is_ok_and_read_with_the_roles_own_credentials(
    pod: FaultyPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = pod.diagnose(monkeypatch)
    assert "TrustServiceAccounts allows this token" in report.results_with(Outcome.OK)["trust-policy"]
    assert (report.failed, report.warned, report.code) == ({}, {}, 0)
    (caller,) = list_callers(pod)
    assert caller.startswith("arn:aws:sts::123456789012:assumed-role/doctor-app/")
    assert len(list_callers(pod, "AssumeRoleWithWebIdentity")) == 1, "the token is sent once"


def test_condition_that_rejects_the_token_is_the_only_cause(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    pod.use_new_role("iam-namespace", subjects=[OTHERS])
    pod.environ |= keys_of_a_user(pod)
    report = examine(pod, monkeypatch)
    assert list(report.failed) == ["trust-policy"], report.text
    assert ':sub: add "system:serviceaccount:demo:app" to its values' in report.failed["trust-policy"]
    assert report.cause_of("exchange") == "trust-policy"
    assert report.code == 1


def test_role_that_iam_does_not_have_is_the_only_cause_of_access_denied(
    pod: FaultyPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod.environ |= {"AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/team/doctor-nobody", **keys_of_a_user(pod)}
    report = examine(pod, monkeypatch)
    assert list(report.failed) == ["trust-policy"], report.text
    assert "IAM has no role doctor-nobody in account 123456789012" in report.failed["trust-policy"]
    assert report.cause_of("exchange") == "trust-policy"


def test_role_with_another_path_is_the_only_cause_of_access_denied(
    pod: FaultyPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "doctor-with-path"
    policy = json.dumps(pod.sandbox.trust_policy())
    arn = pod.sandbox.iam.create_role(RoleName=name, Path="/team/", AssumeRolePolicyDocument=policy)["Role"]["Arn"]
    try:
        pod.environ |= {"AWS_ROLE_ARN": f"arn:aws:iam::123456789012:role/{name}", **keys_of_a_user(pod)}
        report = examine(pod, monkeypatch)
    finally:
        pod.sandbox.iam.delete_role(RoleName=name)
    assert list(report.failed) == ["trust-policy"], report.text
    assert f"IAM has this role as {arn}" in report.failed["trust-policy"]
    assert report.cause_of("exchange") == "trust-policy"


@pytest.mark.parametrize("has_namesake", [True, False])
def test_credentials_of_another_account_leave_the_role_unchecked(
    pod: FaultyPod, monkeypatch: pytest.MonkeyPatch, has_namesake: bool
) -> None:
    with pod.sandbox.iam_client(OTHER_ACCOUNT) as client:
        if has_namesake:
            pod.sandbox.create_role("doctor-app", trust_policy=pod.sandbox.chain_trust("*"), account_id=OTHER_ACCOUNT)
        try:
            pod.environ |= keys_of_a_user(pod, account=OTHER_ACCOUNT)
            report = examine(pod, monkeypatch)
        finally:
            if has_namesake:
                client.delete_role(RoleName="doctor-app")
    assert f"The shell's credentials are of account {OTHER_ACCOUNT}, not of the role's account" in explain_unread(
        report
    )
    assert report.code == 0


def test_absent_role_of_an_unknown_account_leaves_the_role_unchecked(
    pod: FaultyPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod.environ |= {"AWS_ACCESS_KEY_ID": "AKIDOFNOBODY", "AWS_SECRET_ACCESS_KEY": "of-nobody-whom-sts-knows"}
    with fake_iam(pod, write_error("NoSuchEntity"), 404):
        report = examine(pod, monkeypatch)
    assert "an account that STS doesn't report" in explain_unread(report)


def test_access_denied_is_not_checked_and_names_permission_and_caller(
    pod: FaultyPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = "arn:aws:sts::123456789012:assumed-role/doctor-app/demo.app"
    message = f"User: {caller} is not authorized to perform: iam:GetRole on resource: role doctor-app"
    with fake_iam(pod, write_error("AccessDenied", message), 403):
        report = pod.diagnose(monkeypatch)
    assert f"IAM denies {caller} access to the role: allow iam:GetRole on {pod.network.role_arn}" in explain_unread(
        report
    )
    assert "aws iam get-role --role-name doctor-app" in explain_unread(report)
    assert (report.failed, report.warned, report.code) == ({}, {}, 0)


def test_refused_exchange_stays_the_cause_where_iam_is_unreadable(
    pod: FaultyPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod.use_new_role("iam-denied", subjects=[OTHERS])
    pod.environ |= keys_of_a_user(pod)
    with fake_iam(pod, write_error("AccessDenied"), 403):
        report = examine(pod, monkeypatch)
    assert "IAM denies the shell's credentials access to the role" in explain_unread(report)
    assert list(report.failed) == ["exchange"]


def test_missing_credentials_leave_the_policy_unchecked_with_advice(
    pod: FaultyPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod.use_new_role("iam-nobody", subjects=[OTHERS])
    report = pod.diagnose(monkeypatch)
    message = explain_unread(report)
    assert "No credentials to call IAM with: this shell has none (AWS_ACCESS_KEY_ID, AWS_PROFILE)" in message
    assert "and STS issued none" in message
    assert "aws iam get-role --role-name doctor-iam-nobody" in message
    assert list(report.failed) == ["exchange"]
    assert list_callers(pod) == []


@pytest.mark.parametrize("where", ["variables", "profile"])
def test_shell_credentials_take_precedence(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    keys = keys_of_a_user(pod)
    if where == "variables":
        pod.environ |= keys
    else:
        lines = "\n".join(f"{name.lower()} = {value}" for name, value in keys.items())
        file = pod.disk / "shared"
        file.write_text(f"[ops]\n{lines}\n")
        pod.environ |= {"AWS_PROFILE": "ops", "AWS_SHARED_CREDENTIALS_FILE": str(file)}
    report = examine(pod, monkeypatch)
    assert "TrustServiceAccounts allows this token" in report.results_with(Outcome.OK)["trust-policy"]
    assert list_callers(pod) == [f"arn:aws:iam::123456789012:user/operator-{pod.memory.name}"]


@pytest.mark.parametrize(
    ("variables", "kind"),
    [({"AWS_PROFILE": "gone"}, "ProfileNotFound"), ({"AWS_ACCESS_KEY_ID": "AKIDOFOLD"}, "PartialCredentialsError")],
)
def test_unreadable_shell_credentials_are_replaced_by_the_roles_own(
    pod: FaultyPod, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], kind: str
) -> None:
    pod.environ |= variables
    assert "allows this token" in examine(pod, monkeypatch).results_with(Outcome.OK)["trust-policy"]
    pod.use_new_role("iam-broken", subjects=[OTHERS])
    assert f"reading this shell's credentials failed ({kind}), and STS issued none" in explain_unread(
        examine(pod, monkeypatch)
    )


def test_metadata_services_are_not_called_for_credentials(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    pod.use_new_role("iam-metadata", subjects=[OTHERS])
    with fake_iam(pod, "{}") as received:
        url = pod.environ["AWS_ENDPOINT_URL_IAM"]
        pod.environ |= {
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": url,
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{url}/credentials",
        }
        assert "No credentials" in explain_unread(examine(pod, monkeypatch))
    assert received == []


def test_unreachable_iam_is_not_checked(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    pod.environ["AWS_ENDPOINT_URL_IAM"] = NOWHERE
    report = pod.diagnose(monkeypatch)
    assert f"calling {NOWHERE} failed (EndpointConnectionError); the network may allow STS only" in explain_unread(
        report
    )
    assert (report.failed, report.warned, report.code) == ({}, {}, 0)


@pytest.mark.parametrize(
    "nonsense",
    [
        "",
        "{}",
        "<html><body>Sign in</body>",
        b"\xff\xfe<\x00",
        "<a/>",
        write_role("doctor-app", {}),
        write_role("arn:aws:iam::123456789012:role/doctor-app", {}).replace("%7B%7D", ""),
    ],
    ids=["nothing", "json", "html", "bytes", "other-xml", "no-arn", "no-policy"],
)
def test_answer_that_is_not_iams_is_not_checked(
    pod: FaultyPod, monkeypatch: pytest.MonkeyPatch, nonsense: str | bytes
) -> None:
    with fake_iam(pod, nonsense) as received:
        report = pod.diagnose(monkeypatch)
    assert len(received) == 1
    assert f"the server at {pod.environ['AWS_ENDPOINT_URL_IAM']} isn't IAM" in explain_unread(report)
    assert (report.failed, report.warned, report.code) == ({}, {}, 0)


def test_code_and_caller_are_reported_only_where_they_are_valid(
    pod: FaultyPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fake_iam(pod, write_error("Throttling"), 400):
        assert "IAM returned Throttling. The role's own credentials were used." in explain_unread(
            pod.diagnose(monkeypatch)
        )
    with fake_iam(pod, write_error("-> rm -r /", "-> rm -r /"), 400):
        report = pod.diagnose(monkeypatch)
    assert "IAM returned an invalid error code. The role's own credentials were used." in explain_unread(report)
    assert "rm -r" not in report.text


def test_echoed_request_leaks_no_secret(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    def echo(request: Request, wire: Wire) -> None:
        echoed = " ".join([*request.headers.values(), request.body.decode()])
        wire.send(403, {}, write_error("AccessDenied", escape(f"User: {echoed}")).encode())

    with closing(_Stopped(LoopbackServer(answer=echo))) as server:
        pod.environ["AWS_ENDPOINT_URL_IAM"] = server.url
        report = pod.diagnose(monkeypatch)  # which looks for secrets
    assert "IAM denies the role's own credentials access to the role" in explain_unread(report)


class _Stopped:
    def __init__(self, server: LoopbackServer) -> None:
        self.url = server.url
        self.close = server.stop


def test_refusal_because_of_a_wrong_clock_has_the_clock_as_its_cause(
    pod: FaultyPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod.clock_offset = timedelta(minutes=20)
    with fake_iam(pod, write_error("SignatureDoesNotMatch"), 403):
        report = pod.diagnose(monkeypatch)
    assert list(report.failed) == ["clock"], report.text
    assert report.cause_of("trust-policy") == "clock"


def test_policy_that_sts_does_not_enforce_yet_is_a_warning(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_iam(pod, write_role(pod.network.role_arn, pod.sandbox.trust_policy(subjects=[OTHERS]))):
        report = pod.diagnose(monkeypatch)
    assert (report.failed, list(report.warned)) == ({}, ["trust-policy"])
    assert "STS accepts the token anyway: the role doesn't have this policy now" in report.warned["trust-policy"]


def test_malformed_policy_is_a_warning(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_iam(pod, write_role(pod.network.role_arn, {"Statement": "none"})):
        report = pod.diagnose(monkeypatch)
    assert (report.failed, list(report.warned)) == ({}, ["trust-policy"])


def test_each_role_for_a_token_is_read_and_a_chained_role_is_not(
    pod: FaultyPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod.write_settings(TWO.format(role=pod.network.role_arn))
    report = pod.diagnose(monkeypatch)
    lines = report.results_with(Outcome.OK)
    assert "allows this token" in lines["trust-policy (default)"]
    assert "allows this token" in lines["trust-policy (second)"]
    assert "The role is chained" in report.results_with(Outcome.NOT_CHECKED)["trust-policy (partner)"]


def test_iam_without_an_answer_is_called_once_for_all_roles(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    pod.write_settings(TWO.format(role=pod.network.role_arn))
    with fake_iam(pod, "") as received:
        report = pod.diagnose(monkeypatch)
    assert len(received) == 1
    lines = report.results_with(Outcome.NOT_CHECKED)
    assert lines["trust-policy (default)"] == lines["trust-policy (second)"]


def test_missing_token_is_the_cause_of_an_unchecked_policy(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    pod.put_token("")
    report = pod.diagnose(monkeypatch)
    assert (list(report.failed), report.cause_of("trust-policy")) == (["token-file"], "token-file")
    assert list_callers(pod) == []


def test_iam_is_not_called_where_memory_is_short(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    pod.limit_memory(10)
    report = pod.diagnose(monkeypatch)
    assert report.cause_of("trust-policy") == "memory"
    assert list_callers(pod) == []


def test_real_endpoint_is_called_through_the_proxy_with_the_configured_ca(
    pod: FaultyPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    del pod.environ["AWS_ENDPOINT_URL_IAM"]
    host = "iam.amazonaws.com"
    front = TlsFront(pod.network.authority.server(host), int(pod.sandbox.sts.url.rpartition(":")[2]))
    with front:
        pod.network.proxy.routes[f"{host}:443"] = front.port
        report = pod.diagnose(monkeypatch)
    assert "allows this token" in report.results_with(Outcome.OK)["trust-policy"], report.text
    assert f"{host}:443" in pod.network.proxy.asked


@pytest.mark.process
def test_program_reads_iam_with_the_shells_credentials_and_a_copied_token(pod: FaultyPod) -> None:
    pod.use_new_role("iam-program", subjects=[OTHERS])
    keys = keys_of_a_user(pod)
    ended = pod.run_doctor("--json", "--token", "-", "--policy", "iam", stdin=pod.sandbox.issuer.mint(), **keys)
    assert (ended.code, ended.err) == (1, "")
    document = json.loads(ended.out)
    assert [each["check"] for each in document["causes"]] == ["trust-policy"]
    (line,) = (each for each in document["checks"] if each["check"] == "trust-policy")
    assert line["verdict"] == "failed"
    assert 'add "system:serviceaccount:demo:app" to its values' in line["fix"]
