"""The Kubernetes API in a box: whom it believes, and what it gives to whom."""

from __future__ import annotations

import http.client
import json
import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from sandbox import Issuer
from sandbox.aws import faults
from sandbox.aws.calls import fingerprint
from sandbox.cluster.api_server import ApiServer, Says
from sandbox.cluster.issuer import uid_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATH = "/api/v1/namespaces/demo/serviceaccounts/app/token"
POD = "app-7d9c5b6f8-x2x7k"
UID = uid_of("pod", "demo", POD)
SPEC = {
    "audiences": ["sts.amazonaws.com"],
    "expirationSeconds": 600,
    "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": POD, "uid": UID},
}


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with Issuer() as issuer:
        yield issuer


@pytest.fixture
def api(issuer: Issuer) -> Iterator[ApiServer]:
    with ApiServer(issuer) as api:
        yield api


def post(  # noqa: PLR0913 - each is a part of a request
    api: ApiServer,
    spec: Any = None,  # noqa: ANN401 - whatever JSON has
    *,
    path: str = PATH,
    method: str = "POST",
    token: str = "",
    scheme: str = "Bearer",
    content_type: str = "application/json",
    body: bytes = b"",
    **document: Any,  # noqa: ANN401
) -> tuple[int, dict[str, Any]]:
    """Ask; everything is good unless said otherwise."""
    whole = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": SPEC if spec is None else spec,
        **document,
    }
    context = ssl.create_default_context(cadata=api.ca.pem.decode())
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    connection = http.client.HTTPSConnection("127.0.0.1", api.port, context=context, timeout=10)
    headers = {"Authorization": f"{scheme} {token or api.own_token()}", "Content-Type": content_type}
    try:
        connection.request(method, path, body=body or json.dumps(whole).encode(), headers=headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read() or b"{}")
    finally:
        connection.close()


def test_token_is_bound_to_the_pod_for_the_audience_and_life_asked_for(api: ApiServer, issuer: Issuer) -> None:
    status, document = post(api)
    token = document["status"]["token"]
    key = issuer.public_key(jwt.get_unverified_header(token)["kid"])
    assert key is not None
    claims = jwt.decode(token, key, ["RS256"], audience="sts.amazonaws.com")
    assert status == 201
    assert claims["kubernetes.io"]["pod"] == {"name": POD, "uid": UID}
    assert claims["exp"] - claims["iat"] == 600
    told = datetime.strptime(document["status"]["expirationTimestamp"], "%Y-%m-%dT%H:%M:%S%z")
    assert told == datetime.fromtimestamp(claims["exp"], UTC)
    (call,) = api.calls
    assert (call.status, call.given) == (201, fingerprint(token))


