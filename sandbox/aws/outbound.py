"""Outbound identity federation: signs web identity tokens for callers of STS, and publishes the keys, as AWS does.

An account must enable it, and then has an issuer URL of its own. The documents of that URL are served on loopback; a
verifier gets that address separately, in place of DNS. Claims:
https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_outbound_token_claims.html. Parameters and errors:
https://docs.aws.amazon.com/STS/latest/APIReference/API_GetWebIdentityToken.html. The form of the documents and of key
IDs is that of a real issuer, quoted in tests of Forgejo (`awsOIDC`, `awsJWKS`). Not documented, and chosen here:
several audiences make `aud` a list, and the checks are made in the order parameters, permission, account, session.
"""

from __future__ import annotations

import json
import threading
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from sandbox.aws.constraints import check_length, invalid, members, required_text
from sandbox.aws.permissions import Needed
from sandbox.aws.refusal import Refusal
from sandbox.aws.session_tags import SessionTags, read_tags

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sandbox.aws.principals import Principal
    from sandbox.aws.sessions import Session

ACTION = "GetWebIdentityToken"
DISCOVERY_PATH = "/.well-known/openid-configuration"
KEYS_PATH = "/.well-known/jwks.json"
_NAMESPACE = "https://sts.amazonaws.com/"
_DEFAULT_SECONDS, _SECONDS = 300, (60, 3600)
_AUDIENCE_LENGTH, _MAXIMUM_AUDIENCES = (1, 1000), 10
_KEY_IDS = {"RS256": "RSA_0", "ES384": "EC384_0"}
_CLAIMS = ("sub", "iss", "aud", "exp", "iat", "jti", _NAMESPACE)
_DISABLED = "Outbound web identity federation is disabled for this account."
_ESCALATION = "The requested token duration would extend the session beyond its original expiration time."


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """The validated parameters of a call."""

    audiences: tuple[str, ...]
    duration: timedelta
    algorithm: str
    tags: SessionTags


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedToken:
    """A token, and when it expires."""

    text: str
    expires_at: datetime


class OutboundFederation:
    """The issuers of all accounts, which share their keys. Thread-safe.

    `token_lifetime` shortens every token, also below the minute of the real STS.
    """

    def __init__(self, token_lifetime: timedelta | None = None) -> None:
        self._token_lifetime = token_lifetime
        self._lock = threading.Lock()
        self._issuers: dict[str, str] = {}
        self._keys: dict[str, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey] = {}
        self.issued: list[str] = []
        """Every token so far, so that tests can search for it."""

    def enable(self, account_id: str) -> str:
        """Enable outbound federation in an account. Return its issuer URL, which it keeps."""
        with self._lock:
            return self._issuers.setdefault(account_id, f"https://{uuid.uuid4()}.tokens.sts.global.api.aws")

    def disable(self, account_id: str) -> None:
        """Disable outbound federation in an account."""
        with self._lock:
            self._issuers.pop(account_id, None)

    def issue(
        self, form: Mapping[str, str], principal: Principal, session: Session | None, region: str, at: datetime
    ) -> IssuedToken:
        """Handle GetWebIdentityToken. `session` is None if an IAM user calls. Raises Refusal."""
        request = read_token_request(form)
        _check_permission(principal, request)
        with self._lock:
            issuer = self._issuers.get(principal.account_id)
        if issuer is None:
            raise Refusal("OutboundWebIdentityFederationDisabledException", _DISABLED, 403)
        issued_at = at.replace(microsecond=0)
        if session is not None and issued_at + request.duration > session.expires_at:
            raise Refusal("SessionDurationEscalationException", _ESCALATION, 403)
        duration = min(request.duration, self._token_lifetime or request.duration)
        claims = {
            "iss": issuer,
            "aud": request.audiences[0] if len(request.audiences) == 1 else list(request.audiences),
            "sub": principal.entity_arn,
            "iat": int(issued_at.timestamp()),
            "exp": int((issued_at + duration).timestamp()),
            "jti": str(uuid.uuid4()),
            _NAMESPACE: _describe_identity(principal, session, region, request),
        }
        headers = {"kid": _KEY_IDS[request.algorithm]}
        text = jwt.encode(claims, self._get_key(request.algorithm), algorithm=request.algorithm, headers=headers)
        self.issued.append(text)
        return IssuedToken(text=text, expires_at=issued_at + duration)

    def find_document(self, path: str) -> bytes | None:
        """Return the document at this path of the first account's issuer, None if there is none."""
        with self._lock:
            issuer = next(iter(self._issuers.values()), None)
        if issuer is None:
            return None
        if path == DISCOVERY_PATH:
            return json.dumps(_describe_issuer(issuer)).encode()
        return json.dumps(self._describe_keys()).encode() if path == KEYS_PATH else None

    def _describe_keys(self) -> dict[str, Any]:
        rsa_key, ec_key = self._get_key("RS256").public_key(), self._get_key("ES384").public_key()
        assert isinstance(rsa_key, rsa.RSAPublicKey)
        assert isinstance(ec_key, ec.EllipticCurvePublicKey)
        documents = [
            {**RSAAlgorithm.to_jwk(rsa_key, as_dict=True), "kid": _KEY_IDS["RS256"]},
            {**ECAlgorithm.to_jwk(ec_key, as_dict=True), "kid": _KEY_IDS["ES384"], "alg": "ES384"},
        ]
        kept = [{name: value for name, value in each.items() if name != "key_ops"} for each in documents]
        return {"keys": [{**each, "use": "sig"} for each in kept]}

    def _get_key(self, algorithm: str) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
        """Return the signing key, which is made at its first use."""
        with self._lock:
            if algorithm not in self._keys:
                self._keys[algorithm] = (
                    rsa.generate_private_key(public_exponent=65537, key_size=2048)
                    if algorithm == "RS256"
                    else ec.generate_private_key(ec.SECP384R1())
                )
            return self._keys[algorithm]


