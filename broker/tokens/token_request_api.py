"""One call to the Kubernetes API: asks for a bound token with the pod's own service account token (TokenRequest).

Rules: the cluster's CA is trusted and no other, and nothing is sent before the host is verified; no proxy is asked,
since the API's address is the cluster's own; no redirect is followed; answers are bounded in size, each step in time.
The service account's token and the CA are read at each call, for both are rotated. No exception but TokenError leaves
it, and none quotes a token.
http.client and ssl, and not `https_get`, which fetches from hosts that it could not verify:
docs/adr/0013-token-request.md.
"""

from __future__ import annotations

import http.client
import json
import ssl
from http import HTTPStatus
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import quote

from broker import __version__
from broker.core.errors import TokenMalformed, TokenRefused, TokenUnavailable
from broker.core.model import printable, redacted
from broker.net.https_client import default_verification
from broker.tokens.token_file import FSGROUP_REMEDY, MAXIMUM_TOKEN_LENGTH, parse_token, read_content

if TYPE_CHECKING:
    from broker.core.model import BoundToken, TokenRequestSpec, UnverifiedClaims

EXPIRATION_SECONDS = 3600
"""The kubelet's own default. The API may give another life, and takes nothing under 600."""
_MAXIMUM_ANSWER_BYTES = 65_536
_MAXIMUM_QUOTED = 300
_ORIGIN = "the answer of the Kubernetes API"
_MOUNT_REMEDY = (
    "Let Kubernetes mount the service account into the broker: automountServiceAccountToken: true, and no volume of "
    "your own there without token and ca.crt."
)


def ask(spec: TokenRequestSpec, audience: str) -> BoundToken:
    """Return a new token for this audience, bound to this pod.

    Raises TokenUnavailable, TokenRefused or TokenMalformed.
    """
    own = _own_token(spec)
    status, body = _call(spec, own, audience)
    if status not in {HTTPStatus.OK, HTTPStatus.CREATED}:
        _refuse(status, body, own.claims)
    return _token(body, audience)


def _own_token(spec: TokenRequestSpec) -> BoundToken:
    """Return the pod's own token, which says what pod and service account are called."""
    path = f"{spec.directory}/token"
    try:
        text = read_content(path).decode("ascii").strip()
    except OSError as error:
        remedy = FSGROUP_REMEDY if isinstance(error, PermissionError) else _MOUNT_REMEDY
        raise TokenUnavailable(f"No service account token in {path}: {error.strerror}.", remedy) from None
    except UnicodeDecodeError:
        text = ""
    try:
        token = parse_token(text, origin=path)
    except TokenMalformed:
        token = None
    if token is None or not _names_a_pod(token.claims):
        raise TokenUnavailable(
            f"The service account token in {path} names no pod, to which the token that is asked for could be bound.",
            "Expected is the token that Kubernetes itself mounts into pods; one of a Secret names none.",
        )
    return token


def _names_a_pod(claims: UnverifiedClaims) -> bool:
    return bool(claims.namespace and claims.service_account and claims.pod and claims.pod_uid)


def _call(spec: TokenRequestSpec, own: BoundToken, audience: str) -> tuple[int, bytes]:
    """Return status and body of the API's answer."""
    where = f"{f'[{spec.host}]' if ':' in spec.host else spec.host}:{spec.port}"
    connection = http.client.HTTPSConnection(
        spec.host, spec.port, timeout=spec.timeout_seconds, context=_verification(f"{spec.directory}/ca.crt")
    )
    headers = {
        "Accept": "application/json",
        "Authorization": f"Bearer {own.raw.reveal()}",
        "Content-Type": "application/json",
        "User-Agent": f"sts-federation-broker/{__version__}",
    }
    namespace, name = (quote(each, safe="") for each in (own.claims.namespace, own.claims.service_account))
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
    try:
        connection.request("POST", path, body=_request(own.claims, audience), headers=headers)
        response = connection.getresponse()
        body = response.read(_MAXIMUM_ANSWER_BYTES + 1)
    except ssl.SSLCertVerificationError as error:
        raise TokenUnavailable(
            f"What answers at {where} is not the Kubernetes API of this cluster: {error.verify_message.rstrip('.')}.",
            f"Its certificate must be of the CA in {spec.directory}/ca.crt, and name {spec.host} "
            "(KUBERNETES_SERVICE_HOST): look at what stands between the pod and the API.",
        ) from None
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: a host that nobody can have
        said = (isinstance(error, OSError) and error.strerror) or type(error).__name__
        if isinstance(error, TimeoutError):
            said = f"nothing came for {spec.timeout_seconds:g} s"
        raise TokenUnavailable(
            f"No answer of the Kubernetes API at {where}: {printable(said)}.",
            "Let the pod reach it (NetworkPolicy, firewall); KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT say "
            "where it is.",
        ) from None
    finally:
        connection.close()
    return response.status, body


