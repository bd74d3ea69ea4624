"""Each rule of the linter finds a policy that breaks it. Good policies have no findings."""

from __future__ import annotations

import json
from typing import Any

import pytest

from broker.policy.document import PolicyMalformedError
from broker.trust.linter.lint import Expected, lint
from broker.trust.linter.rule import Severity
from broker.trust.linter.rules import RULES
from broker.trust.policy_templates import fill_template
from tests.unit.trust.trust_statements import (
    APP,
    AUD,
    BROKEN,
    CORRECT,
    GITHUB,
    ISSUER,
    OTHER_ACCOUNT_ROLE,
    PINNED,
    PROVIDER,
    ROLE,
    SUB,
    WEB,
    chained,
    equals,
    saml,
    trusting,
    web,
    where,
)


def found(*statements: dict[str, Any], expected: Expected = Expected(), **document: object) -> set[str]:  # noqa: B008 - frozen
    policy = {"Version": "2012-10-17", **document, "Statement": list(statements)}
    return {finding.rule.id for finding in lint(json.dumps(policy), expected)}


@pytest.mark.parametrize(
    "statement",
    [
        web(Sid="TrustCluster"),
        web(Action=[WEB]),
        web(Action="STS:assumerolewithwebidentity"),
        equals(sub=[APP, "system:serviceaccount:kube-system:a.b-c"], aud=["sts.amazonaws.com", "vault"]),
        where(StringLike={"sts:RoleSessionName": "demo.*"}),
        where(IpAddress={"aws:SourceIp": "10.0.0.0/8"}),
        where(Null={SUB: "false"}),
        where(DateLessThan={"aws:CurrentTime": "2030-01-01T00:00:00Z"}),
        web(Condition={"StringLike": {**PINNED, "sts:RoleSessionName": "demo.*"}}),
        web(Condition={"StringEquals": {key.upper(): value for key, value in PINNED.items()}}),
        chained(),
        chained(Principal={"AWS": [ROLE, OTHER_ACCOUNT_ROLE]}),
        chained(Action=["sts:AssumeRole", "sts:TagSession"], Condition={"StringLike": {"aws:RequestTag/team": "a*"}}),
        chained(Principal={"AWS": "123456789012"}, Condition={"ArnLike": {"aws:PrincipalArn": ROLE[:-3] + "*"}}),
        chained(Principal={"AWS": "123456789012"}, Condition={"ArnLike": {"aws:PrincipalArn": f"{ROLE}/team-*"}}),
        chained(Principal={"AWS": "123456789012"}, Condition={"ArnEquals": {"aws:PrincipalArn": f"{ROLE[:25]}:root"}}),
        chained(Principal={"AWS": OTHER_ACCOUNT_ROLE}, Condition={"StringEquals": {"aws:PrincipalOrgID": "o-1"}}),
        chained(
            Principal={"AWS": OTHER_ACCOUNT_ROLE},
            Condition={"ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": "o-1/r-1/*"}},
        ),
        chained(Action="sts:TagSession", Condition={"ForAllValues:StringEquals": {"aws:TagKeys": ["team"]}}),
        chained(Action="sts:SetSourceIdentity", Condition={"StringLike": {"sts:SourceIdentity": "a*"}}),
        {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"},
        saml(),
        saml(Action=["sts:AssumeRoleWithSAML", "sts:TagSession"], Condition=None),
    ],
)
def test_good_statement_has_no_findings(statement: dict[str, Any]) -> None:
    assert found(statement, expected=Expected(account="123456789012")) == set()


@pytest.mark.parametrize(
    "deny",
    [
        {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "sts:*",
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        },
        {"Effect": "Deny", "Principal": "*", "Action": "sts:TagSession"},
        {"Effect": "Deny", "Principal": {"Federated": f"{PROVIDER}2"}, "Action": "sts:*"},
        web(Effect="Deny", Condition={"Null": {SUB: "true"}}),
        web(Effect="Deny", Condition={"StringNotEquals": {SUB: [APP, "system:serviceaccount:demo:b"]}}),
        web(Effect="Deny", Condition={"StringLikeIfExists": {SUB: "system:serviceaccount:kube-*"}}),
        web(Effect="Deny", Condition={"ForAllValues:StringNotLike": {SUB: "system:*"}}),
    ],
)
def test_wide_deny_statement_has_no_findings(deny: dict[str, Any]) -> None:
    assert found(web(), deny) == set()


