"""The audit of whole accounts: rows, chains, findings, and what was not judged."""

from __future__ import annotations

from typing import Any

import pytest

from broker.core.errors import ConfigurationError
from broker.trust.audit.audit import audit
from tests.support.audited_account import (
    ACCOUNT,
    AUDIENCE,
    GITHUB,
    ISSUER,
    MANIFESTS,
    PROVIDERS,
    ROLES,
    WEB,
    deployment,
    for_callers,
    for_tokens,
    provider_arn,
    role_arn,
    service_account,
    trust,
)
from tests.unit.trust.audit.auditing import list_findings, list_rows, make_account, make_cluster, run_audit

CART = "system:serviceaccount:shop:cart"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"


def test_every_kind_of_subject_and_chain_has_a_row() -> None:
    result = run_audit(ROLES, providers=PROVIDERS)
    assert list_rows(result) == [
        (ACCOUNT, "admin", "", "conditional"),
        (CART, "archive", "cart reports", "conditional"),
        (CART, "cart", "", "yes"),
        ("repo:acme/shop:*", "deploy", "", "yes"),
        (CART, "reports", "cart", "yes"),
        ("system:serviceaccount:shop:retired", "retired", "", "yes"),
        ("system:serviceaccount:shop:*", "shop", "", "yes"),
    ]
    assert [(one.policy.role.name, one.reached) for one in result.roles] == [
        *(("admin", "account"), ("archive", "chain"), ("cart", "token"), ("deploy", "token"), ("legacy", "token")),
        *(("reports", "chain"), ("retired", "token"), ("shop", "token"), ("vault", "token")),
    ]
    assert result.other_roles == 1
    assert result.account.unjudged == []


def test_findings_name_role_and_rule() -> None:
    result = run_audit(ROLES, providers=PROVIDERS)
    assert list_findings(result) == {
        ("legacy", "missing-provider"),
        ("vault", "unlisted-audience"),
        ("gitlab.com", "unused-provider"),
        ("admin", "account-root"),
        ("deploy", "broad-subject"),
        ("shop", "namespace-subject"),
    }
    assert [one.finding.rule.severity.value for one in result.findings] == sorted(
        one.finding.rule.severity.value for one in result.findings
    )


def test_cluster_expands_wildcards_and_refuses_pods() -> None:
    result = run_audit(ROLES, MANIFESTS, providers=PROVIDERS)
    rows = [(one.subject, one.exists) for one in result.entries if one.role == role_arn("shop")]
    assert rows == [(CART, True), ("system:serviceaccount:shop:web", True)]
    found = list_findings(result)
    assert ("Deployment shop/web", "pod-refused") in found
    assert ("Deployment shop/cart", "pod-refused") not in found
    assert ("retired", "unusable-role") in found
    (refusal,) = (one for one in result.findings if one.finding.rule.id == "pod-refused")
    assert f"expected {CART}, found system:serviceaccount:shop:web" in refusal.message


def test_subject_without_an_account_is_kept_and_marked() -> None:
    result = run_audit({"retired": ROLES["retired"]}, MANIFESTS)
    assert [(one.subject, one.exists) for one in result.entries] == [("system:serviceaccount:shop:retired", False)]


def test_unrestricted_subject_is_one_row_or_every_service_account() -> None:
    statement = for_tokens("x")
    statement["Condition"] = {"StringEquals": {f"{ISSUER}:aud": AUDIENCE}}
    policies = {"open": trust(statement), "cart": ROLES["cart"]}
    assert [row for row in list_rows(run_audit(policies)) if row[1] == "open"] == [("*", "open", "", "yes")]
    rows = list_rows(run_audit(policies, MANIFESTS))
    assert {row[0] for row in rows if row[1] == "open"} == {CART, "system:serviceaccount:shop:web"}


def test_subject_that_is_only_a_star_admits_every_service_account() -> None:
    policies = {"open": trust(for_tokens("*")), "cart": ROLES["cart"]}
    assert [row[0] for row in list_rows(run_audit(policies)) if row[1] == "open"] == ["*"]
    rows = list_rows(run_audit(policies, MANIFESTS))
    assert {row[0] for row in rows if row[1] == "open"} == {CART, "system:serviceaccount:shop:web"}


