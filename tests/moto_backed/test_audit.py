"""`sts-broker trust audit` against IAM as moto serves it over HTTP: what it finds, calls and needs."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from botocore import register_initializer, unregister_initializer
from moto.iam.models import iam_backends

from broker.trust.audit.command import AuditOptions, run
from broker.trust.linter.conditions import has_wildcard
from sandbox.aws.account import MotoAccount
from tests.policies.templates import policy as read_template
from tests.policies.templates import template
from tests.support.audited_account import (
    AUDIENCE,
    BOUNDARY,
    ISSUER,
    MANIFESTS,
    PROVIDERS,
    ROLES,
    SECONDS,
    for_callers,
    for_tokens,
    role_arn,
    trust,
)
from tests.support.program import run_to_end

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.program import Ended

ACCOUNT = "222233334444"
"""An account of its own: moto has one state for each process, which other tests share."""
AWS_REGION = "us-east-1"
pytestmark = pytest.mark.xdist_group("audited account")


def move(document: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a document with this account in place of the example's."""
    return json.loads(json.dumps(document).replace("123456789012", ACCOUNT))


@pytest.fixture(scope="module")
def server() -> Iterator[MotoAccount]:
    account = MotoAccount()
    yield account
    account.stop()


@pytest.fixture
def shell(server: MotoAccount) -> Iterator[dict[str, str]]:
    """Yield the environment of a shell for an account that has no roles yet."""
    backend = iam_backends[ACCOUNT]["aws"]
    backend.reset()
    backend.create_user(AWS_REGION, "auditor")
    key = backend.create_access_key("auditor")  # moto finds the account by the key
    yield {
        "AWS_ENDPOINT_URL": server.url,
        "AWS_ACCESS_KEY_ID": key.access_key_id,
        "AWS_SECRET_ACCESS_KEY": key.secret_access_key,
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
        "AWS_EC2_METADATA_DISABLED": "true",
        "PATH": "/usr/bin:/bin",
    }
    backend.reset()


def create_roles(policies: dict[str, Any]) -> None:
    """Create roles in moto's memory, which is faster than calls."""
    backend = iam_backends[ACCOUNT]["aws"]
    for name, policy in policies.items():
        backend.create_role(
            role_name=name,
            assume_role_policy_document=json.dumps(move(policy)),
            path="/",
            permissions_boundary=move(BOUNDARY) if name == "deploy" else None,
            description="",
            tags=[],
            max_session_duration=str(SECONDS.get(name, 3600)),
        )


def create_providers(providers: dict[str, list[str]]) -> None:
    """Create OIDC providers in moto's memory."""
    for issuer, audiences in providers.items():
        iam_backends[ACCOUNT]["aws"].create_open_id_connect_provider(
            url=f"https://{issuer}", thumbprint_list=["a" * 40], client_id_list=audiences, tags=[]
        )


@pytest.fixture
def calls() -> Iterator[list[str]]:
    """Yield the names of the operations that boto3 calls in this process, such as iam:ListRoles."""
    found: list[str] = []

    def record(model: Any, **_: Any) -> None:  # noqa: ANN401 - the interface of botocore's events
        found.append(f"{model.service_model.service_name}:{model.name}")

    def watch(session: Any) -> None:  # noqa: ANN401 - botocore has no types
        session.register("before-call", record)

    register_initializer(watch)
    yield found
    unregister_initializer(watch)


