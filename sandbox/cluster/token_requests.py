"""The judgement of a Kubernetes API server that is asked for bound tokens.

Rules: it believes whom a real one does: a bearer token that its issuer signed, for the API's own audience, unexpired;
it gives a token to whom a Role lets create `serviceaccounts/token` of that name, and refuses in the API's words; the
token is bound to a pod that exists with that uid, or not given.
It refuses to know the wire.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import jwt

from sandbox.cluster.issuer import uid_of

if TYPE_CHECKING:
    from sandbox.cluster.issuer import Issuer
    from sandbox.http.loopback import Request

AUDIENCE = "https://kubernetes.default.svc"
"""Of the tokens that the API takes."""
_PATH = re.compile(r"/api/v1/namespaces/([a-z0-9.-]+)/serviceaccounts/([a-z0-9.-]+)/token")
_SHORTEST_SECONDS = 600


class Refusal(Exception):
    """What the API answers with a Status."""

    def __init__(self, status: HTTPStatus, message: str, reason: str) -> None:
        super().__init__(message)
        self.status, self.message, self.reason = status, message, reason

    @property
    def document(self) -> dict[str, Any]:
        """The Status."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": int(self.status),
        }


@dataclass(slots=True, kw_only=True)
class Cluster:
    """What is so in the cluster: one pod with its service account, to begin with.

    `allowed` has the subjects whose Role lets them ask for tokens of their own; `pods` the uid of each pod, by
    namespace and name; `lifetime` is what tokens live for, whatever was asked.
    """

    issuer: Issuer
    namespace: str = "demo"
    service_account: str = "app"
    pod: str = "app-7d9c5b6f8-x2x7k"
    allowed: set[str] = field(init=False)
    pods: dict[tuple[str, str], str] = field(init=False)
    lifetime: timedelta | None = None

    def __post_init__(self) -> None:
        """Let the pod be there, and its service account ask."""
        self.allowed = {f"system:serviceaccount:{self.namespace}:{self.service_account}"}
        self.pods = {(self.namespace, self.pod): uid_of("pod", self.namespace, self.pod)}

    def token(self, request: Request) -> str:
        """Return the token that is asked for, or raise Refusal, in the order in which the API looks."""
        subject = self._subject(request)
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
        spec = _spec(request)
        bound = spec["boundObjectRef"]
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
        lifetime = self.lifetime or timedelta(seconds=spec["expirationSeconds"])
        return self.issuer.mint(
            namespace=namespace, service_account=name, pod=bound["name"], audience=spec["audiences"], lifetime=lifetime
        )

    def _subject(self, request: Request) -> str:
        """Return whose token came with the request."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        refusal = Refusal(HTTPStatus.UNAUTHORIZED, "Unauthorized", "Unauthorized")
        try:
            key = self.issuer.public_key(str(jwt.get_unverified_header(token).get("kid")))
            claims = jwt.decode(token, key or "", ["RS256", "ES256"], audience=AUDIENCE, issuer=self.issuer.issuer)
        except jwt.PyJWTError:  # an empty key is none that verifies
            raise refusal from None
        if scheme != "Bearer":
            raise refusal
        return str(claims["sub"])


def _spec(request: Request) -> dict[str, Any]:
    """Return what is asked for, or raise Refusal where the API would not take it."""
    try:
        asked = json.loads(request.body)
    except ValueError as error:
        raise Refusal(HTTPStatus.BAD_REQUEST, str(error), "BadRequest") from error
    if request.headers.get("content-type") != "application/json":
        raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body of the request was in an unknown format", "")
    if (asked.get("apiVersion"), asked.get("kind")) != ("authentication.k8s.io/v1", "TokenRequest"):
        raise Refusal(HTTPStatus.BAD_REQUEST, "the object provided is unrecognized", "BadRequest")
    spec: dict[str, Any] = asked["spec"]
    bound = spec.get("boundObjectRef", {})
    wrong = []
    if not spec.get("audiences"):
        wrong.append("spec.audiences: Required value")
    if spec.get("expirationSeconds", 0) < _SHORTEST_SECONDS:
        wrong.append("spec.expirationSeconds: Invalid value: may not specify a duration less than 10 minutes")
    if (bound.get("apiVersion"), bound.get("kind")) != ("v1", "Pod"):
        wrong.append("spec.boundObjectRef: this sandbox binds to pods alone")
    if wrong:
        raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, f"TokenRequest is invalid: {', '.join(wrong)}", "Invalid")
    return spec


def document(token: str) -> dict[str, Any]:
    """Return the API's answer with this token."""
    claims = jwt.decode(token, options={"verify_signature": False})
    expires_at = datetime.fromtimestamp(claims["exp"], UTC)
    return {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "status": {"token": token, "expirationTimestamp": f"{expires_at:%Y-%m-%dT%H:%M:%SZ}"},
    }
