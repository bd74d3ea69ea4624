"""Subjects and patterns in words."""

from __future__ import annotations

import json

import pytest

from broker.policy.document import read_json
from broker.trust.audit.subjects import describe, list_candidates, name_kind
from broker.trust.linter.statement import read_statements
from tests.support.audited_account import GITHUB, ISSUER, for_tokens, trust


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("*", "every subject of the provider"),
        ("system:serviceaccount:shop:cart", "service account shop/cart"),
        ("system:serviceaccount:shop:*", "every service account of namespace shop"),
        ("system:serviceaccount:*:cart", "service account cart of every namespace"),
        ("system:serviceaccount:*:*", "every service account"),
        ("system:serviceaccount:*", "every service account"),
        ("system:serviceaccount:shop*", "every subject that matches system:serviceaccount:shop*"),
        ("system:serviceaccount:shop-*:*", "every service account of every namespace like shop-*"),
        ("system:serviceaccount:shop:c?rt", "every service account named like c?rt of namespace shop"),
        ("repo:acme/shop:*", "every branch, tag, pull request and environment of repository acme/shop"),
        ("repo:acme/*", "every repository of acme, with every branch and pull request"),
        ("repo:acme/shop:ref:refs/heads/*", "every subject that matches repo:acme/shop:ref:refs/heads/*"),
        ("project_path:acme/shop:*", "every branch and tag of project acme/shop"),
        ("project_path:acme/*", "every project of group acme"),
        ("repo:acme/shop:environment:live", "repo:acme/shop:environment:live"),
    ],
)
def test_pattern_is_described_in_words(text: str, words: str) -> None:
    assert describe(text) == words


def test_candidate_of_a_pattern_matches_it_and_literal_wildcards_are_left_out() -> None:
    literal = for_tokens("x")
    literal["Condition"]["StringEquals"][f"{ISSUER}:sub"] = ["a*", "b"]
    policy = trust(for_tokens("system:serviceaccount:*:a?"), literal, for_tokens("repo:x", issuer=GITHUB))
    found = list_candidates(read_statements(read_json(json.dumps(policy))), ISSUER)
    assert [(one.text, one.subject, one.is_pattern) for one in found] == [
        ("system:serviceaccount:*:a?", "system:serviceaccount:sts-broker-audit:ax", True),
        ("b", "b", False),
        ("*", "sts-broker-audit", True),
    ]


@pytest.mark.parametrize(
    ("subject", "issuer", "kind"),
    [
        ("repo:x", GITHUB, "GitHub Actions"),
        ("system:serviceaccount:a:b", ISSUER, "service account"),
        ("somebody", ISSUER, "OIDC subject"),
    ],
)
def test_kind_of_subject_is_named(subject: str, issuer: str, kind: str) -> None:
    assert name_kind(subject, issuer) == kind
