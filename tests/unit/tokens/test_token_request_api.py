"""One TokenRequest call: what it sends, to which server, and what each answer means."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import traceback
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

import pytest
from msgspec.structs import replace

from broker.core.errors import TokenError, TokenMalformed, TokenRefused, TokenUnavailable
from broker.core.model import TokenRequestSpec
from broker.tokens.token_request_api import EXPIRATION_SECONDS, ask
from sandbox.aws import faults
from sandbox.aws.calls import fingerprint
from sandbox.cluster.api_server import ApiServer, CannedResponse
from sandbox.cluster.cluster_ca import ClusterCa
from sandbox.cluster.issuer import Issuer
from tests.support.fakes import AUDIENCE, make_jwt
from tests.support.relay import relay_connection

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BEGIN = "-----BEGIN CERTIFICATE-----"


class Relay:
    """Forwards one connection to a port of 127.0.0.1."""

    def __init__(self, listener: socket.socket, port: int) -> None:
        self._listener, self._port = listener, port
        self._thread = threading.Thread(target=self._lead, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(5)

    def _lead(self) -> None:
        here, _ = self._listener.accept()
        with here:
            relay_connection(here, self._port)


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with Issuer() as issuer:
        yield issuer


@pytest.fixture
def api(issuer: Issuer) -> Iterator[ApiServer]:
    with ApiServer(issuer) as api:
        yield api


@pytest.fixture
def directory(api: ApiServer, tmp_path: Path) -> Path:
    """Mount the service account."""
    directory = tmp_path / "serviceaccount"
    api.mount(directory)
    return directory


@pytest.fixture
def spec(api: ApiServer, directory: Path) -> TokenRequestSpec:
    return TokenRequestSpec(host="127.0.0.1", port=api.port, directory=str(directory))


def fault_of(spec: TokenRequestSpec, kind: type[TokenError] = TokenUnavailable) -> TokenError:
    """Return what a call raises, after checking that no text of it has a token."""
    with pytest.raises(TokenError) as caught:
        ask(spec, AUDIENCE)
    assert type(caught.value) is kind
    assert "eyJ" not in "".join(traceback.format_exception(caught.value))
    assert "\n" not in str(caught.value)
    return caught.value


def test_request_names_this_pod_this_audience_and_an_hour(api: ApiServer, spec: TokenRequestSpec) -> None:
    token = ask(spec, "some.audience")
    (call,) = api.calls
    assert (call.method, call.path) == ("POST", "/api/v1/namespaces/demo/serviceaccounts/app/token")
    assert call.body == {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {
            "audiences": ["some.audience"],
            "expirationSeconds": EXPIRATION_SECONDS,
            "boundObjectRef": {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": "app-7d9c5b6f8-x2x7k",
                "uid": api.cluster.pods["demo", "app-7d9c5b6f8-x2x7k"],
            },
        },
    }
    assert call.issued == token.fingerprint
    assert token.claims.audiences == ("some.audience",)
    assert token.claims.pod == "app-7d9c5b6f8-x2x7k"
    assert token.claims.issued_at is not None
    assert token.claims.expires_at - token.claims.issued_at == timedelta(seconds=3600)


def test_own_token_is_read_at_each_call(api: ApiServer, spec: TokenRequestSpec, directory: Path) -> None:
    first = api.mount(directory)
    ask(spec, AUDIENCE)
    second = api.mount(directory)
    ask(spec, AUDIENCE)
    assert [call.bearer for call in api.calls] == [fingerprint(first), fingerprint(second)]
    assert first != second


def test_ca_is_read_at_each_call_and_no_other_is_trusted(
    api: ApiServer, spec: TokenRequestSpec, directory: Path
) -> None:
    ask(spec, AUDIENCE)
    api.change_ca()
    refused = fault_of(spec)
    assert "is not this cluster's Kubernetes API" in refused.message
    assert f"{directory}/ca.crt" in refused.remedy
    assert len(api.calls) == 1, "nothing is sent to a server that is not verified"
    api.mount(directory)
    ask(spec, AUDIENCE)


def test_system_cas_are_not_trusted_for_the_api(
    api: ApiServer, spec: TokenRequestSpec, directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = tmp_path / "usual.pem"
    usual.write_bytes(api.ca.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(usual))
    api.mount(directory, ca=ClusterCa())
    assert "is not this cluster's Kubernetes API" in fault_of(spec).message
    assert api.calls == []


def test_certificate_for_another_host_is_refused(api: ApiServer, spec: TokenRequestSpec) -> None:
    api.certify("kubernetes.default.svc", "10.0.0.1")
    refused = fault_of(spec)
    assert "not valid for '127.0.0.1'." in refused.message
    assert "KUBERNETES_SERVICE_HOST" in refused.remedy
    assert api.calls == []


def test_proxy_is_never_used(spec: TokenRequestSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert ask(spec, AUDIENCE)


def test_redirect_is_not_followed(api: ApiServer, spec: TokenRequestSpec) -> None:
    api.always(CannedResponse(status=307, body=b"", location=f"https://127.0.0.1:{api.port}/elsewhere"))
    assert "answered 307." in fault_of(spec).message
    assert len(api.calls) == 1


def test_missing_role_is_refused_with_the_commands_that_create_it(api: ApiServer, spec: TokenRequestSpec) -> None:
    api.cluster.allowed.clear()
    refused = fault_of(spec, TokenRefused)
    assert refused.message == (
        'The Kubernetes API answered 403: serviceaccounts "app" is forbidden: User "system:serviceaccount:demo:app" '
        'cannot create resource "serviceaccounts/token" in API group "" in the namespace "demo".'
    )
    assert refused.remedy.endswith(
        "kubectl -n demo create role sts-federation-broker --verb=create --resource=serviceaccounts/token "
        "--resource-name=app && kubectl -n demo create rolebinding sts-federation-broker --role=sts-federation-broker "
        "--serviceaccount=demo:app"
    )


def test_rejected_own_token_names_a_deleted_pod_and_an_expired_token(
    api: ApiServer, spec: TokenRequestSpec, directory: Path
) -> None:
    """What a real API answers if the pod, its service account or their UIDs are gone."""
    api.mount(directory, token=api.own_token(audience="another"))
    refused = fault_of(spec)
    assert refused.message == "The Kubernetes API answered 401: Unauthorized."
    assert refused.remedy == (
        "The API rejects the pod's own service account token. Pod demo/app-7d9c5b6f8-x2x7k or service account app was "
        "deleted or recreated: make a new pod. Or the token has expired: check the kubelet's log, because the kubelet "
        "should have rotated it."
    )


@pytest.mark.parametrize("status", [404, 409])
def test_missing_or_conflicting_object_is_refused(api: ApiServer, spec: TokenRequestSpec, status: int) -> None:
    api.always(CannedResponse(status=status, body=b'{"message": "pods \\"app\\" not found"}'))
    refused = fault_of(spec, TokenRefused)
    assert f'answered {status}: pods "app" not found.' in refused.message
    assert "make a new pod" in refused.remedy


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "answered 503."),
        (b"<html>", "answered 503."),
        (b"[1]", "answered 503."),
        (b"\xff", "answered 503."),
        (b"[" * 20_000, "answered 503."),
        (b'{"message": "etcd\\u001b[31m is down."}', "answered 503: etcd?[31m is down."),
        (b'{"message": "' + b"x" * 1000 + b'"}', f"answered 503: {'x' * 300}."),
        (f'{{"message": "{make_jwt()} is bad"}}'.encode(), "answered 503: <redacted> is bad."),
    ],
)
def test_failing_api_is_quoted_briefly_and_without_tokens(
    api: ApiServer, spec: TokenRequestSpec, body: bytes, message: str
) -> None:
    api.always(CannedResponse(status=503, body=body))
    assert fault_of(spec).message.endswith(message)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"status": null}',
        b'{"status": {"token": null}}',
        b'{"status": {"token": 7}}',
        b'{"status": {"token": "\\u00e9"}}',
        b'{"status": {"token": "' + b"x" * 20_001 + b'"}}',
        b'{"status": {"token": "' + b"x" * 100_000 + b'"}}',
        b"\xff\xfe",
        b"[" * 60_000,
    ],
)
def test_answer_without_a_token_is_malformed(api: ApiServer, spec: TokenRequestSpec, answer: bytes) -> None:
    api.always(CannedResponse(status=201, body=answer))
    assert fault_of(spec, TokenMalformed).message == "The Kubernetes API's answer has no token."


@pytest.mark.parametrize(
    ("token", "found"),
    [
        ("garbage", "is not a JWT"),
        (make_jwt(exp=None), "has no exp claim; STS requires iss, sub, aud and exp"),
        (make_jwt(audience="other\x1b"), "a token with audience other?; expected sts.amazonaws.com"),
        (make_jwt(audience=[]), "a token with audience none"),
        (make_jwt(iat=None), "a token without a lifetime"),
        (make_jwt(lifetime=timedelta(0)), "a token without a lifetime"),
    ],
)
def test_unusable_token_is_malformed(api: ApiServer, spec: TokenRequestSpec, token: str, found: str) -> None:
    api.always(CannedResponse(status=201, body=json.dumps({"status": {"token": token}}).encode()))
    fault = fault_of(spec, TokenMalformed)
    assert found in fault.message
    assert "AWS_WEB_IDENTITY_TOKEN_FILE" not in str(fault)


def test_api_that_is_down_is_unavailable(api: ApiServer, spec: TokenRequestSpec) -> None:
    api.stop()
    down = fault_of(spec)
    assert down.message == f"No answer from the Kubernetes API at 127.0.0.1:{api.port}: Connection refused."
    assert "NetworkPolicy" in down.remedy


def test_reset_connection_is_unavailable(api: ApiServer, spec: TokenRequestSpec) -> None:
    api.always(faults.Reset())
    assert "No answer from the Kubernetes API" in fault_of(spec).message


def test_answer_in_drips_is_put_together(api: ApiServer, spec: TokenRequestSpec) -> None:
    api.always(faults.Drip(pause_seconds=0.001, piece_bytes=100))
    assert ask(spec, AUDIENCE).fingerprint == api.calls[0].issued


def test_hanging_api_is_unavailable_at_the_limit(api: ApiServer, spec: TokenRequestSpec) -> None:
    api.always(faults.Hang())
    assert fault_of(replace(spec, timeout_seconds=0.2)).message.endswith(": no complete answer within 0.2 s.")


def test_dripping_api_is_cut_off_at_the_limit(api: ApiServer, spec: TokenRequestSpec) -> None:
    api.always(faults.Drip(pause_seconds=0.05, piece_bytes=1))
    began = time.monotonic()
    assert fault_of(replace(spec, timeout_seconds=0.5)).message.endswith(": no complete answer within 0.5 s.")
    assert time.monotonic() - began < 3


def test_server_without_tls_is_unavailable(spec: TokenRequestSpec) -> None:
    with Issuer() as plain:
        port = int(plain.url.rpartition(":")[2])
        fault = fault_of(TokenRequestSpec(host=spec.host, port=port, directory=spec.directory))
    assert f"No answer from the Kubernetes API at 127.0.0.1:{port}: " in fault.message


@pytest.mark.parametrize(("host", "where"), [("::1", "[::1]:"), ("a..b", "a..b:"), ("x" * 64, "x:")])
def test_address_that_leads_nowhere_is_named(spec: TokenRequestSpec, host: str, where: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        fault = fault_of(TokenRequestSpec(host=host, port=unused.getsockname()[1], directory=spec.directory))
    assert where in fault.message


def test_ipv6_address_of_the_api_is_used(api: ApiServer, spec: TokenRequestSpec) -> None:
    """A relay at ::1 forwards to the API, whose certificate must name that address."""
    if not socket.has_ipv6:
        pytest.skip("SKIPPED: no IPv6 here")
    api.certify("::1")
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError as error:
        pytest.skip(f"SKIPPED: no IPv6 loopback here ({error.strerror})")
    with listener, Relay(listener, api.port):
        port = int(listener.getsockname()[1])
        assert ask(TokenRequestSpec(host="::1", port=port, directory=spec.directory), AUDIENCE)


def naming(names: dict[str, Any] | None, **claims: Any) -> str:  # noqa: ANN401 - any claim
    """Return a token with these names in its claim `kubernetes.io`."""
    more: dict[str, Any] = {"kubernetes.io": names, **claims}
    return make_jwt(**more)


def legacy() -> str:
    """Return the token of a Secret of type kubernetes.io/service-account-token: no expiry, no audience, no pod."""
    return naming(None, aud=None, exp=None, iat=None, **{"kubernetes.io/serviceaccount/namespace": "demo"})


@pytest.mark.parametrize(
    "token",
    [
        legacy(),
        naming({"namespace": "demo", "serviceaccount": {"name": "app"}}),
        naming({"namespace": "demo", "pod": {"name": "app", "uid": "1"}}),
        make_jwt(),
        "",
        "\xe9",
        "garbage",
    ],
    ids=["of a Secret", "no pod", "no service account", "no uid", "empty", "no ASCII", "no JWT"],
)
def test_own_token_without_a_pod_is_a_clear_fault(
    api: ApiServer, spec: TokenRequestSpec, directory: Path, token: str
) -> None:
    api.mount(directory)
    (directory / "..data" / "token").write_text(token)
    fault = fault_of(spec)
    assert fault.message.startswith(f"The service account token {directory}/token names no pod")
    assert "A token from a Secret does not name a pod" in fault.remedy
    assert api.calls == []


@pytest.mark.parametrize("split", ["\r\n", "\n ", "\0", " ", "\x1b[31m"])
def test_own_token_that_splits_the_header_is_not_sent(
    api: ApiServer, spec: TokenRequestSpec, directory: Path, split: str
) -> None:
    text = api.own_token()
    (directory / "..data" / "token").write_text(f"{text[:10]}{split}{text[10:]}")
    assert "names no pod" in fault_of(spec).message
    assert api.calls == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("token", "Cannot read the service account token {}: No such file or directory."),
        ("ca.crt", "Cannot use the cluster's CA in {}: No such file or directory."),
    ],
)
def test_missing_service_account_is_a_clear_fault(
    spec: TokenRequestSpec, directory: Path, name: str, message: str
) -> None:
    (directory / name).unlink()
    fault = fault_of(spec)
    assert fault.message == message.format(directory / name)
    assert "automountServiceAccountToken: true" in fault.remedy


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("token", "Cannot read the service account token {}: it is a FIFO; expected a regular file."),
        ("ca.crt", "Cannot use the cluster's CA in {}: it is a FIFO; expected a regular file."),
    ],
)
def test_service_account_file_that_is_a_fifo_does_not_block(
    spec: TokenRequestSpec, directory: Path, name: str, message: str
) -> None:
    (directory / name).unlink()
    os.mkfifo(directory / name)
    assert fault_of(spec).message == message.format(directory / name)


def test_service_account_of_another_user_names_fsgroup(spec: TokenRequestSpec, directory: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read every file")
    (directory / "..data" / "token").chmod(0)
    fault = fault_of(spec)
    assert fault.message.endswith("token: Permission denied.")
    assert "fsGroup" in fault.remedy


@pytest.mark.parametrize("content", ["", "nothing", f"{BEGIN}\nAAAA\n-----END CERTIFICATE-----\n"])
def test_unusable_ca_is_a_clear_fault(spec: TokenRequestSpec, directory: Path, content: str) -> None:
    (directory / "..data" / "ca.crt").write_text(content)
    assert fault_of(spec).message == f"Cannot use the cluster's CA in {directory}/ca.crt: it holds no CA certificates."
