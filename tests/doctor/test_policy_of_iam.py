"""`sts-broker doctor --policy iam`: IAM's policy is judged as a file is; an IAM that does not tell is no fault."""

from __future__ import annotations

import json
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote
from xml.sax.saxutils import escape

import pytest

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
    """Let the sandbox's STS stand in for IAM too: it checks signatures, and lets moto answer."""
    pod.environ["AWS_ENDPOINT_URL_IAM"] = pod.sandbox.sts.url
    pod.options = replace(pod.options, policy="iam")


def keys_of_a_user(pod: FaultyPod, account: str = "") -> dict[str, str]:
    """Return the variables of a new IAM user's keys."""
    name = f"operator-{pod.memory.name}"
    with pod.sandbox.iam_of(account or pod.sandbox.account_id) as client:
        client.create_user(UserName=name)
        key = client.create_access_key(UserName=name)["AccessKey"]
    pod.canaries.add("the shell's secret", key["SecretAccessKey"])
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


def askers(pod: FaultyPod, action: str = "GetRole") -> list[str]:
    return [call.caller_arn for call in pod.sandbox.sts.calls if call.action == action]


def look(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> Diagnosis:
    """Look with a copied token, so that keys in the shell are not told to hide the broker's."""
    token = pod.disk / "copied"
    token.write_text(pod.volume.path.read_text())
    pod.options = replace(pod.options, token=str(token))
    return pod.diagnose(monkeypatch)


def unread(report: Diagnosis) -> str:
    """Return why the policy was not read; that is no fault of the pod."""
    assert "trust-policy" not in report.failed | report.warned, report.text
    return report.results_with(Outcome.NOT_CHECKED)["trust-policy"]


@contextmanager
def fake(pod: FaultyPod, body: str | bytes, status: int = 200) -> Iterator[list[Request]]:
    """Let this answer in IAM's place; gives what it was asked."""
    asked: list[Request] = []

    def answer(request: Request, wire: Wire) -> None:
        asked.append(request)
        wire.send(status, {"Content-Type": "text/xml"}, body if isinstance(body, bytes) else body.encode())

    server = LoopbackServer(answer=answer)
    pod.environ["AWS_ENDPOINT_URL_IAM"] = server.url
    try:
        yield asked
    finally:
        server.stop()


def refusal(code: str, message: str = "no") -> str:
    """Write an error as IAM does (API Reference, Common Errors)."""
    error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
    return f'<ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/">{error}</ErrorResponse>'


def role(arn: str, policy: object) -> str:
    """Write a role as GetRole does."""
    document = quote(json.dumps(policy))
    inner = f"<Role><Arn>{arn}</Arn><AssumeRolePolicyDocument>{document}</AssumeRolePolicyDocument></Role>"
    namespace = "https://iam.amazonaws.com/doc/2010-05-08/"
    return f'<GetRoleResponse xmlns="{namespace}"><GetRoleResult>{inner}</GetRoleResult></GetRoleResponse>'


def test_policy_that_lets_the_token_in_is_ok_and_read_with_the_roles_own_credentials(
    pod: FaultyPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = pod.diagnose(monkeypatch)
    assert "TrustServiceAccounts lets it in" in report.results_with(Outcome.OK)["trust-policy"]
    assert (report.failed, report.warned, report.code) == ({}, {}, 0)
    (asker,) = askers(pod)
    assert asker.startswith("arn:aws:sts::123456789012:assumed-role/doctor-app/")
    assert len(askers(pod, "AssumeRoleWithWebIdentity")) == 1, "the token is sent once"


def test_condition_that_keeps_the_token_out_is_named_and_the_one_cause(
    pod: FaultyPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod.use_new_role("iam-namespace", subjects=[OTHERS])
    pod.environ |= keys_of_a_user(pod)
    report = look(pod, monkeypatch)
    assert list(report.failed) == ["trust-policy"], report.text
    assert ':sub: add "system:serviceaccount:demo:app" to its values' in report.failed["trust-policy"]
    assert report.cause_of("exchange") == "trust-policy"
    assert report.code == 1


def test_role_that_iam_does_not_have_is_the_one_cause_of_access_denied(
    pod: FaultyPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod.environ |= {"AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/team/doctor-nobody", **keys_of_a_user(pod)}
    report = look(pod, monkeypatch)
    assert list(report.failed) == ["trust-policy"], report.text
    assert "IAM has no role doctor-nobody in account 123456789012" in report.failed["trust-policy"]
    assert report.cause_of("exchange") == "trust-policy"


def test_role_under_another_path_is_the_one_cause_of_access_denied(
    pod: FaultyPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "doctor-with-path"
    policy = json.dumps(pod.sandbox.trust_policy())
    arn = pod.sandbox.iam.create_role(RoleName=name, Path="/team/", AssumeRolePolicyDocument=policy)["Role"]["Arn"]
    try:
        pod.environ |= {"AWS_ROLE_ARN": f"arn:aws:iam::123456789012:role/{name}", **keys_of_a_user(pod)}
        report = look(pod, monkeypatch)
    finally:
        pod.sandbox.iam.delete_role(RoleName=name)
    assert list(report.failed) == ["trust-policy"], report.text
    assert f"IAM has this role as {arn}" in report.failed["trust-policy"]
    assert report.cause_of("exchange") == "trust-policy"


@pytest.mark.parametrize("has_namesake", [True, False])
def test_iam_of_another_account_says_nothing_of_the_role(
    pod: FaultyPod, monkeypatch: pytest.MonkeyPatch, has_namesake: bool
) -> None:
    with pod.sandbox.iam_of(OTHER_ACCOUNT) as client:
        if has_namesake:
            pod.sandbox.create_role("doctor-app", trust_policy=pod.sandbox.chain_trust("*"), account_id=OTHER_ACCOUNT)
        try:
            pod.environ |= keys_of_a_user(pod, account=OTHER_ACCOUNT)
            report = look(pod, monkeypatch)
        finally:
            if has_namesake:
                client.delete_role(RoleName="doctor-app")
    assert f"The shell's credentials are of account {OTHER_ACCOUNT}, not of the role's" in unread(report)
    assert report.code == 0


def test_absent_role_is_believed_of_no_account_that_sts_does_not_tell(
    pod: FaultyPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod.environ |= {"AWS_ACCESS_KEY_ID": "AKIDOFNOBODY", "AWS_SECRET_ACCESS_KEY": "of-nobody-whom-sts-knows"}
    with fake(pod, refusal("NoSuchEntity"), 404):
        report = look(pod, monkeypatch)
    assert "an account that STS does not tell" in unread(report)


def test_access_denied_is_not_checked_and_names_the_permission_and_who_lacks_it(
    pod: FaultyPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    who = "arn:aws:sts::123456789012:assumed-role/doctor-app/demo.app"
    message = f"User: {who} is not authorized to perform: iam:GetRole on resource: role doctor-app"
    with fake(pod, refusal("AccessDenied", message), 403):
        report = pod.diagnose(monkeypatch)
    assert f"IAM does not let {who} read the role: allow iam:GetRole on {pod.network.role_arn}" in unread(report)
    assert "aws iam get-role --role-name doctor-app" in unread(report)
    assert (report.failed, report.warned, report.code) == ({}, {}, 0)


def test_refused_exchange_stays_the_cause_where_iam_does_not_tell(
    pod: FaultyPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod.use_new_role("iam-denied", subjects=[OTHERS])
    pod.environ |= keys_of_a_user(pod)
    with fake(pod, refusal("AccessDenied"), 403):
        report = look(pod, monkeypatch)
    assert "IAM does not let the shell's credentials read the role" in unread(report)
    assert list(report.failed) == ["exchange"]


def test_without_any_credentials_it_is_not_checked_and_says_what_to_do(
    pod: FaultyPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod.use_new_role("iam-nobody", subjects=[OTHERS])
    report = pod.diagnose(monkeypatch)
    said = unread(report)
    assert "There are no credentials to ask IAM with: this shell has none (AWS_ACCESS_KEY_ID, AWS_PROFILE)" in said
    assert "and STS gave none" in said
    assert "aws iam get-role --role-name doctor-iam-nobody" in said
    assert list(report.failed) == ["exchange"]
    assert askers(pod) == []


@pytest.mark.parametrize("where", ["variables", "profile"])
def test_shells_credentials_are_preferred(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    keys = keys_of_a_user(pod)
    if where == "variables":
        pod.environ |= keys
    else:
        lines = "\n".join(f"{name.lower()} = {value}" for name, value in keys.items())
        file = pod.disk / "shared"
        file.write_text(f"[ops]\n{lines}\n")
        pod.environ |= {"AWS_PROFILE": "ops", "AWS_SHARED_CREDENTIALS_FILE": str(file)}
    report = look(pod, monkeypatch)
    assert "TrustServiceAccounts lets it in" in report.results_with(Outcome.OK)["trust-policy"]
    assert askers(pod) == [f"arn:aws:iam::123456789012:user/operator-{pod.memory.name}"]


@pytest.mark.parametrize(
    ("variables", "kind"),
    [({"AWS_PROFILE": "gone"}, "ProfileNotFound"), ({"AWS_ACCESS_KEY_ID": "AKIDOFOLD"}, "PartialCredentialsError")],
)
def test_shells_credentials_that_cannot_be_had_give_way_to_the_roles_own(
    pod: FaultyPod, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], kind: str
) -> None:
    pod.environ |= variables
    assert "lets it in" in look(pod, monkeypatch).results_with(Outcome.OK)["trust-policy"]
    pod.use_new_role("iam-broken", subjects=[OTHERS])
    assert f"the shell's credentials cannot be had ({kind}), and STS gave none" in unread(look(pod, monkeypatch))


def test_no_machine_or_container_is_asked_for_credentials(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    pod.use_new_role("iam-metadata", subjects=[OTHERS])
    with fake(pod, "{}") as asked:
        url = pod.environ["AWS_ENDPOINT_URL_IAM"]
        pod.environ |= {
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": url,
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{url}/credentials",
        }
        assert "no credentials" in unread(look(pod, monkeypatch))
    assert asked == []


def test_iam_that_cannot_be_reached_is_not_checked(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    pod.environ["AWS_ENDPOINT_URL_IAM"] = NOWHERE
    report = pod.diagnose(monkeypatch)
    assert f"{NOWHERE} cannot be asked (EndpointConnectionError); a NetworkPolicy" in unread(report)
    assert (report.failed, report.warned, report.code) == ({}, {}, 0)


@pytest.mark.parametrize(
    "nonsense",
    [
        "",
        "{}",
        "<html><body>Sign in</body>",
        b"\xff\xfe<\x00",
        '<!DOCTYPE a [<!ENTITY b "c">]>' + role("arn:aws:iam::123456789012:role/doctor-app", {"Statement": []}),
        role("arn:aws:iam::123456789012:role/doctor-app", {"Statement": []}) + " " * 262_144,
        "<a/>",
        role("doctor-app", {}),
        role("arn:aws:iam::123456789012:role/doctor-app", {}).replace("%7B%7D", ""),
    ],
    ids=["nothing", "json", "html", "bytes", "dtd", "endless", "other-xml", "no-arn", "no-policy"],
)
def test_nonsense_is_not_checked(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch, nonsense: str | bytes) -> None:
    with fake(pod, nonsense) as asked:
        report = pod.diagnose(monkeypatch)
    assert len(asked) == 1
    assert f"what answers at {pod.environ['AWS_ENDPOINT_URL_IAM']} " in unread(report)
    assert (report.failed, report.warned, report.code) == ({}, {}, 0)


def test_code_and_caller_are_told_only_if_they_look_like_it(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake(pod, refusal("Throttling"), 400):
        assert "IAM answers Throttling to the role's own credentials" in unread(pod.diagnose(monkeypatch))
    with fake(pod, refusal("-> rm -r /", "-> rm -r /"), 400):
        report = pod.diagnose(monkeypatch)
    assert "IAM answers what is no code to the role's own credentials" in unread(report)
    assert "rm -r" not in report.text


def test_what_echoes_the_request_gives_nothing_away(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    def echo(request: Request, wire: Wire) -> None:
        told = " ".join([*request.headers.values(), request.body.decode()])
        wire.send(403, {}, refusal("AccessDenied", escape(f"User: {told}")).encode())

    with closing(_Stopped(LoopbackServer(answer=echo))) as server:
        pod.environ["AWS_ENDPOINT_URL_IAM"] = server.url
        report = pod.diagnose(monkeypatch)  # which looks for secrets
    assert "IAM does not let the role's own credentials read the role" in unread(report)


class _Stopped:
    def __init__(self, server: LoopbackServer) -> None:
        self.url = server.url
        self.close = server.stop


def test_refusal_by_a_clock_that_is_off_is_put_down_to_the_clock(
    pod: FaultyPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod.clock_offset = timedelta(minutes=20)
    with fake(pod, refusal("SignatureDoesNotMatch"), 403):
        report = pod.diagnose(monkeypatch)
    assert list(report.failed) == ["clock"], report.text
    assert report.cause_of("trust-policy") == "clock"


def test_policy_that_sts_does_not_go_by_is_a_warning(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake(pod, role(pod.network.role_arn, pod.sandbox.trust_policy(subjects=[OTHERS]))):
        report = pod.diagnose(monkeypatch)
    assert (report.failed, list(report.warned)) == ({}, ["trust-policy"])
    assert "STS accepts the token anyway: the role doesn't have this policy now" in report.warned["trust-policy"]


def test_policy_without_sense_is_a_warning(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake(pod, role(pod.network.role_arn, {"Statement": "none"})):
        report = pod.diagnose(monkeypatch)
    assert (report.failed, list(report.warned)) == ({}, ["trust-policy"])


def test_each_role_that_a_token_is_sent_for_is_read_and_a_chained_one_is_not(
    pod: FaultyPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod.write_settings(TWO.format(role=pod.network.role_arn))
    report = pod.diagnose(monkeypatch)
    told = report.results_with(Outcome.OK)
    assert "lets it in" in told["trust-policy (default)"]
    assert "lets it in" in told["trust-policy (second)"]
    assert "The role is chained" in report.results_with(Outcome.NOT_CHECKED)["trust-policy (partner)"]


def test_iam_that_does_not_answer_is_asked_once_for_all_roles(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    pod.write_settings(TWO.format(role=pod.network.role_arn))
    with fake(pod, "") as asked:
        report = pod.diagnose(monkeypatch)
    assert len(asked) == 1
    told = report.results_with(Outcome.NOT_CHECKED)
    assert told["trust-policy (default)"] == told["trust-policy (second)"]


def test_without_a_token_it_is_not_checked_because_of_the_token(
    pod: FaultyPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod.put_token("")
    report = pod.diagnose(monkeypatch)
    assert (list(report.failed), report.cause_of("trust-policy")) == (["token-file"], "token-file")
    assert askers(pod) == []


def test_without_memory_for_it_iam_is_not_asked(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    pod.limit_memory(10)
    report = pod.diagnose(monkeypatch)
    assert report.cause_of("trust-policy") == "memory"
    assert askers(pod) == []


def test_partition_of_which_nothing_is_known_is_not_checked(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    del pod.environ["AWS_ENDPOINT_URL_IAM"]
    pod.use_plain_sts()
    pod.environ |= {
        "AWS_ROLE_ARN": "arn:aws-iso:iam::123456789012:role/app",
        "AWS_REGION": "us-iso-east-1",
        **keys_of_a_user(pod),
    }
    said = unread(look(pod, monkeypatch))
    assert "where IAM is in partition aws-iso is not known here: set AWS_ENDPOINT_URL_IAM" in said


def test_real_name_is_asked_by_the_proxy_with_the_ca_that_is_set(
    pod: FaultyPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    del pod.environ["AWS_ENDPOINT_URL_IAM"]
    host = "iam.amazonaws.com"
    front = TlsFront(pod.network.authority.server(host), int(pod.sandbox.sts.url.rpartition(":")[2]))
    with front:
        pod.network.proxy.routes[f"{host}:443"] = front.port
        report = pod.diagnose(monkeypatch)
    assert "lets it in" in report.results_with(Outcome.OK)["trust-policy"], report.text
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