def test_several_audiences_are_judged_by_the_list_of_the_provider() -> None:
    result = run_audit({"vault": ROLES["vault"]}, providers={ISSUER: [AUDIENCE, "vault"]})
    assert [one.audiences for one in result.entries] == [("vault",)]
    assert list_findings(result) == set()


def test_cycle_of_chained_roles_ends() -> None:
    policies = {
        "cart": trust(for_tokens(CART), for_callers(role_arn("b"))),
        "a": trust(for_callers(role_arn("cart"), role_arn("b"), role_arn("a"))),
        "b": trust(for_callers(role_arn("a"))),
    }
    assert list_rows(run_audit(policies)) == [
        (CART, "a", "cart", "yes"),
        (CART, "b", "cart a", "yes"),
        (CART, "cart", "", "yes"),
    ]


def test_roles_that_no_token_reaches_are_counted_only() -> None:
    policies = {"admin": ROLES["admin"], "a": trust(for_callers(role_arn("b"))), "b": trust(for_callers(role_arn("a")))}
    result = run_audit(policies)
    assert (result.roles, result.other_roles) == ((), 3)


def test_chain_from_a_role_without_a_provider_stays_in_the_audit() -> None:
    policies = {"legacy": ROLES["legacy"], "next": trust(for_callers(role_arn("legacy")))}
    result = run_audit(policies)
    assert [(one.policy.role.name, one.entries) for one in result.roles] == [("legacy", ()), ("next", ())]


@pytest.mark.parametrize(
    ("principal", "condition", "expected"),
    [
        (role_arn("cart"), {}, "yes"),
        (f"arn:aws:sts::{ACCOUNT}:assumed-role/cart/session", {}, "yes"),
        (ROOT, {"ArnLike": {"aws:PrincipalArn": role_arn("c*")}}, "conditional"),
        (ACCOUNT, {"ArnEquals": {"aws:PrincipalArn": role_arn("other")}}, ""),
        ("*", {"ArnEquals": {"aws:PrincipalArn": role_arn("cart")}}, "conditional"),
        (role_arn("cart"), {"StringEquals": {"aws:PrincipalAccount": "999999999999"}}, ""),
        (role_arn("cart"), {"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}, "conditional"),
        (role_arn("cart"), {"StringEquals": {"saml:aud": "x"}}, ""),
        ("arn:aws:iam::999999999999:role/cart", {}, ""),
    ],
)
def test_chain_follows_principals_and_conditions(principal: str, condition: dict[str, Any], expected: str) -> None:
    policies = {"cart": ROLES["cart"], "next": trust(for_callers(principal, **condition))}
    verdicts = [row[3] for row in list_rows(run_audit(policies)) if row[1] == "next"]
    assert verdicts == ([expected] if expected else [])


def test_session_of_a_chained_role_ends_after_an_hour() -> None:
    account = make_account({"cart": ROLES["cart"], "reports": ROLES["reports"]})
    for role in list(account.roles):
        account.roles.remove(role)
        account.roles.append(type(role)(arn=role.arn, source=role.source, maximum_seconds=43200, boundary="b"))
    result = audit(account, cluster=None, issuer="", ignored=())
    assert {(one.role, one.maximum_seconds, one.boundary) for one in result.entries} == {
        (role_arn("cart"), 43200, "b"),
        (role_arn("reports"), 3600, "b"),
    }


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ("{", "invalid JSON"),
        ('{"Statement": 1}', "neither an object nor a list"),
        ('{"Statement": [], "Statement": []}', "appears twice"),
        ({"Statement": [{**for_tokens(CART), "NotResource": "x"}]}, "NotResource is not supported"),
        ({"Statement": [{**for_tokens(CART), "Extra": "x"}]}, "Extra isn't an element"),
        (
            trust(for_tokens(CART, Condition={"StringEquals": {f"{ISSUER}:sub": "${aws:username}"}})),
            "policy variable",
        ),
        (
            trust(
                for_tokens(CART), {**for_tokens(CART), "Effect": "Deny", "Condition": {"Weird": {f"{ISSUER}:sub": "x"}}}
            ),
            "Weird is not supported",
        ),
    ],
)
def test_policy_that_cannot_be_judged_is_listed(policy: dict[str, Any] | str, reason: str) -> None:
    result = run_audit({"strange": policy})
    assert any(line.startswith(role_arn("strange")) and reason in line for line in result.account.unjudged)
    assert all(row[3] == "not judged" for row in list_rows(result))


