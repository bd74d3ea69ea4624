"""`sts-broker doctor --policy iam`: the policy in IAM is checked like a file; an unreadable IAM is not a fault."""

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
    from tests.doctor.faulty_pod import Report, Ward

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
def iam(ward: Ward) -> None:
    """Use the sandbox's STS as IAM too: it verifies signatures and passes the calls to moto."""
    ward.environ["AWS_ENDPOINT_URL_IAM"] = ward.box.sts.url
    ward.question = replace(ward.question, policy="iam")


def keys_of_a_user(ward: Ward, account: str = "") -> dict[str, str]:
    """Return the variables of a new IAM user's keys."""
    name = f"operator-{ward.memory.name}"
    with ward.box.iam_of(account or ward.box.account_id) as client:
        client.create_user(UserName=name)
        key = client.create_access_key(UserName=name)["AccessKey"]
    ward.canaries.add("the shell's secret", key["SecretAccessKey"])
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


def list_callers(ward: Ward, action: str = "GetRole") -> list[str]:
    return [call.caller_arn for call in ward.box.sts.calls if call.action == action]


def examine(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> Report:
    """Run the doctor with a copied token, so that keys in the shell are not reported as rival credentials."""
    token = ward.disk / "copied"
    token.write_text(ward.volume.path.read_text())
    ward.question = replace(ward.question, token=str(token))
    return ward.report(monkeypatch)


def explain_unread(report: Report) -> str:
    """Return why the policy was not read, and assert that this is not reported as a fault of the pod."""
    assert "trust-policy" not in report.failed | report.warned, report.text
    return report.of(Outcome.NOT_CHECKED)["trust-policy"]


@contextmanager
def fake_iam(ward: Ward, body: str | bytes, status: int = 200) -> Iterator[list[Request]]:
    """Replace IAM with a server that sends this answer; yield the requests that it received."""
    received: list[Request] = []

    def answer(request: Request, wire: Wire) -> None:
        received.append(request)
        wire.send(status, {"Content-Type": "text/xml"}, body if isinstance(body, bytes) else body.encode())

    server = LoopbackServer(answer=answer)
    ward.environ["AWS_ENDPOINT_URL_IAM"] = server.url
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
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = ward.report(monkeypatch)
    assert "TrustServiceAccounts allows this token" in report.of(Outcome.OK)["trust-policy"]
    assert (report.failed, report.warned, report.code) == ({}, {}, 0)
    (caller,) = list_callers(ward)
    assert caller.startswith("arn:aws:sts::123456789012:assumed-role/doctor-app/")
    assert len(list_callers(ward, "AssumeRoleWithWebIdentity")) == 1, "the token is sent once"


def test_condition_that_rejects_the_token_is_the_only_cause(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    ward.trust("iam-namespace", subjects=[OTHERS])
    ward.environ |= keys_of_a_user(ward)
    report = examine(ward, monkeypatch)
    assert list(report.failed) == ["trust-policy"], report.text
    assert ':sub: add "system:serviceaccount:demo:app" to its values' in report.failed["trust-policy"]
    assert report.because("exchange") == "trust-policy"
    assert report.code == 1


def test_role_that_iam_does_not_have_is_the_only_cause_of_access_denied(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    ward.environ |= {"AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/team/doctor-nobody", **keys_of_a_user(ward)}
    report = examine(ward, monkeypatch)
    assert list(report.failed) == ["trust-policy"], report.text
    assert "IAM has no role doctor-nobody in account 123456789012" in report.failed["trust-policy"]
    assert report.because("exchange") == "trust-policy"


def test_role_with_another_path_is_the_only_cause_of_access_denied(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "doctor-with-path"
    policy = json.dumps(ward.box.trust_policy())
    arn = ward.box.iam.create_role(RoleName=name, Path="/team/", AssumeRolePolicyDocument=policy)["Role"]["Arn"]
    try:
        ward.environ |= {"AWS_ROLE_ARN": f"arn:aws:iam::123456789012:role/{name}", **keys_of_a_user(ward)}
        report = examine(ward, monkeypatch)
    finally:
        ward.box.iam.delete_role(RoleName=name)
    assert list(report.failed) == ["trust-policy"], report.text
    assert f"IAM has this role as {arn}" in report.failed["trust-policy"]
    assert report.because("exchange") == "trust-policy"


@pytest.mark.parametrize("has_namesake", [True, False])
def test_credentials_of_another_account_leave_the_role_unchecked(
    ward: Ward, monkeypatch: pytest.MonkeyPatch, has_namesake: bool
) -> None:
    with ward.box.iam_of(OTHER_ACCOUNT) as client:
        if has_namesake:
            ward.box.create_role("doctor-app", trust_policy=ward.box.chain_trust("*"), account_id=OTHER_ACCOUNT)
        try:
            ward.environ |= keys_of_a_user(ward, account=OTHER_ACCOUNT)
            report = examine(ward, monkeypatch)
        finally:
            if has_namesake:
                client.delete_role(RoleName="doctor-app")
    assert f"The shell's credentials are of account {OTHER_ACCOUNT}, not of the role's account" in explain_unread(
        report
    )
    assert report.code == 0


def test_absent_role_of_an_unknown_account_leaves_the_role_unchecked(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    ward.environ |= {"AWS_ACCESS_KEY_ID": "AKIDOFNOBODY", "AWS_SECRET_ACCESS_KEY": "of-nobody-whom-sts-knows"}
    with fake_iam(ward, write_error("NoSuchEntity"), 404):
        report = examine(ward, monkeypatch)
    assert "an account that STS doesn't report" in explain_unread(report)


def test_access_denied_is_not_checked_and_names_permission_and_caller(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = "arn:aws:sts::123456789012:assumed-role/doctor-app/demo.app"
    message = f"User: {caller} is not authorized to perform: iam:GetRole on resource: role doctor-app"
    with fake_iam(ward, write_error("AccessDenied", message), 403):
        report = ward.report(monkeypatch)
    assert f"IAM denies {caller} access to the role: allow iam:GetRole on {ward.hospital.role_arn}" in explain_unread(
        report
    )
    assert "aws iam get-role --role-name doctor-app" in explain_unread(report)
    assert (report.failed, report.warned, report.code) == ({}, {}, 0)


def test_refused_exchange_stays_the_cause_where_iam_is_unreadable(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    ward.trust("iam-denied", subjects=[OTHERS])
    ward.environ |= keys_of_a_user(ward)
    with fake_iam(ward, write_error("AccessDenied"), 403):
        report = examine(ward, monkeypatch)
    assert "IAM denies the shell's credentials access to the role" in explain_unread(report)
    assert list(report.failed) == ["exchange"]


def test_missing_credentials_leave_the_policy_unchecked_with_advice(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    ward.trust("iam-nobody", subjects=[OTHERS])
    report = ward.report(monkeypatch)
    message = explain_unread(report)
    assert "No credentials to call IAM with: this shell has none (AWS_ACCESS_KEY_ID, AWS_PROFILE)" in message
    assert "and STS issued none" in message
    assert "aws iam get-role --role-name doctor-iam-nobody" in message
    assert list(report.failed) == ["exchange"]
    assert list_callers(ward) == []


@pytest.mark.parametrize("where", ["variables", "profile"])
def test_shell_credentials_take_precedence(ward: Ward, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    keys = keys_of_a_user(ward)
    if where == "variables":
        ward.environ |= keys
    else:
        lines = "\n".join(f"{name.lower()} = {value}" for name, value in keys.items())
        file = ward.disk / "shared"
        file.write_text(f"[ops]\n{lines}\n")
        ward.environ |= {"AWS_PROFILE": "ops", "AWS_SHARED_CREDENTIALS_FILE": str(file)}
    report = examine(ward, monkeypatch)
    assert "TrustServiceAccounts allows this token" in report.of(Outcome.OK)["trust-policy"]
    assert list_callers(ward) == [f"arn:aws:iam::123456789012:user/operator-{ward.memory.name}"]


@pytest.mark.parametrize(
    ("variables", "kind"),
    [({"AWS_PROFILE": "gone"}, "ProfileNotFound"), ({"AWS_ACCESS_KEY_ID": "AKIDOFOLD"}, "PartialCredentialsError")],
)
def test_unreadable_shell_credentials_are_replaced_by_the_roles_own(
    ward: Ward, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], kind: str
) -> None:
    ward.environ |= variables
    assert "allows this token" in examine(ward, monkeypatch).of(Outcome.OK)["trust-policy"]
    ward.trust("iam-broken", subjects=[OTHERS])
    assert f"reading this shell's credentials failed ({kind}), and STS issued none" in explain_unread(
        examine(ward, monkeypatch)
    )


def test_metadata_services_are_not_called_for_credentials(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    ward.trust("iam-metadata", subjects=[OTHERS])
    with fake_iam(ward, "{}") as received:
        url = ward.environ["AWS_ENDPOINT_URL_IAM"]
        ward.environ |= {
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": url,
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{url}/credentials",
        }
        assert "No credentials" in explain_unread(examine(ward, monkeypatch))
    assert received == []


def test_unreachable_iam_is_not_checked(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    ward.environ["AWS_ENDPOINT_URL_IAM"] = NOWHERE
    report = ward.report(monkeypatch)
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
    ward: Ward, monkeypatch: pytest.MonkeyPatch, nonsense: str | bytes
) -> None:
    with fake_iam(ward, nonsense) as received:
        report = ward.report(monkeypatch)
    assert len(received) == 1
    assert f"the server at {ward.environ['AWS_ENDPOINT_URL_IAM']} isn't IAM" in explain_unread(report)
    assert (report.failed, report.warned, report.code) == ({}, {}, 0)


def test_code_and_caller_are_reported_only_where_they_are_valid(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_iam(ward, write_error("Throttling"), 400):
        assert "IAM returned Throttling. The role's own credentials were used." in explain_unread(
            ward.report(monkeypatch)
        )
    with fake_iam(ward, write_error("-> rm -r /", "-> rm -r /"), 400):
        report = ward.report(monkeypatch)
    assert "IAM returned an invalid error code. The role's own credentials were used." in explain_unread(report)
    assert "rm -r" not in report.text


def test_echoed_request_leaks_no_secret(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    def echo(request: Request, wire: Wire) -> None:
        echoed = " ".join([*request.headers.values(), request.body.decode()])
        wire.send(403, {}, write_error("AccessDenied", escape(f"User: {echoed}")).encode())

    with closing(_Stopped(LoopbackServer(answer=echo))) as server:
        ward.environ["AWS_ENDPOINT_URL_IAM"] = server.url
        report = ward.report(monkeypatch)  # which looks for secrets
    assert "IAM denies the role's own credentials access to the role" in explain_unread(report)


class _Stopped:
    def __init__(self, server: LoopbackServer) -> None:
        self.url = server.url
        self.close = server.stop


def test_refusal_because_of_a_wrong_clock_has_the_clock_as_its_cause(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    ward.off_by = timedelta(minutes=20)
    with fake_iam(ward, write_error("SignatureDoesNotMatch"), 403):
        report = ward.report(monkeypatch)
    assert list(report.failed) == ["clock"], report.text
    assert report.because("trust-policy") == "clock"


def test_policy_that_sts_does_not_enforce_yet_is_a_warning(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_iam(ward, write_role(ward.hospital.role_arn, ward.box.trust_policy(subjects=[OTHERS]))):
        report = ward.report(monkeypatch)
    assert (report.failed, list(report.warned)) == ({}, ["trust-policy"])
    assert "STS lets it in all the same: it does not go by this now" in report.warned["trust-policy"]


def test_malformed_policy_is_a_warning(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_iam(ward, write_role(ward.hospital.role_arn, {"Statement": "none"})):
        report = ward.report(monkeypatch)
    assert (report.failed, list(report.warned)) == ({}, ["trust-policy"])


def test_each_role_for_a_token_is_read_and_a_chained_role_is_not(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    ward.settings(TWO.format(role=ward.hospital.role_arn))
    report = ward.report(monkeypatch)
    lines = report.of(Outcome.OK)
    assert "allows this token" in lines["trust-policy (default)"]
    assert "allows this token" in lines["trust-policy (second)"]
    assert "The role is chained" in report.of(Outcome.NOT_CHECKED)["trust-policy (partner)"]


def test_iam_without_an_answer_is_called_once_for_all_roles(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    ward.settings(TWO.format(role=ward.hospital.role_arn))
    with fake_iam(ward, "") as received:
        report = ward.report(monkeypatch)
    assert len(received) == 1
    lines = report.of(Outcome.NOT_CHECKED)
    assert lines["trust-policy (default)"] == lines["trust-policy (second)"]


def test_missing_token_is_the_cause_of_an_unchecked_policy(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    ward.token("")
    report = ward.report(monkeypatch)
    assert (list(report.failed), report.because("trust-policy")) == (["token-file"], "token-file")
    assert list_callers(ward) == []


def test_iam_is_not_called_where_memory_is_short(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    ward.memory_left(10)
    report = ward.report(monkeypatch)
    assert report.because("trust-policy") == "memory"
    assert list_callers(ward) == []


def test_real_endpoint_is_called_through_the_proxy_with_the_configured_ca(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    del ward.environ["AWS_ENDPOINT_URL_IAM"]
    host = "iam.amazonaws.com"
    front = TlsFront(ward.hospital.authority.server(host), int(ward.box.sts.url.rpartition(":")[2]))
    with front:
        ward.hospital.proxy.routes[f"{host}:443"] = front.port
        report = ward.report(monkeypatch)
    assert "allows this token" in report.of(Outcome.OK)["trust-policy"], report.text
    assert f"{host}:443" in ward.hospital.proxy.asked


@pytest.mark.process
def test_program_reads_iam_with_the_shells_credentials_and_a_copied_token(ward: Ward) -> None:
    ward.trust("iam-program", subjects=[OTHERS])
    keys = keys_of_a_user(ward)
    ended = ward.run("--json", "--token", "-", "--policy", "iam", stdin=ward.box.issuer.mint(), **keys)
    assert (ended.code, ended.err) == (1, "")
    document = json.loads(ended.out)
    assert document["causes"] == ["trust-policy"]
    (line,) = (each for each in document["checks"] if each["id"] == "trust-policy")
    assert line["verdict"] == "failed"
    assert 'add "system:serviceaccount:demo:app" to its values' in line["do"]