def test_cluster_may_give_another_life_than_was_asked_for(api: ApiServer) -> None:
    api.cluster.lifetime = timedelta(seconds=5)
    claims = jwt.decode(post(api)[1]["status"]["token"], options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 5


@pytest.mark.parametrize(
    "claims",
    [{"audience": "sts.amazonaws.com"}, {"lifetime": timedelta(seconds=-1)}, {"iss": "https://other.example"}],
)
def test_bearer_token_that_the_api_would_not_believe_is_401(api: ApiServer, claims: dict[str, Any]) -> None:
    assert post(api, token=api.own_token(**claims))[0] == 401


def test_token_of_a_key_that_is_gone_another_scheme_and_no_token_are_401(api: ApiServer) -> None:
    with Issuer(issuer=api.cluster.issuer.issuer) as other:
        assert post(api, token=_of(other, api).own_token())[0] == 401
    assert post(api, scheme="Basic")[0] == 401
    status, document = post(api, token="none")
    assert (status, document["message"], document["reason"]) == (401, "Unauthorized", "Unauthorized")


def _of(issuer: Issuer, api: ApiServer) -> ApiServer:
    """Return an API that is not served, whose tokens another issuer signs."""
    other = ApiServer(issuer)
    other.stop()
    assert other.port != api.port
    return other


def test_without_a_role_and_for_another_account_it_is_403_in_the_apis_words(api: ApiServer) -> None:
    assert post(api, path=PATH.replace("/app/", "/other/"))[0] == 403
    assert post(api, path=PATH.replace("/demo/", "/other/"))[0] == 403
    api.cluster.allowed.clear()
    status, document = post(api)
    assert status == document["code"] == 403
    assert document["message"].startswith(
        'serviceaccounts "app" is forbidden: User "system:serviceaccount:demo:app" cannot create resource '
    )


@pytest.mark.parametrize(
    ("request_parts", "status"),
    [
        ({"path": "/api/v1/pods"}, 404),
        ({"method": "PUT"}, 404),
        ({"body": b"{"}, 400),
        ({"apiVersion": "v1"}, 400),
        ({"kind": "TokenReview"}, 400),
        ({"content_type": "text/plain"}, 415),
        ({"spec": {**SPEC, "audiences": []}}, 422),
        ({"spec": {**SPEC, "expirationSeconds": 599}}, 422),
        ({"spec": {**SPEC, "boundObjectRef": {"kind": "Secret", "apiVersion": "v1"}}}, 422),
        ({"spec": {**SPEC, "boundObjectRef": {**SPEC["boundObjectRef"], "name": "gone"}}}, 404),  # type: ignore[dict-item]
        ({"spec": {**SPEC, "boundObjectRef": {**SPEC["boundObjectRef"], "uid": "other"}}}, 409),  # type: ignore[dict-item]
    ],
)
def test_request_that_is_wrong_gets_no_token(api: ApiServer, request_parts: dict[str, Any], status: int) -> None:
    found, document = post(api, **request_parts)
    assert found == status
    assert "status" in document
    assert document["status"] == "Failure"
    assert api.calls[-1].given == ""


def test_faults_come_once_each_and_then_always(api: ApiServer) -> None:
    api.script(Says(status=500, body=b"{}"), None, faults.Reset())
    api.always(Says(status=302, body=b"", location="/x"))
    assert post(api)[0] == 500
    assert post(api)[0] == 201
    with pytest.raises(OSError, match=r"(?i)reset|closed|aborted|EOF"):
        post(api)
    assert post(api)[0] == 302
    api.always(faults.Drip(pause_seconds=0, piece_bytes=7))
    assert post(api)[0] == 201
    assert [call.status for call in api.calls] == [500, 201, 0, 302, 201]


def test_new_ca_is_not_the_old_one_and_a_certificate_names_its_hosts(api: ApiServer) -> None:
    before = api.ca
    api.change_ca()
    assert post(api)[0] == 201
    now, api.ca = api.ca, before
    with pytest.raises(ssl.SSLCertVerificationError):
        post(api)
    api.ca = now
    api.certify("kubernetes.default.svc")
    with pytest.raises(ssl.SSLCertVerificationError, match=r"127\.0\.0\.1"):
        post(api)


def test_api_that_was_down_is_back_at_the_same_port(api: ApiServer) -> None:
    api.stop()
    with pytest.raises(ConnectionRefusedError):
        post(api)
    api.restart()
    assert post(api)[0] == 201


def test_service_account_is_mounted_as_the_kubelet_does(api: ApiServer, tmp_path: Path) -> None:
    first = api.mount(tmp_path)
    data = (tmp_path / "..data").readlink()
    assert (tmp_path / "token").read_text() == first
    assert (tmp_path / "ca.crt").read_bytes() == api.ca.pem
    assert (tmp_path / "namespace").read_text() == "demo"
    second = api.mount(tmp_path)
    assert (tmp_path / "token").read_text() == second != first
    assert (tmp_path / "..data").readlink() != data
    assert not (tmp_path / data).exists()
    assert post(api, token=second)[0] == 201
