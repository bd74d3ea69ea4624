"""One TokenRequest call: asks the Kubernetes API for a bound token, with the pod's own service account token.

Only the cluster's CA is trusted, and nothing is sent before the server is verified. No proxy is used, because the API's
address is inside the cluster. broker.net bounds the time and the size of the answer, and follows no redirect. The
service account token and the CA are read for each call, because both are rotated.
Raises only TokenError, and no message quotes a token. docs/adr/0013-token-request.md
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import quote

from broker.core.errors import TokenMalformed, TokenRefused, TokenUnavailable
from broker.core.model import printable, redacted
from broker.net.http_messages import Failure, NoAnswer, Request
from broker.net.https_client import fetch
from broker.net.routes import Route
from broker.net.tls import verification_context
from broker.tokens.decoding import parse_token
from broker.tokens.token_file import FSGROUP_REMEDY, MAXIMUM_TOKEN_LENGTH, read_content

if TYPE_CHECKING:
    from broker.core.model import BoundToken, TokenRequestSpec, UnverifiedClaims
    from broker.net.http_messages import Answer

EXPIRATION_SECONDS = 3600
"""The kubelet's default. The API may grant another lifetime, and accepts nothing under 600."""
_MAXIMUM_ANSWER_BYTES = 65_536
_MAXIMUM_QUOTED = 300
_ORIGIN = "the Kubernetes API's answer"
_MOUNT_REMEDY = (
    "Let Kubernetes mount the service account into the broker: set automountServiceAccountToken: true, and mount no "
    "volume of your own there without token and ca.crt."
)
_CHECK_PATH = "Check the API server's log, and what is between the pod and the API (NetworkPolicy, firewall, mesh)."


def ask(spec: TokenRequestSpec, audience: str) -> BoundToken:
    """Return a new token for this audience, bound to this pod.

    Raises TokenUnavailable, TokenRefused or TokenMalformed.
    """
    own = _read_own_token(spec)
    answer = _call(spec, own, audience)
    if answer.status not in {HTTPStatus.OK, HTTPStatus.CREATED}:
        _refuse(answer, own.claims)
    return _read_token(answer.body, audience)


def _read_own_token(spec: TokenRequestSpec) -> BoundToken:
    """Return the pod's own token, whose claims name the pod and the service account."""
    path = f"{spec.directory}/token"
    try:
        text = read_content(path).decode("ascii").strip()
    except OSError as error:
        remedy = FSGROUP_REMEDY if isinstance(error, PermissionError) else _MOUNT_REMEDY
        raise TokenUnavailable(f"Cannot read the service account token {path}: {error.strerror}.", remedy) from None
    except UnicodeDecodeError:
        text = ""
    try:
        token = parse_token(text, origin=path)
    except TokenMalformed:
        token = None
    if token is None or not _names_pod(token.claims):
        raise TokenUnavailable(
            f"The service account token {path} names no pod, so no token can be bound to the pod.",
            "Use the token that Kubernetes mounts into pods. A token from a Secret does not name a pod.",
        )
    return token


def _names_pod(claims: UnverifiedClaims) -> bool:
    return bool(claims.namespace and claims.service_account and claims.pod and claims.pod_uid)


def _call(spec: TokenRequestSpec, own: BoundToken, audience: str) -> Answer:
    """Return the API's answer."""
    where = f"{f'[{spec.host}]' if ':' in spec.host else spec.host}:{spec.port}"
    namespace, name = (quote(each, safe="") for each in (own.claims.namespace, own.claims.service_account))
    request = Request(
        url=f"https://{where}/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token",
        method="POST",
        headers={
            "Accept": "application/json",
            "Authorization": f"Bearer {own.raw.reveal()}",
            "Content-Type": "application/json",
        },
        body=_render_request(own.claims, audience),
        maximum_bytes=_MAXIMUM_ANSWER_BYTES,
    )
    route = Route(timeout_seconds=spec.timeout_seconds, ca_bundle=_find_ca(f"{spec.directory}/ca.crt"))
    answer = fetch(request, route)
    if isinstance(answer, NoAnswer):
        raise _explain(answer, spec, where)
    return answer


def _find_ca(path: str) -> str:
    """Return the path, if the cluster's CA can be read there. Looks twice, because the kubelet swaps the directory."""
    try:
        try:
            verification_context(path)
        except ValueError:
            verification_context(path)
    except ValueError as error:
        raise TokenUnavailable(f"Cannot use the cluster's CA in {path}: {error}.", _MOUNT_REMEDY) from None
    return path