@pytest.fixture
def audit_json(
    shell: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, Any, str]]:
    """Return a function that audits in this process, and returns exit code, report and standard error."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in shell.items():
        monkeypatch.setenv(name, value)

    def run_audit(**options: Any) -> tuple[int, Any, str]:  # noqa: ANN401 - options of the command
        code = run(AuditOptions(form="json", **options), shell)
        printed = capsys.readouterr()
        return code, json.loads(printed.out) if printed.out else None, printed.err

    return run_audit


def test_account_is_found_with_its_operations_and_no_others(
    audit_json: Callable[..., tuple[int, Any, str]], calls: list[str]
) -> None:
    create_roles(ROLES)
    create_providers(PROVIDERS)
    code, found, error = audit_json()
    assert (code, error) == (1, "")
    roles = {one["arn"].rpartition("/")[2]: one for one in found["roles"]}
    assert {name: one["reached"] for name, one in roles.items()} == {
        **dict.fromkeys(("cart", "shop", "deploy", "legacy", "vault", "retired"), "token"),
        **dict.fromkeys(("reports", "archive"), "chain"),
        "admin": "account",
    }
    assert roles["cart"]["max_session_seconds"] == 7200
    assert roles["deploy"]["permissions_boundary"] == move(BOUNDARY)
    assert {one["issuer"]: one["audiences"] for one in found["providers"]} == {
        f"https://{issuer}": audiences for issuer, audiences in PROVIDERS.items()
    }
    assert found["other_roles"] == 1
    assert set(calls) == {
        "iam:GetAccountAuthorizationDetails",
        "iam:ListRoles",
        "iam:ListOpenIDConnectProviders",
        "iam:GetOpenIDConnectProvider",
    }


def test_policy_for_auditors_allows_exactly_the_calls(
    audit_json: Callable[..., tuple[int, Any, str]], calls: list[str]
) -> None:
    create_roles({"cart": ROLES["cart"]})
    create_providers({ISSUER: [AUDIENCE]})
    audit_json()
    statements = read_template(template("permissions/account-audit"))["Statement"]
    allowed = [
        one for each in statements for one in ([each["Action"]] if isinstance(each["Action"], str) else each["Action"])
    ]
    assert sorted(set(calls)) == sorted(allowed)
    assert not any(has_wildcard(one) for one in allowed)


def test_thousand_roles_take_few_calls_and_little_time(
    audit_json: Callable[..., tuple[int, Any, str]], calls: list[str]
) -> None:
    create_providers({ISSUER: [AUDIENCE], **{f"oidc.example/{one}": [AUDIENCE] for one in range(9)}})
    create_roles(
        {
            f"app-{one}": trust(
                for_tokens(f"system:serviceaccount:team-{one % 50}:app-{one}"),
                *([for_callers(role_arn(f"app-{one - 1}"))] if one % 10 else []),
            )
            for one in range(1000)
        }
    )
    began = time.monotonic()
    code, found, _ = audit_json(fail_on="error")
    seconds = time.monotonic() - began
    assert (code, len(found["roles"])) == (0, 1000)
    assert len(found["matrix"]) == 100 * sum(range(1, 11))  # chains of ten roles
    listing = [one for one in calls if one != "iam:GetOpenIDConnectProvider"]
    assert len(listing) <= 1000 / 100
    assert calls.count("iam:GetOpenIDConnectProvider") == 10
    assert seconds < 30


def test_role_is_assumed_first(audit_json: Callable[..., tuple[int, Any, str]], calls: list[str]) -> None:
    create_roles({"auditor": trust(for_callers(f"arn:aws:iam::{ACCOUNT}:root"))})
    arn = move(role_arn("auditor"))
    code, found, error = audit_json(role_arn=arn)
    assert (code, found["roles"], error) == (0, [], "")
    assert calls[0] == "sts:AssumeRole"


def run_program(shell: dict[str, str], directory: Path, *arguments: str, stdin: str = "") -> Ended:
    return run_to_end("trust", "audit", *arguments, environment=shell, directory=directory, stdin=stdin)


def test_program_reads_manifests_and_writes_a_page(shell: dict[str, str], tmp_path: Path) -> None:
    create_roles(ROLES)
    create_providers(PROVIDERS)
    options = ("--manifests", "-", "--issuer", f"https://{ISSUER}", "--html", "audit.html")
    ended = run_program(shell, tmp_path, *options, stdin=json.dumps(move(MANIFESTS)))
    assert ended.code == 1
    assert ended.err == ""  # no progress bar without a terminal
    assert "pod-refused" in ended.out
    assert "Deployment shop/web" in (tmp_path / "audit.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [((), 1), (("--fail-on", "error"), 0), (("--fail-on", "never"), 0), (("--ignore", "namespace-subject"), 0)],
)
def test_severity_and_ignored_rules_choose_the_exit_code(
    shell: dict[str, str], tmp_path: Path, arguments: tuple[str, ...], code: int
) -> None:
    create_roles({"shop": ROLES["shop"]})
    create_providers({ISSUER: [AUDIENCE]})
    assert run_program(shell, tmp_path, *arguments).code == code


def test_policy_that_cannot_be_judged_exits_with_3_unless_allowed(shell: dict[str, str], tmp_path: Path) -> None:
    create_roles({"cart": ROLES["cart"]})
    create_providers({ISSUER: [AUDIENCE]})
    iam_backends[ACCOUNT]["aws"].get_role("cart").assume_role_policy_document = json.dumps({"Statement": 1})
    create_roles({"shop": ROLES["cart"]})
    ended = run_program(shell, tmp_path)
    assert ended.code == 3
    assert f"not judged: {move(role_arn('cart'))}: Statement is neither an object nor a list of objects" in ended.err
    for option in (("--allow-unjudged",), ("--fail-on", "never")):
        assert run_program(shell, tmp_path, *option).code == 0


def test_refused_credentials_exit_with_2(shell: dict[str, str], tmp_path: Path) -> None:
    ended = run_program({**shell, "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, tmp_path)
    assert ended.code == 2
    assert ended.out == ""
    assert "No AWS credentials found. Log in, or name a profile (--profile, AWS_PROFILE)." in ended.err


def test_unreachable_iam_exits_with_2(shell: dict[str, str], tmp_path: Path) -> None:
    ended = run_program({**shell, "AWS_ENDPOINT_URL_IAM": "http://127.0.0.1:1"}, tmp_path)
    assert (ended.code, ended.out) == (2, "")
    assert "calling http://127.0.0.1:1 failed (EndpointConnectionError); check the network" in ended.err
