"""Rendered policies come from the template, have no findings, and allow exactly the identities they are for."""

from __future__ import annotations

import json
import string
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.core.errors import ConfigurationError
from broker.core.model import UnverifiedClaims
from broker.trust import policy_templates
from broker.trust.explain import WebIdentity, explain
from broker.trust.linter.lint import Expected, lint
from broker.trust.render import TrustedIdentities, render
from broker.trust.render_request import RenderOptions, resolve_identities
from broker.trust.render_subjects import WorkloadOptions
from tests.support.fakes import EPOCH

if TYPE_CHECKING:
    from pathlib import Path

ACCOUNT = "123456789012"
APP = "system:serviceaccount:demo:app"
TRUSTED = TrustedIdentities(
    issuer="https://oidc.example/c", audiences=("sts.amazonaws.com",), subjects=(APP,), account=ACCOUNT
)
CLAIMS = UnverifiedClaims(
    issuer="https://oidc.example/c",
    subject=APP,
    audiences=("vault", "sts.amazonaws.com"),
    issued_at=EPOCH,
    not_before=EPOCH,
    expires_at=EPOCH + timedelta(hours=1),
)
labels = st.text(alphabet=string.ascii_lowercase + string.digits, min_size=1, max_size=20)
hosts = st.lists(labels, min_size=1, max_size=3).map(lambda parts: ".".join([*parts, "example"]))


def changed(**changes: object) -> TrustedIdentities:
    given = {name: getattr(TRUSTED, name) for name in ("issuer", "audiences", "subjects", "account", "partition")}
    return TrustedIdentities(**{**given, **changes})


@given(
    host=hosts,
    path=st.lists(labels, max_size=2),
    audiences=st.lists(labels, min_size=1, max_size=2, unique=True),
    subjects=st.lists(
        st.builds("system:serviceaccount:{}:{}".format, labels, labels), min_size=1, max_size=4, unique=True
    ),
    partition=st.sampled_from(["aws", "aws-cn", "aws-us-gov"]),
)
def test_rendered_policy_has_no_findings_and_allows_its_identities(
    host: str, path: list[str], audiences: list[str], subjects: list[str], partition: str
) -> None:
    issuer = f"https://{'/'.join([host, *path])}"
    trusted = changed(issuer=issuer, audiences=tuple(audiences), subjects=tuple(subjects), partition=partition)
    text = render(trusted)
    assert lint(text, Expected(issuer=issuer.removeprefix("https://"), account=ACCOUNT)) == ()
    for subject in subjects:
        for audience in audiences:
            identity = WebIdentity(
                issuer=issuer,
                subject=subject,
                audiences=(audience,),
                session_name="demo.app",
                role=(partition, ACCOUNT),
            )
            assert explain(text, identity).allowed


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"issuer": "oidc.example/c"}, "not a valid URL. Write https://HOST"),
        ({"issuer": "https://oidc.example/c/"}, "ends with a slash.* Write https://oidc.example/c "),
        ({"issuer": "https://oidc.example:8443"}, "has a port; IAM accepts none"),
        ({"issuer": "https://oidc.example/c/../d"}, "empty or dotted segments"),
        ({"issuer": f"https://oidc.example/{'c' * 256}"}, "IAM accepts at most 255"),
        ({"issuer": "https://kubernetes.default.svc"}, "exists only inside the cluster"),
        ({"issuer": "https://"}, "not a valid URL"),
        ({"audiences": ("sts.amazonaws.com ",)}, "An audience with spaces"),
        ({"account": ""}, "Pass --account"),
        ({"account": "1234"}, "expected 12 digits"),
        ({"partition": "china"}, "--partition is china"),
        ({"subjects": ("system:serviceaccount:demo:*",)}, "compares literally"),
        ({"subjects": ("demo:app",)}, "A subject that the issuer's tokens can't have"),
        ({"subjects": ()}, "has no values"),
        ({"audiences": ("sts.*",)}, "compares literally"),
        (
            {"subjects": tuple(f"system:serviceaccount:demo:app-{number}" for number in range(60))},
            "IAM's default quota",
        ),
        ({"subjects": ("system:\x1b[2J",)}, r"system:\\x1b\[2J"),
    ],
)
def test_input_without_a_valid_policy_is_rejected(changes: dict[str, object], fault: str) -> None:
    with pytest.raises(ConfigurationError, match=fault):
        render(changed(**changes))


def test_all_faults_are_reported_together() -> None:
    with pytest.raises(ConfigurationError) as caught:
        render(changed(issuer="x", account="y", partition="z"))
    assert len(caught.value.faults) == 3


