"""Verifies a web identity token as STS does: provider, audience, signature with a key fetched over HTTP, and times.

The checks have AWS's order and messages. Keys are fetched for every exchange, so a retired key or an unreachable issuer
takes effect at once. Only the algorithms that STS supports are accepted. This module does not know roles.
"""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import jwt

from broker.policy.provider_claims import list_condition_keys
from sandbox.aws.faults import INVALID_IDENTITY_TOKEN
from sandbox.aws.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime, timedelta

_ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")
_DISCOVERY = "/.well-known/openid-configuration"
_MAX_DOCUMENT_BYTES = 262_144


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedToken:
    """The claims that STS uses. `audience` is the one that the provider lists.

    `keys` has the condition keys that STS provides for the token, with the issuer before each.
    """

    issuer: str
    subject: str
    audience: str
    keys: Mapping[str, list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenVerifier:
    """Verifies tokens against providers.

    `addresses` maps issuers to the loopback URLs of their documents, in place of DNS. `timeout` limits each fetch of a
    document; AWS allows about 5 s.
    """

    addresses: Mapping[str, str]
    timeout: timedelta

    def verify(
        self, token: str, *, audiences_of: Callable[[str], tuple[str, ...] | None], now: datetime
    ) -> VerifiedToken:
        """Return the verified claims. Raises Refusal.

        `audiences_of` returns the client ids of an issuer's provider, or None if there is no provider.
        """
        header, claims = _decode(token)
        issuer, subject = claims["iss"], claims["sub"]
        audiences = audiences_of(issuer)
        if audiences is None:
            message = f"No OpenIDConnect provider found in your account for {issuer}"
            raise Refusal("InvalidIdentityToken", message)
        sent = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        audience = next((one for one in sent if one in audiences), None)
        if audience is None:
            raise Refusal("InvalidIdentityToken", "Incorrect token audience")
        self._check_signature(token, header, issuer)
        _check_times(claims, now)
        provided = list_condition_keys(issuer.removeprefix("https://"), claims, audience=audience)
        keys = {name: [value] for name, value in provided.items()}
        return VerifiedToken(issuer=issuer, subject=subject, audience=audience, keys=keys)

    def _check_signature(self, token: str, header: Mapping[str, Any], issuer: str) -> None:
        if header.get("alg") not in _ALGORITHMS:
            raise Refusal("InvalidIdentityToken", "The ID Token is signed with an unsupported algorithm")
        try:
            keys = self._fetch_keys(issuer)
            key = next(jwt.PyJWK(one) for one in keys if one.get("kid") == header.get("kid"))
        except (OSError, http.client.HTTPException, ValueError, LookupError, StopIteration, jwt.PyJWTError) as error:
            raise Refusal(INVALID_IDENTITY_TOKEN.code, INVALID_IDENTITY_TOKEN.message) from error
        try:
            jwt.api_jws.decode(token, key, algorithms=[key.algorithm_name])
        except jwt.PyJWTError as error:
            raise Refusal("InvalidIdentityToken", "The ID Token signature is invalid") from error

    def _fetch_keys(self, issuer: str) -> list[dict[str, Any]]:
        address = urlsplit(self.addresses[issuer])
        connection = http.client.HTTPConnection(address.netloc, timeout=self.timeout.total_seconds())
        try:
            discovery = _fetch(connection, _DISCOVERY)
            jwks_uri = str(discovery["jwks_uri"])
            base = issuer.removesuffix("/")  # OpenID Connect Discovery 1.0 section 4
            if discovery["issuer"] != issuer or not jwks_uri.startswith(base + "/"):
                raise ValueError("the discovery document belongs to another issuer")
            return list(_fetch(connection, jwks_uri.removeprefix(base))["keys"])
        finally:
            connection.close()


def _fetch(connection: http.client.HTTPConnection, path: str) -> dict[str, Any]:
    connection.request("GET", path)
    response = connection.getresponse()
    content = response.read(_MAX_DOCUMENT_BYTES)
    if response.status != http.HTTPStatus.OK:
        raise ValueError(f"{path} answered {response.status}")
    document = json.loads(content)
    if not isinstance(document, dict):
        raise ValueError(f"{path} is not a JSON object")  # noqa: TRY004 - the content is wrong, not a type
    return document


def _decode(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return header and claims of a token whose signature has not been verified. Raises Refusal."""
    try:
        unverified = jwt.api_jws.decode_complete(token, options={"verify_signature": False})
        claims = json.loads(unverified["payload"])
    except (ValueError, jwt.PyJWTError) as error:
        message = "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)"
        raise Refusal("InvalidIdentityToken", message) from error
    if not isinstance(claims, dict):
        raise Refusal("InvalidIdentityToken", "The ID Token provided is not a valid JWT.")
    for name in ("iss", "sub", "aud", "exp", "iat"):
        if not claims.get(name):
            raise Refusal("InvalidIdentityToken", f"Missing a required claim: {name}")
    for name in ("exp", "iat", "nbf"):
        if not isinstance(claims.get(name, 0), int):
            raise Refusal("InvalidIdentityToken", f"The claim {name} is not an integer")
    return unverified["header"], claims


def _check_times(claims: Mapping[str, Any], now: datetime) -> None:
    current, expiry = int(now.timestamp()), claims["exp"]
    if current >= expiry:
        message = f"Token expired: current date/time {current} must be before the expiration date/time {expiry}"
        raise Refusal("ExpiredTokenException", message)
    if claims.get("nbf", 0) > current:
        message = f"Token is not valid yet: current date/time {current} is before the date/time {claims['nbf']}"
        raise Refusal("InvalidIdentityToken", message)
