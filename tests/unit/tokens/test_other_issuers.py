"""Tokens of CI systems, SPIRE, GKE and AKS: what is read of them, and what is said about those that can't be sent."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from broker.core.errors import TokenAudienceMismatch, TokenExpired, TokenMalformed
from broker.core.session_names import session_name_for
from broker.core.token_issuers import IssuerKind, find_kind
from broker.tokens.decoding import parse_token
from broker.tokens.token_file import find_unfitness
from broker.tokens.token_report import lines
from tests.support.fakes import AUDIENCE, EPOCH, make_jwt, make_token
from tests.support.issuer_tokens import AKS, TOKENS, IssuedToken, svid_claims_without_issuer

if TYPE_CHECKING:
    from broker.core.model import BoundToken

by_name = pytest.mark.parametrize("issued", TOKENS, ids=lambda one: one.name)
IS_POD = {"gke", "aks"}


def read(issued: IssuedToken, **changes: object) -> BoundToken:
    claims: dict[str, Any] = {"kubernetes.io": None, **issued.claims(EPOCH), **changes}
    return parse_token(make_jwt(issued_at=EPOCH, **claims), origin="/token")


@by_name
def test_session_name_is_made_of_the_claims(issued: IssuedToken) -> None:
    token = read(issued)
    assert session_name_for(token.claims) == issued.session
    assert session_name_for(read(issued, jti="another", iat=1, exp=2_000_000_000).claims) == issued.session


@by_name
def test_good_token_is_shown_without_a_word_of_a_kubelet(issued: IssuedToken) -> None:
    token = read(issued)
    assert find_unfitness(token, audience=AUDIENCE, now=EPOCH, origin="/token") is None
    shown = dict(lines(token, None, EPOCH, origin="/token"))
    assert shown["session"] == issued.session
    assert ("rotation" in shown) is (issued.name in IS_POD)
    assert shown["verdict"] == "can be sent to STS"


@by_name
def test_expired_token_names_its_issuer_and_who_renews_it(issued: IssuedToken) -> None:
    fault = find_unfitness(read(issued), audience=AUDIENCE, now=EPOCH + timedelta(hours=2), origin="/token")
    assert isinstance(fault, TokenExpired)
    assert ("kubelet" in fault.remedy) is (issued.name in IS_POD)
    if issued.name not in IS_POD:
        assert f"The token of {issued.issuer} in /token expired at " in fault.message
        assert "docs/other-issuers.md" in fault.remedy


@by_name
def test_other_audience_says_where_this_issuer_sets_it(issued: IssuedToken) -> None:
    fault = find_unfitness(read(issued), audience="vault", now=EPOCH, origin="/token")
    assert isinstance(fault, TokenAudienceMismatch)
    assert ("serviceAccountToken" in fault.remedy) is (issued.name in IS_POD)
    assert "vault" in fault.remedy


def test_svid_without_an_issuer_is_refused_with_the_setting_of_spire() -> None:
    claims: dict[str, Any] = {"kubernetes.io": None, "iss": None, **svid_claims_without_issuer(EPOCH)}
    with pytest.raises(TokenMalformed) as caught:
        parse_token(make_jwt(**claims), origin="/token")
    assert caught.value.message == "The token in /token has no iss claim; STS requires iss, sub, aud and exp."
    assert "Set jwt_issuer of the SPIRE server to the https:// URL" in caught.value.remedy


@pytest.mark.parametrize("absent", [("iss",), ("sub",), ("exp",), ("iss", "sub")])
def test_absent_claims_are_all_named(absent: tuple[str, ...]) -> None:
    changes: dict[str, Any] = dict.fromkeys(absent)
    with pytest.raises(TokenMalformed, match=f"has no {' and no '.join(absent)} claim") as caught:
        parse_token(make_jwt(**changes), origin="/token")
    assert "SPIRE" not in caught.value.remedy


@pytest.mark.parametrize("value", [None, [], {}, 1.5])
def test_claim_of_another_type_names_nothing(value: object) -> None:
    token = read(TOKENS[0], repository=value)
    assert token.claims.repository == ""
    assert find_kind(token.claims) is IssuerKind.OTHER


def test_numbers_are_names_too() -> None:
    assert read(TOKENS[0], run_id=7).claims.run_id == "7"


def test_trailing_slash_of_aks_is_part_of_the_issuer() -> None:
    aks = next(one for one in TOKENS if one.name == "aks")
    assert read(aks).claims.issuer == AKS
    assert AKS.endswith("/")


@given(st.text(max_size=200), st.text(max_size=100), st.text(max_size=100))
def test_any_names_give_a_session_name_that_sts_accepts(path: str, run: str, subject: str) -> None:
    claims = make_token(namespace="", pod="", service_account="", subject=f"spiffe://{subject}").claims
    for named in (
        claims,
        replace(claims, repository=path, run_id=run),
        replace(claims, project_path=path, job_id=run),
    ):
        assert re.fullmatch(r"[\w+=,.@-]{2,64}", session_name_for(named), re.ASCII)


def test_long_repository_keeps_the_run() -> None:
    name = session_name_for(read(TOKENS[0], repository=f"{'o' * 39}/{'r' * 100}").claims)
    assert len(name) == 64
    assert name.endswith(f"{'r' * 10}.19283746501")


def test_svid_of_a_trust_domain_has_its_name() -> None:
    spire = next(one for one in TOKENS if one.name == "spire")
    assert session_name_for(read(spire, sub="spiffe://example.org").claims) == "example.org"
