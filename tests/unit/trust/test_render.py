"""What render prints: the house's text, without a finding, that lets in whom it was made for; or why not."""

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
from broker.trust.explain import Asker, explain
from broker.trust.linter.lint import Expected, lint
from broker.trust.render import Trusted, render
from broker.trust.render_request import Wanted, trusted_for
from tests.support.fakes import EPOCH

if TYPE_CHECKING:
    from pathlib import Path

ACCOUNT = "123456789012"
APP = "system:serviceaccount:demo:app"
TRUSTED = Trusted(issuer="https://oidc.example/c", audiences=("sts.amazonaws.com",), subjects=(APP,), account=ACCOUNT)
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


def changed(**changes: object) -> Trusted:
    given = {name: getattr(TRUSTED, name) for name in ("issuer", "audiences", "subjects", "account", "partition")}
    return Trusted(**{**given, **changes})


@given(
    host=hosts,
    path=st.lists(labels, max_size=2),
    audiences=st.lists(labels, min_size=1, max_size=2, unique=True),
    subjects=st.lists(
        st.builds("system:serviceaccount:{}:{}".format, labels, labels), min_size=1, max_size=4, unique=True
    ),
    partition=st.sampled_from(["aws", "aws-cn", "aws-us-gov"]),
)
def test_what_is_printed_is_clean_and_lets_in_whom_it_was_made_for(
    host: str, path: list[str], audiences: list[str], subjects: list[str], partition: str
) -> None:
    issuer = f"https://{'/'.join([host, *path])}"
    trusted = changed(issuer=issuer, audiences=tuple(audiences), subjects=tuple(subjects), partition=partition)
    text = render(trusted)
    assert lint(text, Expected(issuer=issuer.removeprefix("https://"), account=ACCOUNT)) == ()
    for subject in subjects:
        for audience in audiences:
            asker = Asker(
                issuer=issuer,
                subject=subject,
                audiences=(audience,),
                session_name="demo.app",
                role=(partition, ACCOUNT),
            )
            assert explain(text, asker).allowed


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
        ({"audiences": ("sts.amazonaws.com ",)}, "with blanks"),
        ({"account": ""}, "give --account"),
        ({"account": "1234"}, "expected 12 digits"),
        ({"partition": "china"}, "--partition china"),
        ({"subjects": ("system:serviceaccount:demo:*",)}, "compares literally"),
        ({"subjects": ("demo:app",)}, "no service account has"),
        ({"subjects": ()}, "has no values"),
        ({"audiences": ("sts.*",)}, "compares literally"),
        ({"subjects": tuple(f"system:serviceaccount:demo:app-{number}" for number in range(60))}, "IAM's quota"),
        ({"subjects": ("system:\x1b[2J",)}, r"system:\\x1b\[2J"),
    ],
)
def test_what_would_be_no_good_is_not_printed(changes: dict[str, object], fault: str) -> None:
    with pytest.raises(ConfigurationError, match=fault):
        render(changed(**changes))


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        render(changed(issuer="x", account="y", partition="z"))
    assert len(caught.value.faults) == 3


def never(_: str) -> UnverifiedClaims:
    pytest.fail("the token was read, though the options say it all")


def test_token_fills_what_the_options_leave_open() -> None:
    assert trusted_for(Wanted(account=ACCOUNT), role=None, claims_of=lambda _: CLAIMS) == TRUSTED
    other = trusted_for(
        Wanted(token="t", issuer="https://a.b", audiences=("x", "x")), role=None, claims_of=lambda _: CLAIMS
    )
    assert (other.issuer, other.audiences, other.subjects) == ("https://a.b", ("x",), (APP,))


def test_token_for_others_than_aws_keeps_its_audiences() -> None:
    claims = UnverifiedClaims(
        issuer=CLAIMS.issuer,
        subject=APP,
        audiences=("vault", "other"),
        issued_at=None,
        not_before=None,
        expires_at=EPOCH,
    )
    assert trusted_for(Wanted(), role=None, claims_of=lambda _: claims).audiences == ("vault", "other")


def test_options_alone_read_no_token() -> None:
    wanted = Wanted(issuer="https://oidc.example/c", subjects=(APP, APP), account=ACCOUNT)
    assert trusted_for(wanted, role=None, claims_of=never) == TRUSTED


def test_role_in_the_environment_gives_account_and_partition() -> None:
    wanted = Wanted(issuer="https://a.b", subjects=(APP,))
    trusted = trusted_for(wanted, role=("aws-cn", "210987654321"), claims_of=never)
    assert (trusted.partition, trusted.account) == ("aws-cn", "210987654321")


@pytest.mark.parametrize(
    ("namespaces", "names", "subjects"),
    [
        ((), (), []),
        (("demo",), ("app",), ["demo:app"]),
        (("demo",), ("app", "till"), ["demo:app", "demo:till"]),
        (("demo", "shop"), ("app", "till"), ["demo:app", "shop:till"]),
    ],
)
def test_namespaces_and_service_accounts_pair(
    namespaces: tuple[str, ...], names: tuple[str, ...], subjects: list[str]
) -> None:
    named = Wanted(namespaces=namespaces, service_accounts=names).subjects_named()
    assert list(named) == [f"system:serviceaccount:{subject}" for subject in subjects]


@pytest.mark.parametrize(
    ("namespaces", "names"), [(("a",), ()), ((), ("b",)), (("a", "b"), ("c",)), (("a", "b"), ("c", "d", "e"))]
)
def test_namespaces_and_service_accounts_that_do_not_pair_are_refused(
    namespaces: tuple[str, ...], names: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigurationError, match="a namespace for each service account"):
        Wanted(namespaces=namespaces, service_accounts=names).subjects_named()


def test_texts_are_beside_the_package_or_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_templates, "__file__", str(tmp_path / "broker" / "trust" / "policy_templates.py"))
    assert policy_templates.folder() == tmp_path / "iam-policies"
    (tmp_path / "broker" / "iam_policies").mkdir(parents=True)
    assert policy_templates.folder() == tmp_path / "broker" / "iam_policies"


def test_values_become_json_and_nothing_else() -> None:
    strange = 'a"b\\${sid}\n'
    values = dict.fromkeys(
        ("sid", "provider_arn", "audience_key", "audiences", "operator", "subject_key", "subjects"), strange
    )
    statement = policy_templates.fill(
        policy_templates.TRUST_STATEMENT, {**values, "subject_key": "s", "subjects": [strange]}
    )
    assert statement["Sid"] == strange
    assert statement["Condition"] == {strange: {strange: strange, "s": [strange]}}
    assert json.loads(json.dumps(statement)) == statement