def test_deny_that_covers_the_subject_leaves_nobody() -> None:
    deny = {**for_tokens(CART), "Effect": "Deny", "Sid": "DenyCart"}
    result = run_audit({"cart": trust(for_tokens(CART), deny)})
    assert list_rows(result) == []
    assert ("cart", "unusable-role") in list_findings(result)


def test_deny_with_an_open_key_is_a_condition() -> None:
    deny = {**for_tokens(CART), "Effect": "Deny", "Condition": {"NotIpAddress": {"aws:SourceIp": "192.0.2.0/24"}}}
    (row,) = run_audit({"cart": trust(for_tokens(CART), deny)}).entries
    assert row.admission.conditions == ("not where NotIpAddress aws:SourceIp 192.0.2.0/24",)


def test_claim_of_a_known_provider_is_a_condition() -> None:
    statement = for_tokens("repo:acme/shop:*", issuer=GITHUB)
    statement["Condition"]["StringEquals"][f"{GITHUB}:repository_id"] = ["1", "2"]
    result = run_audit({"deploy": trust(statement)}, providers={GITHUB: [AUDIENCE]})
    assert list_rows(result) == [("repo:acme/shop:*", "deploy", "", "conditional")]
    assert result.entries[0].admission.conditions == (f"StringEquals {GITHUB}:repository_id 1 | 2",)


def test_claim_that_the_tokens_of_a_cluster_lack_admits_nobody() -> None:
    statement = for_tokens(CART)
    statement["Condition"]["StringEquals"][f"{ISSUER}:kubernetes.io/pod"] = "x"
    result = run_audit({"cart": trust(statement)})
    assert list_rows(result) == []
    assert {("cart", "unknown-key"), ("cart", "unusable-role")} <= list_findings(result)


def test_provider_of_another_account_admits_nobody() -> None:
    statement = {**for_tokens(CART), "Principal": {"Federated": f"arn:aws:iam::999999999999:oidc-provider/{ISSUER}"}}
    result = run_audit({"cart": trust(statement)})
    assert list_rows(result) == []
    assert {("cart", "missing-provider"), ("cart", "other-account")} <= list_findings(result)


def test_built_in_provider_needs_no_object_in_iam() -> None:
    condition = {"StringEquals": {"accounts.google.com:sub": "1", "accounts.google.com:aud": "app"}}
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": "accounts.google.com"},
        "Action": WEB,
        "Condition": condition,
    }
    assert list_rows(run_audit({"google": trust(statement)}, providers={})) == [("1", "google", "", "yes")]


def test_unknown_audiences_and_incomplete_lists_accuse_nobody() -> None:
    account = make_account({"vault": ROLES["vault"], "legacy": ROLES["legacy"]}, {ISSUER: None, "unused.example": []})
    account.has_all_providers = False
    result = audit(account, cluster=None, issuer="", ignored=())
    assert {rule for _, rule in list_findings(result)} == set()
    assert [row[1] for row in list_rows(result)] == ["legacy", "vault"]


def test_statement_for_a_service_is_noted_and_an_unknown_claim_is_not_judged() -> None:
    claim = for_tokens("somebody", issuer="oidc.example/other")
    claim["Condition"]["StringEquals"]["oidc.example/other:team"] = "a"
    policies = {"mixed": trust(for_tokens(CART), *ROLES["machine"]["Statement"]), "other": trust(claim)}
    account = run_audit(policies, providers={ISSUER: [AUDIENCE], "oidc.example/other": [AUDIENCE]}).account
    assert account.notes == [f"{role_arn('mixed')}: statement 2: it is for an AWS service; only its form was checked"]
    (unjudged,) = account.unjudged
    assert "has no claims of this issuer" in unjudged