def _explain(failure: NoAnswer, spec: TokenRequestSpec, where: str) -> TokenUnavailable:
    """Return the error for a call without an answer."""
    if failure.failure is Failure.CERTIFICATE:
        return TokenUnavailable(
            f"The server at {where} is not this cluster's Kubernetes API: {failure.found}.",
            f"Its certificate must be issued by the CA in {spec.directory}/ca.crt and name {spec.host} "
            "(KUBERNETES_SERVICE_HOST). Check what is between the pod and the API.",
        )
    return TokenUnavailable(
        f"No answer from the Kubernetes API at {where}: {failure.found}.",
        "Allow the pod to reach it (NetworkPolicy, firewall). KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT "
        "name its address.",
    )


def _render_request(pod: UnverifiedClaims, audience: str) -> bytes:
    document = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {
            "audiences": [audience],
            "expirationSeconds": EXPIRATION_SECONDS,
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": pod.pod, "uid": pod.pod_uid},
        },
    }
    return json.dumps(document).encode()


def _refuse(answer: Answer, pod: UnverifiedClaims) -> NoReturn:
    """Raise the error for an answer without a token."""
    found = f"The Kubernetes API answered {answer.status}{_quote_message(answer.body)}."
    if answer.status == HTTPStatus.FORBIDDEN:
        commands = role_commands(pod.namespace, pod.service_account)
        raise TokenRefused(found, f"Allow the service account to request tokens for itself: {commands}")
    if answer.status in {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}:
        # Only until the API server's cache of accepted tokens expires, after some seconds: then it answers 401.
        raise TokenRefused(
            found,
            f"Pod {pod.namespace}/{pod.pod} or service account {pod.service_account} was deleted or recreated: make a "
            "new pod.",
        )
    if answer.status == HTTPStatus.UNAUTHORIZED:
        raise TokenUnavailable(
            found,
            f"The API rejects the pod's own service account token. Pod {pod.namespace}/{pod.pod} or service account "
            f"{pod.service_account} was deleted or recreated: make a new pod. Or the token has expired: check the "
            "kubelet's log, because the kubelet should have rotated it.",
        )
    raise TokenUnavailable(found, _CHECK_PATH)


def role_commands(namespace: str, service_account: str) -> str:
    """Return the commands that create and bind the Role that a service account needs to request its tokens."""
    return (
        f"kubectl -n {namespace} create role sts-federation-broker --verb=create --resource=serviceaccounts/token "
        f"--resource-name={service_account} && kubectl -n {namespace} create rolebinding sts-federation-broker "
        f"--role=sts-federation-broker --serviceaccount={namespace}:{service_account}"
    )


def _quote_message(body: bytes) -> str:
    """Return the message of a Kubernetes Status, as the end of a sentence; "" if the body is not a Status."""
    try:
        message = json.loads(body)["message"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    return f": {printable(redacted(str(message)))[:_MAXIMUM_QUOTED].rstrip('.')}"


def _read_token(body: bytes, audience: str) -> BoundToken:
    """Return the token in the answer. Only its own claims are believed, not the fields next to it."""
    try:
        text = json.loads(body)["status"]["token"]
    except (ValueError, LookupError, TypeError, RecursionError):
        text = None
    if not isinstance(text, str) or not text.isascii() or len(text) > MAXIMUM_TOKEN_LENGTH:
        raise TokenMalformed("The Kubernetes API's answer has no token.", _CHECK_PATH)
    try:
        token = parse_token(text, origin=_ORIGIN)
    except TokenMalformed as error:
        raise TokenMalformed(error.message, _CHECK_PATH) from None
    claims = token.claims
    if audience not in claims.audiences:
        found = printable(", ".join(claims.audiences)) or "none"
        raise TokenMalformed(
            f"The Kubernetes API returned a token with audience {found}; expected {audience}.",
            f"Set audience (BROKER_AUDIENCE) to one that the API issues. {_CHECK_PATH}",
        )
    if claims.issued_at is None or claims.expires_at <= claims.issued_at:
        raise TokenMalformed("The Kubernetes API returned a token without a lifetime (iat, exp).", _CHECK_PATH)
    return token
