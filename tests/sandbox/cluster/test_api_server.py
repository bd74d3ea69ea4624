"""The simulated Kubernetes API: which bearer tokens it accepts, and which TokenRequests it grants."""

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
from sandbox.cluster.api_server import ApiServer, CannedResponse
from sandbox.cluster.issuer import make_uid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

UNAUTHORIZED = {
    "kind": "Status",
    "apiVersion": "v1",
    "metadata": {},
    "status": "Failure",
    "message": "Unauthorized",
    "reason": "Unauthorized",
    "code": 401,
}
PATH = "/api/v1/namespaces/demo/serviceaccounts/app/token"
POD = "app-7d9c5b6f8-x2x7k"
UID = make_uid("pod", "demo", POD)
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
    """Send a TokenRequest, valid unless an argument changes it. Return status and body."""
    valid = {
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
        connection.request(method, path, body=body or json.dumps(valid).encode(), headers=headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read() or b"{}")
    finally:
        connection.close()


def test_token_has_the_requested_pod_audience_and_lifetime(api: ApiServer, issuer: Issuer) -> None:
    status, document = post(api)
    token = document["status"]["token"]
    key = issuer.public_key(jwt.get_unverified_header(token)["kid"])
    assert key is not None
    claims = jwt.decode(token, key, ["RS256"], audience="sts.amazonaws.com")
    assert status == 201
    assert claims["kubernetes.io"]["pod"] == {"name": POD, "uid": UID}
    assert claims["exp"] - claims["iat"] == 600
    expires_at = datetime.strptime(document["status"]["expirationTimestamp"], "%Y-%m-%dT%H:%M:%S%z")
    assert expires_at == datetime.fromtimestamp(claims["exp"], UTC)
    (call,) = api.calls
    assert (call.status, call.issued) == (201, fingerprint(token))
    assert api.issued_tokens == [token]


def test_lifetime_of_the_cluster_replaces_the_requested_one(api: ApiServer) -> None:
    api.cluster.lifetime = timedelta(seconds=5)
    claims = jwt.decode(post(api)[1]["status"]["token"], options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 5


@pytest.mark.parametrize(
    "claims",
    [{"audience": "sts.amazonaws.com"}, {"lifetime": timedelta(seconds=-1)}, {"iss": "https://other.example"}],
)
def test_bearer_token_with_wrong_claims_is_401(api: ApiServer, claims: dict[str, Any]) -> None:
    assert post(api, token=api.own_token(**claims))[0] == 401


def test_unknown_key_other_scheme_and_no_token_are_401(api: ApiServer) -> None:
    with Issuer(issuer=api.cluster.issuer.issuer) as other:
        assert post(api, token=other.mint(audience="https://kubernetes.default.svc"))[0] == 401
    assert post(api, scheme="Basic")[0] == 401
    assert post(api, token="none") == (401, UNAUTHORIZED)


def delete_pod(api: ApiServer) -> None:
    api.cluster.pods.clear()


def recreate_pod(api: ApiServer) -> None:
    api.cluster.pods["demo", POD] = "another-uid"


def delete_service_account(api: ApiServer) -> None:
    api.cluster.service_accounts.clear()


def recreate_service_account(api: ApiServer) -> None:
    api.cluster.service_accounts["demo", "app"] = "another-uid"


@pytest.mark.parametrize("change", [delete_pod, recreate_pod, delete_service_account, recreate_service_account])
def test_bearer_token_of_a_deleted_or_recreated_object_is_401(
    api: ApiServer, change: Callable[[ApiServer], None]
) -> None:
    token = api.own_token()
    change(api)
    assert post(api, token=token) == (401, UNAUTHORIZED)


def test_request_without_a_role_or_for_another_account_is_403_with_the_apis_message(api: ApiServer) -> None:
    assert post(api, path=PATH.replace("/app/", "/other/"))[0] == 403
    assert post(api, path=PATH.replace("/demo/", "/other/"))[0] == 403
    api.cluster.allowed.clear()
    status, document = post(api)
    assert status == document["code"] == 403
    assert document["message"] == (
        'serviceaccounts "app" is forbidden: User "system:serviceaccount:demo:app" cannot create resource '
        '"serviceaccounts/token" in API group "" in the namespace "demo"'
    )
    assert document["reason"] == "Forbidden"


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
def test_invalid_request_gets_no_token(api: ApiServer, request_parts: dict[str, Any], status: int) -> None:
    found, document = post(api, **request_parts)
    assert found == status
    assert "status" in document
    assert document["status"] == "Failure"
    assert api.calls[-1].issued == ""


def test_scripted_faults_come_once_each_and_before_the_permanent_one(api: ApiServer) -> None:
    api.script(CannedResponse(status=500, body=b"{}"), None, faults.Reset())
    api.always(CannedResponse(status=302, body=b"", location="/x"))
    assert post(api)[0] == 500
    assert post(api)[0] == 201
    with pytest.raises(OSError, match=r"(?i)reset|closed|aborted|EOF"):
        post(api)
    assert post(api)[0] == 302
    api.always(faults.Drip(pause_seconds=0, piece_bytes=7))
    assert post(api)[0] == 201
    assert [call.status for call in api.calls] == [500, 201, 0, 302, 201]


def test_new_ca_differs_from_the_old_one_and_a_certificate_names_its_hosts(api: ApiServer) -> None:
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


def test_restarted_api_has_the_same_port(api: ApiServer) -> None:
    api.stop()
    with pytest.raises(ConnectionRefusedError):
        post(api)
    api.restart()
    assert post(api)[0] == 201


def test_service_account_volume_is_written_as_the_kubelet_does(api: ApiServer, tmp_path: Path) -> None:
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