def fail_to_read(_: str) -> UnverifiedClaims:
    pytest.fail("the token was read although the options are complete")


def test_token_supplies_what_the_options_leave_open() -> None:
    assert resolve_identities(RenderOptions(account=ACCOUNT), role=None, read_claims=lambda _: CLAIMS) == TRUSTED
    other = resolve_identities(
        RenderOptions(token="t", issuer="https://a.b", audiences=("x", "x")), role=None, read_claims=lambda _: CLAIMS
    )
    assert (other.issuer, other.audiences, other.subjects) == ("https://a.b", ("x",), (APP,))


def test_token_without_the_default_audience_keeps_its_audiences() -> None:
    claims = UnverifiedClaims(
        issuer=CLAIMS.issuer,
        subject=APP,
        audiences=("vault", "other"),
        issued_at=None,
        not_before=None,
        expires_at=EPOCH,
    )
    assert resolve_identities(RenderOptions(), role=None, read_claims=lambda _: claims).audiences == ("vault", "other")


def test_complete_options_read_no_token() -> None:
    options = RenderOptions(issuer="https://oidc.example/c", subjects=(APP, APP), account=ACCOUNT)
    assert resolve_identities(options, role=None, read_claims=fail_to_read) == TRUSTED


@pytest.mark.parametrize(
    ("workloads", "missing"),
    [
        (WorkloadOptions(kind="github"), ["--repository"]),
        (WorkloadOptions(kind="gitlab"), ["--project-path"]),
        (WorkloadOptions(kind="spiffe"), ["--spiffe-id", "--issuer"]),
        (WorkloadOptions(kind="spiffe", spiffe_ids=("spiffe://a/b",)), ["--issuer"]),
    ],
)
def test_missing_option_of_an_issuer_kind_is_named_and_the_pods_token_is_not_read(
    workloads: WorkloadOptions, missing: list[str]
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        resolve_identities(RenderOptions(workloads=workloads), role=None, read_claims=fail_to_read)
    assert [fault.partition(" ")[0] for fault in caught.value.faults] == missing


def test_role_in_the_environment_supplies_account_and_partition() -> None:
    options = RenderOptions(issuer="https://a.b", subjects=(APP,))
    trusted = resolve_identities(options, role=("aws-cn", "210987654321"), read_claims=fail_to_read)
    assert (trusted.partition, trusted.account) == ("aws-cn", "210987654321")


@pytest.mark.parametrize(
    ("namespaces", "names", "subjects"),
    [
        ((), (), []),
        (("demo",), ("app",), ["demo:app"]),
        (("demo",), ("app", "checkout"), ["demo:app", "demo:checkout"]),
        (("demo", "shop"), ("app", "checkout"), ["demo:app", "shop:checkout"]),
    ],
)
def test_namespaces_are_paired_with_service_accounts(
    namespaces: tuple[str, ...], names: tuple[str, ...], subjects: list[str]
) -> None:
    named = WorkloadOptions(namespaces=namespaces, service_accounts=names).list_subjects()
    assert list(named) == [f"system:serviceaccount:{subject}" for subject in subjects]


@pytest.mark.parametrize(
    ("namespaces", "names"), [(("a",), ()), ((), ("b",)), (("a", "b"), ("c",)), (("a", "b"), ("c", "d", "e"))]
)
def test_namespaces_and_service_accounts_in_wrong_numbers_are_rejected(
    namespaces: tuple[str, ...], names: tuple[str, ...]
) -> None:
    options = RenderOptions(workloads=WorkloadOptions(namespaces=namespaces, service_accounts=names))
    with pytest.raises(ConfigurationError, match="one namespace for each service account"):
        resolve_identities(options, role=None, read_claims=fail_to_read)


def test_templates_are_next_to_the_package_or_inside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_templates, "__file__", str(tmp_path / "broker" / "trust" / "policy_templates.py"))
    assert policy_templates.find_templates() == tmp_path / "iam-policies"
    (tmp_path / "broker" / "iam_policies").mkdir(parents=True)
    assert policy_templates.find_templates() == tmp_path / "broker" / "iam_policies"


def test_placeholder_values_are_inserted_as_json() -> None:
    strange = 'a"b\\${sid}\n'
    values = dict.fromkeys(
        ("sid", "provider_arn", "audience_key", "audiences", "operator", "subject_key", "subjects"), strange
    )
    statement = policy_templates.fill_template(
        policy_templates.TRUST_STATEMENT, {**values, "subject_key": "s", "subjects": [strange]}
    )
    assert statement["Sid"] == strange
    assert statement["Condition"] == {strange: {strange: strange, "s": [strange]}}
    assert json.loads(json.dumps(statement)) == statement
