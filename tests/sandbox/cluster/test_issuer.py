"""The simulated issuer's documents and tokens, checked with an OIDC library."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from broker.discovery.fetching import document_fetcher
from broker.net.http_messages import Answer
from broker.net.https_client import fetch
from broker.net.routes import Route
from sandbox import Availability, Issuer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with Issuer() as running:
        yield running


OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(url: str) -> dict[str, Any]:
    with OPENER.open(url, timeout=5) as response:
        document: dict[str, Any] = json.load(response)
    return document


def read_claims(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def test_discovery_names_the_issuer_and_its_keys(issuer: Issuer) -> None:
    document = get(issuer.url + "/.well-known/openid-configuration")
    assert document["issuer"] == "https://oidc.sandbox.example/cluster"
    assert document["jwks_uri"] == "https://oidc.sandbox.example/cluster/openid/v1/jwks"
    assert "RS256" in document["id_token_signing_alg_values_supported"]


@pytest.mark.parametrize("accept", ["application/jwk-set+json", "*/*", "application/json, */*;q=0.5", None])
def test_key_document_is_sent_to_a_client_that_accepts_its_media_type(issuer: Issuer, accept: str | None) -> None:
    headers = {} if accept is None else {"Accept": accept}
    with OPENER.open(urllib.request.Request(issuer.jwks_url, headers=headers), timeout=5) as response:
        assert response.headers["Content-Type"] == "application/jwk-set+json"
        assert json.load(response)["keys"]


@pytest.mark.parametrize("accept", ["application/json", "application/json;q=1, text/html", "application/*", ""])
def test_key_document_is_406_for_a_client_that_accepts_only_other_types(issuer: Issuer, accept: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="406") as caught:
        OPENER.open(urllib.request.Request(issuer.jwks_url, headers={"Accept": accept}), timeout=5)
    assert caught.value.read() == b"406: Not Acceptable\n\nAvailable representations: application/jwk-set+json"
    caught.value.close()


def test_discovery_document_is_406_for_a_client_that_accepts_keys_only(issuer: Issuer) -> None:
    url = issuer.url + "/.well-known/openid-configuration"
    with pytest.raises(urllib.error.HTTPError, match="406") as caught:
        OPENER.open(urllib.request.Request(url, headers={"Accept": "application/jwk-set+json"}), timeout=5)
    caught.value.close()


@pytest.mark.parametrize("kind", ["discovery", "jwks"])
def test_documents_are_sent_to_the_check_and_to_the_doctor(issuer: Issuer, kind: str) -> None:
    """Both fetch them with the headers of `broker.discovery`, from an issuer that answers as an API server does."""
    url = issuer.jwks_url if kind == "jwks" else issuer.url + "/.well-known/openid-configuration"
    answer = document_fetcher(fetch, Route(allows_http=True))(kind, url)
    assert isinstance(answer, Answer)
    assert answer.status == 200


@pytest.mark.parametrize("accept", ["application/json", "*/*"])
def test_discovery_document_is_json(issuer: Issuer, accept: str) -> None:
    url = issuer.url + "/.well-known/openid-configuration"
    with OPENER.open(urllib.request.Request(url, headers={"Accept": accept}), timeout=5) as response:
        assert response.headers["Content-Type"] == "application/json"


def test_unknown_path_is_404(issuer: Issuer) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404") as caught:
        get(issuer.url + "/elsewhere")
    caught.value.close()


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_token_verifies_against_the_published_key(issuer: Issuer, algorithm: str) -> None:
    token = issuer.mint(algorithm=algorithm)
    header = jwt.get_unverified_header(token)
    keys = {key["kid"]: key for key in get(issuer.jwks_url)["keys"]}
    assert header["alg"] == keys[header["kid"]]["alg"] == algorithm
    assert "d" not in keys[header["kid"]]
    verified = jwt.decode(
        token,
        jwt.PyJWK(keys[header["kid"]]),
        audience="sts.amazonaws.com",
        issuer=issuer.issuer,
        algorithms=[algorithm],
    )
    assert verified["sub"] == "system:serviceaccount:demo:app"


def test_token_has_the_claims_of_kubernetes(issuer: Issuer) -> None:
    issued = datetime(2026, 11, 23, 12, tzinfo=UTC)
    token = issuer.mint(
        namespace="team", service_account="worker", pod="worker-0", lifetime=timedelta(minutes=10), issued_at=issued
    )
    claims = read_claims(token)
    assert set(claims) == {"aud", "exp", "iat", "iss", "jti", "kubernetes.io", "nbf", "sub"}
    assert claims["aud"] == ["sts.amazonaws.com"]
    assert (claims["iat"], claims["nbf"], claims["exp"]) == (1795435200, 1795435200, 1795435800)
    assert claims["sub"] == "system:serviceaccount:team:worker"
    bound = claims["kubernetes.io"]
    assert set(bound) == {"namespace", "node", "pod", "serviceaccount"}
    assert (bound["namespace"], bound["pod"]["name"], bound["serviceaccount"]["name"]) == ("team", "worker-0", "worker")
    assert set(bound["node"]) == set(bound["pod"]) == set(bound["serviceaccount"]) == {"name", "uid"}
    assert set(jwt.get_unverified_header(token)) == {"alg", "kid"}


def test_objects_keep_their_uid_and_each_token_has_its_own_id(issuer: Issuer) -> None:
    first, second = read_claims(issuer.mint()), read_claims(issuer.mint())
    assert first["kubernetes.io"] == second["kubernetes.io"]
    assert first["jti"] != second["jti"]


def test_overrides_replace_and_remove_claims(issuer: Issuer) -> None:
    claims = read_claims(issuer.mint(sub="somebody", nbf=None, azp="extra"))
    assert (claims["sub"], claims["azp"]) == ("somebody", "extra")
    assert "nbf" not in claims


def test_newest_key_signs_and_a_retired_key_is_no_longer_published(issuer: Issuer) -> None:
    old = jwt.get_unverified_header(issuer.mint())["kid"]
    new = issuer.add_key()
    assert jwt.get_unverified_header(issuer.mint())["kid"] == new
    assert {old, new} <= {key["kid"] for key in get(issuer.jwks_url)["keys"]}
    issuer.retire_key(old)
    assert old not in issuer.key_ids
    assert old not in {key["kid"] for key in get(issuer.jwks_url)["keys"]}


def test_other_algorithm_is_an_error(issuer: Issuer) -> None:
    with pytest.raises(ValueError, match="RS256 or ES256, not HS256"):
        issuer.mint(algorithm="HS256")


def test_stopping_does_not_wait_for_a_slow_document() -> None:
    with Issuer() as slow:
        slow.set_availability(Availability.SLOW, delay=timedelta(minutes=10))
        with pytest.raises(TimeoutError):
            OPENER.open(slow.jwks_url, timeout=0.05)