def _describe_issuer(issuer: str) -> dict[str, Any]:
    return {
        "claims_supported": list(_CLAIMS),
        "id_token_signing_alg_values_supported": list(_KEY_IDS),
        "issuer": issuer,
        "jwks_uri": issuer + KEYS_PATH,
        "subject_types_supported": ["public"],
    }


def read_token_request(form: Mapping[str, str]) -> TokenRequest:
    """Return the validated parameters. Raises Refusal."""
    audiences = tuple(members(form, "Audience").values())
    if not audiences:
        raise invalid("Audience", "null", "Member must not be null")
    if len(audiences) > _MAXIMUM_AUDIENCES:
        raise invalid("Audience", None, f"Member must have length less than or equal to {_MAXIMUM_AUDIENCES}")
    for audience in audiences:
        check_length("Audience", audience, *_AUDIENCE_LENGTH)
    algorithm = required_text(form, "SigningAlgorithm", 5, 5)
    if algorithm not in _KEY_IDS:
        raise invalid("SigningAlgorithm", algorithm, f"Member must satisfy enum value set: [{', '.join(_KEY_IDS)}]")
    seconds, (shortest, longest) = form.get("DurationSeconds", str(_DEFAULT_SECONDS)), _SECONDS
    if not seconds.isdecimal():
        raise Refusal("MalformedInput", "DurationSeconds is not an integer")
    if int(seconds) < shortest:
        raise invalid("DurationSeconds", seconds, f"Member must have value greater than or equal to {shortest}")
    if int(seconds) > longest:
        raise invalid("DurationSeconds", seconds, f"Member must have value less than or equal to {longest}")
    duration = timedelta(seconds=int(seconds))
    return TokenRequest(audiences=audiences, duration=duration, algorithm=algorithm, tags=read_tags(form))


def _check_permission(principal: Principal, request: TokenRequest) -> None:
    """Raise Refusal unless the caller's own policies allow the call, and the tags if there are any.

    Source of actions and condition keys:
    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_outbound_policies.html.
    """
    context = {
        "aws:PrincipalArn": [principal.entity_arn],
        "aws:PrincipalAccount": [principal.account_id],
        "sts:IdentityTokenAudience": list(request.audiences),
        "sts:DurationSeconds": [str(int(request.duration.total_seconds()))],
        "sts:SigningAlgorithm": [request.algorithm],
        **{f"aws:PrincipalTag/{key}": [value] for key, value in principal.tags.items()},
    }
    needed = [(f"sts:{ACTION}", context)]
    if request.tags.pairs:
        tags = {f"aws:RequestTag/{key}": [value] for key, value in request.tags.pairs.items()}
        needed.append((f"sts:Tag{ACTION}", {**context, **tags, "aws:TagKeys": list(request.tags.pairs)}))
    for action, keys in needed:
        reason = principal.permissions.refusal(Needed.ALLOW, action=action, resource="*", context=keys)
        if reason is not None:
            message = f"User: {principal.arn} is not authorized to perform: {action} on resource: *"
            raise Refusal("AccessDenied", message, 403, reason=reason)


def _describe_identity(
    principal: Principal, session: Session | None, region: str, request: TokenRequest
) -> dict[str, Any]:
    """Return the claims about the caller. Those that do not apply are left out."""
    claims = {
        "aws_account": principal.account_id,
        "source_region": region,
        "principal_tags": principal.tags,
        "original_session_exp": f"{session.expires_at:%Y-%m-%dT%H:%M:%SZ}" if session else "",
        "federated_provider": session.provider if session else "",
        "source_identity": principal.source_identity,
        "request_tags": dict(request.tags.pairs),
    }
    return {name: value for name, value in claims.items() if value}
