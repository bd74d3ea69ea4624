"""Decides TokenRequest calls as a Kubernetes API server does.

The bearer token must be signed by the cluster's issuer, for the API's own audience, unexpired, and bound to a pod and a
service account that still exist with the same UIDs. Otherwise the answer is 401. A Role must allow the service account
to create `serviceaccounts/token` for its own name. Otherwise the answer is 403. The requested token is bound to an
existing pod. Refusals have the API's own messages. This module does not know HTTP connections.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import jwt

from sandbox.cluster.issuer import make_uid

if TYPE_CHECKING:
    from sandbox.cluster.issuer import Issuer
    from sandbox.http.loopback import Request

AUDIENCE = "https://kubernetes.default.svc"
"""The audience of tokens that the API accepts."""
_PATH = re.compile(r"/api/v1/namespaces/([a-z0-9.-]+)/serviceaccounts/([a-z0-9.-]+)/token")
_MINIMUM_SECONDS = 600


class Refusal(Exception):
    """A call that the API refuses: HTTP status, message and reason of its Status."""

    def __init__(self, status: HTTPStatus, message: str, reason: str) -> None:
        super().__init__(message)
        self.status, self.message, self.reason = status, message, reason

    @property
    def document(self) -> dict[str, Any]:
        """The response body, a Status."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": int(self.status),
        }


@dataclass(slots=True, kw_only=True)
class Cluster:
    """The objects of a cluster: at first one pod with its service account.

    `allowed` has the subjects that may request tokens for themselves. `pods` and `service_accounts` have the UIDs of
    existing objects by namespace and name. `lifetime` replaces the requested lifetime of tokens.
    """

    issuer: Issuer
    namespace: str = "demo"
    service_account: str = "app"
    pod: str = "app-7d9c5b6f8-x2x7k"
    allowed: set[str] = field(init=False)
    pods: dict[tuple[str, str], str] = field(init=False)
    service_accounts: dict[tuple[str, str], str] = field(init=False)
    lifetime: timedelta | None = None

    def __post_init__(self) -> None:
        """Create the pod and its service account, and allow the service account to request tokens."""
        self.allowed = {f"system:serviceaccount:{self.namespace}:{self.service_account}"}
        self.pods = {(self.namespace, self.pod): make_uid("pod", self.namespace, self.pod)}
        account = (self.namespace, self.service_account)
        self.service_accounts = {account: make_uid("sa", *account)}

    def issue_token(self, request: Request) -> str:
        """Return the requested token. Raises Refusal. The checks have the API's order."""
        subject = self._authenticate(request)
        path = _PATH.fullmatch(request.path)
        if path is None or request.method != "POST":
            raise Refusal(HTTPStatus.NOT_FOUND, "the server could not find the requested resource", "NotFound")
        namespace, name = path.groups()
        if subject not in self.allowed or subject != f"system:serviceaccount:{namespace}:{name}":
            raise Refusal(
                HTTPStatus.FORBIDDEN,
                f'serviceaccounts "{name}" is forbidden: User "{subject}" cannot create resource '
                f'"serviceaccounts/token" in API group "" in the namespace "{namespace}"',
                "Forbidden",
            )
        spec = _read_spec(request)
        self._check_bound_pod(namespace, spec["boundObjectRef"])
        return self.issuer.mint(
            namespace=namespace,
            service_account=name,
            pod=spec["boundObjectRef"]["name"],
            audience=spec["audiences"],
            lifetime=self.lifetime or timedelta(seconds=spec["expirationSeconds"]),
        )

    def _authenticate(self, request: Request) -> str:
        """Return the subject of the request's bearer token. Raises Refusal (401)."""
        refusal = Refusal(HTTPStatus.UNAUTHORIZED, "Unauthorized", "Unauthorized")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        try:
            key = self.issuer.public_key(str(jwt.get_unverified_header(token).get("kid")))
            claims = jwt.decode(token, key or "", ["RS256", "ES256"], audience=AUDIENCE, issuer=self.issuer.issuer)
        except jwt.PyJWTError:  # an empty key verifies nothing
            raise refusal from None
        if scheme != "Bearer" or not self._has_objects_of(claims):
            raise refusal
        return str(claims["sub"])

    def _has_objects_of(self, claims: dict[str, Any]) -> bool:
        """Return whether the pod and the service account that a token is bound to exist with the same UIDs."""
        bound = claims["kubernetes.io"]
        pod, account = bound["pod"], bound["serviceaccount"]
        has_pod: bool = self.pods.get((bound["namespace"], pod["name"])) == pod["uid"]
        has_account: bool = self.service_accounts.get((bound["namespace"], account["name"])) == account["uid"]
        return has_pod and has_account

    def _check_bound_pod(self, namespace: str, bound: dict[str, Any]) -> None:
        """Raise Refusal unless the pod in a request exists with the UID in the request."""
        uid = self.pods.get((namespace, bound["name"]))
        if uid is None:
            raise Refusal(HTTPStatus.NOT_FOUND, f'pods "{bound["name"]}" not found', "NotFound")
        if bound["uid"] != uid:
            raise Refusal(
                HTTPStatus.CONFLICT,
                f"the UID in the bound object reference ({bound['uid']}) does not match the UID in record. The object "
                "might have been deleted and then recreated",
                "Conflict",
            )


def _read_spec(request: Request) -> dict[str, Any]:
    """Return the spec of a TokenRequest. Raises Refusal if the API would not accept it."""
    try:
        document = json.loads(request.body)
    except ValueError as error:
        raise Refusal(HTTPStatus.BAD_REQUEST, str(error), "BadRequest") from error
    if request.headers.get("content-type") != "application/json":
        raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body of the request was in an unknown format", "")
    if (document.get("apiVersion"), document.get("kind")) != ("authentication.k8s.io/v1", "TokenRequest"):
        raise Refusal(HTTPStatus.BAD_REQUEST, "the object provided is unrecognized", "BadRequest")
    spec: dict[str, Any] = document["spec"]
    bound = spec.get("boundObjectRef", {})
    faults = []
    if not spec.get("audiences"):
        faults.append("spec.audiences: Required value")
    if spec.get("expirationSeconds", 0) < _MINIMUM_SECONDS:
        faults.append("spec.expirationSeconds: Invalid value: may not specify a duration less than 10 minutes")
    if (bound.get("apiVersion"), bound.get("kind")) != ("v1", "Pod"):
        faults.append("spec.boundObjectRef: this simulator supports only pods")
    if faults:
        raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, f"TokenRequest is invalid: {', '.join(faults)}", "Invalid")
    return spec


def token_response(token: str) -> dict[str, Any]:
    """Return the body of the API's response with this token."""
    claims = jwt.decode(token, options={"verify_signature": False})
    expires_at = datetime.fromtimestamp(claims["exp"], UTC)
    return {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "status": {"token": token, "expirationTimestamp": f"{expires_at:%Y-%m-%dT%H:%M:%SZ}"},
    }