@pytest.mark.parametrize("statement", CORRECT)
def test_documented_subject_of_another_issuer_has_no_findings(statement: dict[str, Any]) -> None:
    assert found(statement) == set()


@pytest.mark.parametrize(
    ("subject", "breadth"),
    [
        ("repo:octo/app:*", "every branch, tag, environment and pull request of the repository"),
        ("repo:octo/*", "every repository of the owner"),
        ("repo:octo@1/*", "every repository of the owner"),
        ("project_path:group/sub/*", "every project of the group"),
        ("project_path:group/app:*", "every branch and tag of the project"),
        ("repo:octo/app:ref:refs/heads/release-*", ""),
    ],
)
def test_finding_says_what_a_pattern_covers(subject: str, breadth: str) -> None:
    issuer = GITHUB if subject.startswith("repo") else "gitlab.com"
    (finding,) = lint(json.dumps({"Version": "2012-10-17", "Statement": [trusting(issuer, subject)]}), Expected())
    assert finding.rule.id == "broad-subject"
    assert finding.detail.endswith(f" ({breadth})" if breadth else subject)


@pytest.mark.parametrize(("rule", "statement"), BROKEN)
def test_statement_that_breaks_a_rule_has_its_finding(rule: str, statement: dict[str, Any]) -> None:
    assert rule in found(statement, expected=Expected(account="123456789012"))


def test_every_rule_is_tested() -> None:
    elsewhere = {"duplicate-key", "version", "too-long", "no-allow", "other-issuer"}
    assert {rule for rule, _ in BROKEN} | elsewhere == set(RULES)


def test_old_or_missing_version_is_found() -> None:
    assert found(web(), Version="2008-10-17") == {"version"}
    assert {one.rule.id for one in lint(json.dumps({"Statement": web()}), Expected())} == {"version"}


def test_unknown_element_of_the_document_is_found() -> None:
    assert found(web(), Statements=[]) == {"unknown-element"}
    assert found(web(), Id="policy") == set()


def test_policy_that_allows_nothing_is_found() -> None:
    assert found() == {"no-allow"}
    assert found(web(Effect="Deny")) == {"no-allow"}


@pytest.mark.parametrize(
    "deny",
    [
        {"Principal": "*", "Action": "sts:*"},
        {"Principal": {"AWS": "*"}, "Action": WEB, "Condition": {}},
        {"Principal": {"Federated": [f"{PROVIDER}2", PROVIDER]}, "Action": [WEB.upper()]},
        {"Principal": "*", "NotAction": "s3:*"},
    ],
)
def test_allow_that_a_deny_overrides_counts_as_nothing_allowed(deny: dict[str, Any]) -> None:
    policy = {"Version": "2012-10-17", "Statement": [web(Sid="A"), {"Sid": "D", "Effect": "Deny", **deny}]}
    details = [one.detail for one in lint(json.dumps(policy), Expected()) if one.rule.id == "no-allow"]
    assert details == ["D denies unconditionally everything that is allowed"]
    assert "no-allow" not in found(web(), chained(), {"Effect": "Deny", **deny, "Principal": {"Federated": PROVIDER}})


