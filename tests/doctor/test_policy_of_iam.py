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
    """Let the sandbox's STS stand in for IAM too: it checks signatures, and lets moto answer."""
    ward.environ["AWS_ENDPOINT_URL_IAM"] = ward.box.sts.url
    ward.question = replace(ward.question, policy="iam")


def keys_of_a_user(ward: Ward, account: str = "") -> dict[str, str]:
    """Return the variables of a new IAM user's keys."""
    name = f"operator-{ward.memory.name}"
    with ward.box.iam_client(account or ward.box.account_id) as client:
        client.create_user(UserName=name)
        key = client.create_access_key(UserName=name)["AccessKey"]
    ward.canaries.add("the shell's secret", key["SecretAccessKey"])
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


def askers(ward: Ward, action: str = "GetRole") -> list[str]:
    return [call.caller_arn for call in ward.box.sts.calls if call.action == action]


def look(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> Report:
    """Look with a copied token, so that keys in the shell are not told to hide the broker's."""
    token = ward.disk / "copied"
    token.write_text(ward.volume.path.read_text())
    ward.question = replace(ward.question, token=str(token))
    return ward.report(monkeypatch)


def unread(report: Report) -> str:
    """Return why the policy was not read; that is no fault of the pod."""
    assert "trust-policy" not in report.failed | report.warned, report.text
    return report.of(Outcome.NOT_CHECKED)["trust-policy"]


@contextmanager
def fake(ward: Ward, body: str | bytes, status: int = 200) -> Iterator[list[Request]]:
    """Let this answer in IAM's place; gives what it was asked."""
    asked: list[Request] = []

    def answer(request: Request, wire: Wire) -> None:
        asked.append(request)
        wire.send(status, {"Content-Type": "text/xml"}, body if isinstance(body, bytes) else body.encode())

    server = LoopbackServer(answer=answer)
    ward.environ["AWS_ENDPOINT_URL_IAM"] = server.url
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
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = ward.report(monkeypatch)
    assert "TrustServiceAccounts lets it in" in report.of(Outcome.OK)["trust-policy"]
    assert (report.failed, report.warned, report.code) == ({}, {}, 0)
    (asker,) = askers(ward)
    assert asker.startswith("arn:aws:sts::123456789012:assumed-role/doctor-app/")
    assert len(askers(ward, "AssumeRoleWithWebIdentity")) == 1, "the token is sent once"


def test_condition_that_keeps_the_token_out_is_named_and_the_one_cause(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    ward.trust("iam-namespace", subjects=[OTHERS])
    ward.environ |= keys_of_a_user(ward)
    report = look(ward, monkeypatch)
    assert list(report.failed) == ["trust-policy"], report.text
    assert ':sub: add "system:serviceaccount:demo:app" to its values' in report.failed["trust-policy"]
    assert report.because("exchange") == "trust-policy"
    assert report.code == 1


def test_role_that_iam_does_not_have_is_the_one_cause_of_access_denied(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    ward.environ |= {"AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/team/doctor-nobody", **keys_of_a_user(ward)}
    report = look(ward, monkeypatch)
    assert list(report.failed) == ["trust-policy"], report.text
    assert "IAM has no role doctor-nobody in account 123456789012" in report.failed["trust-policy"]
    assert report.because("exchange") == "trust-policy"


def test_role_under_another_path_is_the_one_cause_of_access_denied(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "doctor-with-path"
    policy = json.dumps(ward.box.trust_policy())
    arn = ward.box.iam.create_role(RoleName=name, Path="/team/", AssumeRolePolicyDocument=policy)["Role"]["Arn"]
    try:
        ward.environ |= {"AWS_ROLE_ARN": f"arn:aws:iam::123456789012:role/{name}", **keys_of_a_user(ward)}
        report = look(ward, monkeypatch)
    finally:
        ward.box.iam.delete_role(RoleName=name)
    assert list(report.failed) == ["trust-policy"], report.text
    assert f"IAM has this role as {arn}" in report.failed["trust-policy"]
    assert report.because("exchange") == "trust-policy"


@pytest.mark.parametrize("has_namesake", [True, False])
def test_iam_of_another_account_says_nothing_of_the_role(
    ward: Ward, monkeypatch: pytest.MonkeyPatch, has_namesake: bool
) -> None:
    with ward.box.iam_client(OTHER_ACCOUNT) as client:
        if has_namesake:
            ward.box.create_role("doctor-app", trust_policy=ward.box.chain_trust("*"), account_id=OTHER_ACCOUNT)
        try:
            ward.environ |= keys_of_a_user(ward, account=OTHER_ACCOUNT)
            report = look(ward, monkeypatch)
        finally:
            if has_namesake:
                client.delete_role(RoleName="doctor-app")
    assert f"The shell's credentials are of account {OTHER_ACCOUNT}, not of the role's" in unread(report)
    assert report.code == 0


def test_absent_role_is_believed_of_no_account_that_sts_does_not_tell(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    ward.environ |= {"AWS_ACCESS_KEY_ID": "AKIDOFNOBODY", "AWS_SECRET_ACCESS_KEY": "of-nobody-whom-sts-knows"}
    with fake(ward, refusal("NoSuchEntity"), 404):
        report = look(ward, monkeypatch)
    assert "an account that STS does not tell" in unread(report)


def test_access_denied_is_not_checked_and_names_the_permission_and_who_lacks_it(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    who = "arn:aws:sts::123456789012:assumed-role/doctor-app/demo.app"
    message = f"User: {who} is not authorized to perform: iam:GetRole on resource: role doctor-app"
    with fake(ward, refusal("AccessDenied", message), 403):
        report = ward.report(monkeypatch)
    assert f"IAM does not let {who} read the role: allow iam:GetRole on {ward.hospital.role_arn}" in unread(report)
    assert "aws iam get-role --role-name doctor-app" in unread(report)
    assert (report.failed, report.warned, report.code) == ({}, {}, 0)


def test_refused_exchange_stays_the_cause_where_iam_does_not_tell(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    ward.trust("iam-denied", subjects=[OTHERS])
    ward.environ |= keys_of_a_user(ward)
    with fake(ward, refusal("AccessDenied"), 403):
        report = look(ward, monkeypatch)
    assert "IAM does not let the shell's credentials read the role" in unread(report)
    assert list(report.failed) == ["exchange"]


def test_without_any_credentials_it_is_not_checked_and_says_what_to_do(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    ward.trust("iam-nobody", subjects=[OTHERS])
    report = ward.report(monkeypatch)
    said = unread(report)
    assert "There are no credentials to ask IAM with: this shell has none (AWS_ACCESS_KEY_ID, AWS_PROFILE)" in said
    assert "and STS gave none" in said
    assert "aws iam get-role --role-name doctor-iam-nobody" in said
    assert list(report.failed) == ["exchange"]
    assert askers(ward) == []


@pytest.mark.parametrize("where", ["variables", "profile"])
def test_shells_credentials_are_preferred(ward: Ward, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    keys = keys_of_a_user(ward)
    if where == "variables":
        ward.environ |= keys
    else:
        lines = "\n".join(f"{name.lower()} = {value}" for name, value in keys.items())
        file = ward.disk / "shared"
        file.write_text(f"[ops]\n{lines}\n")
        ward.environ |= {"AWS_PROFILE": "ops", "AWS_SHARED_CREDENTIALS_FILE": str(file)}
    report = look(ward, monkeypatch)
    assert "TrustServiceAccounts lets it in" in report.of(Outcome.OK)["trust-policy"]
    assert askers(ward) == [f"arn:aws:iam::123456789012:user/operator-{ward.memory.name}"]


@pytest.mark.parametrize(
    ("variables", "kind"),
    [({"AWS_PROFILE": "gone"}, "ProfileNotFound"), ({"AWS_ACCESS_KEY_ID": "AKIDOFOLD"}, "PartialCredentialsError")],
)
def test_shells_credentials_that_cannot_be_had_give_way_to_the_roles_own(
    ward: Ward, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], kind: str
) -> None:
    ward.environ |= variables
    assert "lets it in" in look(ward, monkeypatch).of(Outcome.OK)["trust-policy"]
    ward.trust("iam-broken", subjects=[OTHERS])
    assert f"the shell's credentials cannot be had ({kind}), and STS gave none" in unread(look(ward, monkeypatch))


def test_no_machine_or_container_is_asked_for_credentials(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    ward.trust("iam-metadata", subjects=[OTHERS])
    with fake(ward, "{}") as asked:
        url = ward.environ["AWS_ENDPOINT_URL_IAM"]
        ward.environ |= {
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": url,
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{url}/credentials",
        }
        assert "no credentials" in unread(look(ward, monkeypatch))
    assert asked == []


def test_iam_that_cannot_be_reached_is_not_checked(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    ward.environ["AWS_ENDPOINT_URL_IAM"] = NOWHERE
    report = ward.report(monkeypatch)
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
def test_nonsense_is_not_checked(ward: Ward, monkeypatch: pytest.MonkeyPatch, nonsense: str | bytes) -> None:
    with fake(ward, nonsense) as asked:
        report = ward.report(monkeypatch)
    assert len(asked) == 1
    assert f"what answers at {ward.environ['AWS_ENDPOINT_URL_IAM']} " in unread(report)
    assert (report.failed, report.warned, report.code) == ({}, {}, 0)


def test_code_and_caller_are_told_only_if_they_look_like_it(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake(ward, refusal("Throttling"), 400):
        assert "IAM answers Throttling to the role's own credentials" in unread(ward.report(monkeypatch))
    with fake(ward, refusal("-> rm -r /", "-> rm -r /"), 400):
        report = ward.report(monkeypatch)
    assert "IAM answers what is no code to the role's own credentials" in unread(report)
    assert "rm -r" not in report.text


def test_what_echoes_the_request_gives_nothing_away(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    def echo(request: Request, wire: Wire) -> None:
        told = " ".join([*request.headers.values(), request.body.decode()])
        wire.send(403, {}, refusal("AccessDenied", escape(f"User: {told}")).encode())

    with closing(_Stopped(LoopbackServer(answer=echo))) as server:
        ward.environ["AWS_ENDPOINT_URL_IAM"] = server.url
        report = ward.report(monkeypatch)  # which looks for secrets
    assert "IAM does not let the role's own credentials read the role" in unread(report)


class _Stopped:
    def __init__(self, server: LoopbackServer) -> None:
        self.url = server.url
        self.close = server.stop


def test_refusal_by_a_clock_that_is_off_is_put_down_to_the_clock(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    ward.off_by = timedelta(minutes=20)
    with fake(ward, refusal("SignatureDoesNotMatch"), 403):
        report = ward.report(monkeypatch)
    assert list(report.failed) == ["clock"], report.text
    assert report.because("trust-policy") == "clock"


def test_policy_that_sts_does_not_go_by_is_a_warning(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake(ward, role(ward.hospital.role_arn, ward.box.trust_policy(subjects=[OTHERS]))):
        report = ward.report(monkeypatch)
    assert (report.failed, list(report.warned)) == ({}, ["trust-policy"])
    assert "STS lets it in all the same: it does not go by this now" in report.warned["trust-policy"]


def test_policy_without_sense_is_a_warning(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake(ward, role(ward.hospital.role_arn, {"Statement": "none"})):
        report = ward.report(monkeypatch)
    assert (report.failed, list(report.warned)) == ({}, ["trust-policy"])


def test_each_role_that_a_token_is_sent_for_is_read_and_a_chained_one_is_not(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    ward.settings(TWO.format(role=ward.hospital.role_arn))
    report = ward.report(monkeypatch)
    told = report.of(Outcome.OK)
    assert "lets it in" in told["trust-policy (default)"]
    assert "lets it in" in told["trust-policy (second)"]
    assert "The role is chained" in report.of(Outcome.NOT_CHECKED)["trust-policy (partner)"]


def test_iam_that_does_not_answer_is_asked_once_for_all_roles(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    ward.settings(TWO.format(role=ward.hospital.role_arn))
    with fake(ward, "") as asked:
        report = ward.report(monkeypatch)
    assert len(asked) == 1
    told = report.of(Outcome.NOT_CHECKED)
    assert told["trust-policy (default)"] == told["trust-policy (second)"]


def test_without_a_token_it_is_not_checked_because_of_the_token(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    ward.token("")
    report = ward.report(monkeypatch)
    assert (list(report.failed), report.because("trust-policy")) == (["token-file"], "token-file")
    assert askers(ward) == []


def test_without_memory_for_it_iam_is_not_asked(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    ward.memory_left(10)
    report = ward.report(monkeypatch)
    assert report.because("trust-policy") == "memory"
    assert askers(ward) == []


def test_partition_of_which_nothing_is_known_is_not_checked(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    del ward.environ["AWS_ENDPOINT_URL_IAM"]
    ward.go_direct()
    ward.environ |= {
        "AWS_ROLE_ARN": "arn:aws-iso:iam::123456789012:role/app",
        "AWS_REGION": "us-iso-east-1",
        **keys_of_a_user(ward),
    }
    said = unread(look(ward, monkeypatch))
    assert "where IAM is in partition aws-iso is not known here: set AWS_ENDPOINT_URL_IAM" in said


def test_real_name_is_asked_by_the_proxy_with_the_ca_that_is_set(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    del ward.environ["AWS_ENDPOINT_URL_IAM"]
    host = "iam.amazonaws.com"
    front = TlsFront(ward.hospital.authority.server(host), int(ward.box.sts.url.rpartition(":")[2]))
    with front:
        ward.hospital.proxy.routes[f"{host}:443"] = front.port
        report = ward.report(monkeypatch)
    assert "lets it in" in report.of(Outcome.OK)["trust-policy"], report.text
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