def _verification(path: str) -> ssl.SSLContext:
    """Return a context that trusts the cluster's CA alone."""
    try:
        try:
            return default_verification(path)
        except ValueError:  # the directory may just have been swapped
            return default_verification(path)
    except ValueError as error:
        raise TokenUnavailable(f"No CA of the cluster in {path}: {error}.", _MOUNT_REMEDY) from None


def _request(pod: UnverifiedClaims, audience: str) -> bytes:
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


def _refuse(status: int, body: bytes, pod: UnverifiedClaims) -> NoReturn:
    """Raise what an answer without a token means."""
    said = f"The Kubernetes API answered {status}{_quoted_message(body)}."
    if status == HTTPStatus.FORBIDDEN:
        commands = role_commands(pod.namespace, pod.service_account)
        raise TokenRefused(said, f"Allow the service account to ask for tokens of its own: {commands}")
    if status in {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}:
        raise TokenRefused(
            said,
            f"Is the service account {pod.namespace}/{pod.service_account}, or this pod, gone, or made anew? Then make "
            "a new pod.",
        )
    if status == HTTPStatus.UNAUTHORIZED:
        raise TokenUnavailable(
            said,
            "It does not take the pod's own service account token. It passes when the kubelet has put a new one in "
            "place; if it does not, make a new pod.",
        )
    raise TokenUnavailable(said, "Look at the API server's log, and at what stands between the pod and the API.")


def role_commands(namespace: str, service_account: str) -> str:
    """Return what makes the Role that is needed, and binds it."""
    return (
        f"kubectl -n {namespace} create role sts-federation-broker --verb=create --resource=serviceaccounts/token "
        f"--resource-name={service_account} && kubectl -n {namespace} create rolebinding sts-federation-broker "
        f"--role=sts-federation-broker --serviceaccount={namespace}:{service_account}"
    )


def _quoted_message(body: bytes) -> str:
    """Return what a Status says, as the end of a sentence; nothing where the body is none."""
    try:
        message = json.loads(body)["message"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    return f": {printable(redacted(str(message)))[:_MAXIMUM_QUOTED].rstrip('.')}"


def _token(body: bytes, audience: str) -> BoundToken:
    """Return the token in the answer. Its own claims count, not what is said beside it."""
    try:
        text = json.loads(body)["status"]["token"]
    except (ValueError, LookupError, TypeError, RecursionError):
        text = None
    remedy = "Look at what stands between the pod and the API; the audience is that of BROKER_AUDIENCE."
    if not isinstance(text, str) or not text.isascii() or len(text) > MAXIMUM_TOKEN_LENGTH:
        raise TokenMalformed("There is no token in the answer of the Kubernetes API.", remedy)
    try:
        token = parse_token(text, origin=_ORIGIN)
    except TokenMalformed as error:
        raise TokenMalformed(error.message, remedy) from None
    claims = token.claims
    if audience not in claims.audiences:
        found = printable(", ".join(claims.audiences)) or "none"
        raise TokenMalformed(f"The Kubernetes API gave a token for {found}; asked for was {audience}.", remedy)
    if claims.issued_at is None or claims.expires_at <= claims.issued_at:
        raise TokenMalformed(
            "The Kubernetes API gave a token that lives for no time, or does not say since when.", remedy
        )
    return token