def test_policy_is_too_long_from_2049_characters_without_white_space() -> None:
    subject = "system:serviceaccount:demo:"
    text = json.dumps({"Version": "2012-10-17", "Statement": equals(sub=subject)}, separators=(",", ":"))
    for length, rules in ((2048, set()), (2049, {"too-long"})):
        names = [f"{subject}{'a' * 60}"] * ((length - len(text)) // 100)
        policy = {"Version": "2012-10-17", "Statement": equals(sub=[*names, subject])}
        missing = length - len(json.dumps(policy, separators=(",", ":")))
        policy["Statement"] = equals(sub=[*names, subject + ("a." * missing)[: missing - 1] + "a"])
        assert len(json.dumps(policy, separators=(",", ":"))) == length
        found_rules = {one.rule.id for one in lint(json.dumps(policy, indent=4), Expected())}
        assert found_rules == rules


def test_characters_that_iam_rejects_are_found() -> None:
    text = json.dumps({"Version": "2012-10-17", "Statement": [web(Sid="A"), web(Sid="B\u2013")]}, ensure_ascii=False)
    details = [one.detail for one in lint(text, Expected()) if one.rule.id == "malformed"]
    assert details == ["characters that IAM rejects: U+2013"]


def test_duplicate_key_is_found_with_its_line() -> None:
    text = json.dumps({"Version": "2012-10-17", "Statement": web()}, indent=1)
    twice = text.replace(f'"{SUB}"', f'"{SUB}": "x",\n"{SUB}"')
    (finding,) = lint(twice, Expected())
    assert (finding.rule.id, finding.detail) == ("duplicate-key", f"{SUB} appears twice")
    assert f'"{SUB}": "{APP}"' in twice.splitlines()[finding.line - 1]


@pytest.mark.parametrize("effect", ["Allow", "Deny"])
def test_condition_key_with_different_case_is_a_duplicate(effect: str) -> None:
    twice = web(Effect=effect, Condition={"StringEquals": {**PINNED, SUB.upper(): "system:serviceaccount:demo:b"}})
    (finding,) = lint(json.dumps({"Version": "2012-10-17", "Statement": [web(), twice]}), Expected())
    assert (finding.rule.id, finding.statement) == ("duplicate-key", "statement 2")
    assert finding.detail == f"StringEquals has {SUB} and {SUB.upper()}: condition keys ignore case"


def test_key_under_two_operators_is_not_a_duplicate() -> None:
    assert found(where(StringLike={SUB: f"{APP}*"})) == {"namespace-subject"}


def test_finding_names_the_statement_and_its_line() -> None:
    text = json.dumps(
        {"Version": "2012-10-17", "Statement": [web(), web(Sid="Bad", Condition={}), web(Action="*")]}, indent=1
    )
    findings = lint(text, Expected())
    assert [(one.statement, one.rule.id) for one in findings] == [
        ("Bad", "no-condition"),
        ("statement 3", "wide-action"),
    ]
    starts = [number for number, line in enumerate(text.splitlines(), start=1) if line == "  {"]
    assert [one.line for one in findings] == starts[1:]


def test_repeated_sid_is_found() -> None:
    assert found(web(Sid="A"), web(Sid="A")) == {"sid"}


def test_issuer_other_than_the_expected_one_is_found() -> None:
    assert found(web(), expected=Expected(issuer=ISSUER)) == set()
    assert found(web(), expected=Expected(issuer="oidc.example/d")) == {"other-issuer"}


def test_account_comes_from_the_provider_or_the_expectation() -> None:
    bare = chained(Condition=None)
    assert found(web(), bare) == set()
    assert found(web(), chained(Principal={"AWS": OTHER_ACCOUNT_ROLE}, Condition={})) == {"cross-account"}
    assert found(bare) == {"cross-account"}
    assert found(bare, expected=Expected(account="123456789012")) == set()


def test_single_statement_outside_a_list_is_linted() -> None:
    text = json.dumps({"Version": "2012-10-17", "Statement": web(Condition={})})
    assert [one.rule.id for one in lint(text, Expected())] == ["no-condition"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"Statement": 7}', '{"Statement": ["x"]}', "null"])
def test_text_that_is_not_a_policy_raises(text: str) -> None:
    with pytest.raises(PolicyMalformedError):
        lint(text, Expected())


def test_own_templates_have_no_findings() -> None:
    tagged = {"principals": [ROLE], "tag_keys": ["team"]}
    cluster = {
        "sid": "TrustCluster",
        "provider_arn": PROVIDER,
        "audience_key": AUD,
        "audiences": ["sts.amazonaws.com"],
        "operator": "StringEquals",
        "subject_key": SUB,
        "subjects": [APP],
    }
    statements = [
        fill_template("trust/statement.json.tftpl", cluster),
        fill_template("trust/chained-tag.json.tftpl", tagged),
        fill_template(
            "trust/chained-assume.json.tftpl", {**tagged, "conditions": {"StringEquals": {"sts:ExternalId": "a"}}}
        ),
        fill_template("trust/chained-source-identity.json.tftpl", {**tagged, "source_identities": ["app"]}),
    ]
    assert found(*statements) == set()
    for operator, name in (("StringLike", "demo.*"), ("StringEquals", "demo.app")):
        named = {**cluster, "operator": operator, "session_names": [name]}
        assert found(fill_template("trust/statement-session-name.json.tftpl", named)) == set()


def test_rule_has_title_reason_and_fix_as_sentences() -> None:
    for name, rule in RULES.items():
        assert name == rule.id
        assert rule.severity in Severity
        assert rule.title[0].isupper() or rule.title[0] == "*"
        assert not rule.title.endswith(".")
        assert rule.why.endswith(".")
        assert rule.fix.endswith(".")