def test_statement_with_another_effect_is_not_judged() -> None:
    result = run_audit({"cart": trust(for_tokens(CART), {**for_tokens(CART), "Effect": "allow"})})
    assert [row[3] for row in list_rows(result)] == ["not judged"]


def test_ignored_rule_is_left_out() -> None:
    account = make_account({"shop": ROLES["shop"]})
    assert audit(account, cluster=None, issuer="", ignored=["namespace-subject"]).findings == ()


@pytest.mark.parametrize(
    ("role", "reason"),
    [
        (role_arn("nowhere"), "there is no such role"),
        (role_arn("deploy"), f"it doesn't trust the cluster's issuer {ISSUER}"),
        (role_arn("legacy"), f"it doesn't trust the cluster's issuer {ISSUER}"),
        (role_arn("vault"), "Trust"),
    ],
)
def test_refused_pod_has_the_reason(role: str, reason: str) -> None:
    result = run_audit(ROLES, service_account("web"), deployment("web", role), providers=PROVIDERS)
    (refusal,) = (one for one in result.findings if one.finding.rule.id == "pod-refused")
    assert reason in refusal.message


def test_pod_with_an_unlisted_audience_is_refused() -> None:
    pod = deployment("cart", role_arn("cart"))
    pod["spec"]["template"]["metadata"]["annotations"]["sts-broker/audience"] = "vault"
    result = run_audit({"cart": ROLES["cart"]}, service_account("cart"), pod)
    (refusal,) = result.findings
    assert f"{provider_arn()} doesn't list the audience vault" in refusal.message


def test_pod_for_a_missing_provider_is_refused() -> None:
    result = run_audit(
        {"cart": ROLES["cart"]}, service_account("cart"), deployment("cart", role_arn("cart")), providers={}
    )
    assert ("Deployment shop/cart", "pod-refused") in list_findings(result)


def test_role_of_another_account_is_not_judged() -> None:
    other = "arn:aws:iam::999999999999:role/x"
    result = run_audit({"cart": ROLES["cart"]}, service_account("cart"), deployment("cart", other))
    assert result.account.unjudged == [f"cluster.yaml: Deployment shop/cart requests {other}, which was not read"]


def test_pod_for_a_role_that_cannot_be_judged_is_listed() -> None:
    statement = for_tokens(CART)
    statement["Condition"]["StringEquals"][f"{ISSUER}:sub"] = "${aws:username}"
    policies = {"cart": ROLES["cart"], "strange": trust(statement)}
    result = run_audit(policies, service_account("cart"), deployment("cart", role_arn("strange")))
    assert any(line.startswith("cluster.yaml: Deployment shop/cart requests") for line in result.account.unjudged)


def test_webhook_annotation_requests_a_role_for_the_pods_of_the_account() -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "shop"},
        "spec": {"serviceAccountName": "web", "containers": [{"name": "app", "image": "x"}]},
    }
    account = service_account("web", role_arn=role_arn("cart"), audience="vault")
    result = run_audit({"cart": ROLES["cart"]}, account, pod, providers={ISSUER: [AUDIENCE, "vault"]})
    (refusal,) = (one for one in result.findings if one.finding.rule.id == "pod-refused")
    assert "eks.amazonaws.com/role-arn of its service account" in refusal.message


def test_issuer_of_the_cluster_is_found_or_asked_for() -> None:
    account = make_account({"cart": ROLES["cart"]})
    assert audit(account, cluster=make_cluster(MANIFESTS), issuer="", ignored=()).issuer == ISSUER
    both = make_account({"cart": ROLES["cart"], "legacy": ROLES["legacy"]})
    with pytest.raises(ConfigurationError, match=r"--issuer.*https://oidc.example/cluster, https://oidc.example/old"):
        audit(both, cluster=make_cluster(MANIFESTS), issuer="", ignored=())
