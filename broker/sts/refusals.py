"""What STS means when it says no: its code, or else the HTTP status, told as the fault and the change that mends it.

The table is read by the wire code, not by botocore's exception class: other implementations spell theirs differently
(MinIO: `ExpiredToken`), and some answers carry none at all (Ceph). AWS's own sentence is kept, shortened and with the
token taken out, for it is what people search for. What is refused to a token is the trust policy's matter; what is
refused to a chained role's source may be its own policies' too, so the two have remedies of their own.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from broker.core.errors import (
    ExchangeError,
    ExchangeThrottled,
    ExchangeUnavailable,
    RequestInvalid,
    RoleDenied,
    SourceRejected,
    TokenRejected,
)
from broker.core.model import BoundToken

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.core.model import ProfileSpec, Proof, SourceSession

MAXIMUM_QUOTE_LENGTH = 300
_TOKEN_PIECE = re.compile(r"[A-Za-z0-9_-]{16,}")
_SERVER_FAULT = 500
_BY_CODE: Mapping[str, type[ExchangeError]] = {
    "AccessDenied": RoleDenied,
    "AccessDeniedException": RoleDenied,
    "ExpiredToken": TokenRejected,
    "ExpiredTokenException": TokenRejected,
    "IDPCommunicationError": ExchangeUnavailable,
    "IDPRejectedClaim": TokenRejected,
    "InternalError": ExchangeUnavailable,
    "InternalFailure": ExchangeUnavailable,
    "InvalidClientTokenId": SourceRejected,
    "InvalidIdentityToken": TokenRejected,
    "InvalidParameterValue": RequestInvalid,
    "MalformedPolicyDocument": RequestInvalid,
    "MissingParameter": RequestInvalid,
    "PackedPolicyTooLarge": RequestInvalid,
    "RegionDisabledException": RequestInvalid,
    "RequestExpired": SourceRejected,
    "RequestLimitExceeded": ExchangeThrottled,
    "RequestTimeout": ExchangeUnavailable,
    "ServiceUnavailable": ExchangeUnavailable,
    "SignatureDoesNotMatch": SourceRejected,
    "SlowDown": ExchangeThrottled,
    "Throttling": ExchangeThrottled,
    "ThrottlingException": ExchangeThrottled,
    "TooManyRequestsException": ExchangeThrottled,
    "ValidationError": RequestInvalid,
}
_BY_STATUS: Mapping[int, type[ExchangeError]] = {
    401: TokenRejected,
    403: RoleDenied,
    408: ExchangeUnavailable,
    429: ExchangeThrottled,
}


def explain(response: Mapping[str, Any], profile: ProfileSpec, proof: Proof) -> ExchangeError:
    """Return the fault that STS's answer stands for; `response` is that of botocore's ClientError."""
    error, metadata = response.get("Error", {}), response.get("ResponseMetadata", {})
    code, status = _quoted(str(error.get("Code") or ""), proof), int(metadata.get("HTTPStatusCode", 0))
    quote = _quoted(str(error.get("Message") or ""), proof)
    by_status = ExchangeUnavailable if status >= _SERVER_FAULT else _BY_STATUS.get(status, RequestInvalid)
    kind = _BY_CODE.get(code, by_status)
    named = code if code and not code.isdigit() else f"HTTP status {status}"
    if isinstance(proof, BoundToken):
        kind = TokenRejected if kind is SourceRejected else kind  # nothing was signed
        asker, remedy = proof.claims.subject, _remedy(code, quote, kind, profile, proof)
    else:
        kind = SourceRejected if kind is TokenRejected else kind  # no token was sent
        asker, remedy = _asker(proof), _chain_remedy(code, quote, kind, profile, proof)
    return kind(
        f"STS answered {named} to {asker} for {profile.role_arn}{f': {quote}' if quote else ''}".removesuffix(".")
        + ".",
        remedy,
        code=code,
        http_status=status,
        request_id=str(metadata.get("RequestId", "")),
    )


def _quoted(message: str, proof: Proof) -> str:
    """Return AWS's word or sentence, safe to print: no secret or piece of it, no control characters, not too long."""
    for raw in _secrets(proof):
        message = message.replace(raw, "<redacted>")
        for piece in _TOKEN_PIECE.findall(message):
            message = message.replace(piece, "<redacted>") if piece in raw else message
    message = " ".join(message.split())
    return "".join(each for each in message if each.isprintable())[:MAXIMUM_QUOTE_LENGTH]


def _secrets(proof: Proof) -> tuple[str, ...]:
    if isinstance(proof, BoundToken):
        return (proof.raw.reveal(),)
    credentials = proof.generation.credentials
    return credentials.secret_access_key.reveal(), credentials.session_token.reveal()


def _asker(source: SourceSession) -> str:
    """Return who asked for a chained role; MinIO names nobody."""
    return source.generation.credentials.assumed_role_arn or f"profile {source.generation.profile}"


def _remedy(code: str, quote: str, kind: type[ExchangeError], profile: ProfileSpec, token: BoundToken) -> str:
    """Return what to change."""
    facts = _common_facts(profile) | _token_facts(profile, token)
    return _looked_up((_BY_QUOTE, _BY_KIND), code, quote, kind).format(**facts)


def _chain_remedy(code: str, quote: str, kind: type[ExchangeError], profile: ProfileSpec, source: SourceSession) -> str:
    """Return what to change so that the source may have the chained role."""
    facts = _common_facts(profile) | _chain_facts(profile, source)
    return _looked_up((_CHAIN_BY_QUOTE, _CHAIN_BY_KIND), code, quote, kind).format(**facts)


def _looked_up(
    tables: tuple[Mapping[str, str], Mapping[type[ExchangeError], str]],
    code: str,
    quote: str,
    kind: type[ExchangeError],
) -> str:
    """Return the remedy: by what STS said, else by its code, else by the kind of fault."""
    by_quote, by_kind = tables
    quoted = next((remedy for part, remedy in by_quote.items() if part in quote), None)
    return quoted or (_REMEDY_BY_CODE.get(code) if kind is not SourceRejected else None) or by_kind[kind]


def _common_facts(profile: ProfileSpec) -> dict[str, str]:
    return {
        "role": profile.role_arn,
        "account": profile.role_arn.split(":")[4] or "the role's",
        "region": profile.region,
        "duration": str(int(profile.duration.total_seconds())),
    }


def _token_facts(profile: ProfileSpec, token: BoundToken) -> dict[str, str]:
    claims = token.claims
    return {
        "issuer": claims.issuer,
        "provider": claims.issuer.removeprefix("https://"),
        "subject": claims.subject,
        "audience": profile.audience,
        "expiry": f"{claims.expires_at:%Y-%m-%dT%H:%M:%SZ}",
    }


def _chain_facts(profile: ProfileSpec, source: SourceSession) -> dict[str, str]:
    """Return the facts of a chain: who asks, and what its trust policy has to let through."""
    chain, credentials = profile.chain, source.generation.credentials
    assert chain is not None
    account, name = credentials.account_id, credentials.assumed_role_arn.split("/")[1:2]
    here = profile.role_arn.split(":")[4]
    actions = ["sts:AssumeRole"]
    actions += ["sts:TagSession"] if chain.tags else []
    actions += ["sts:SetSourceIdentity"] if chain.source_identity else []
    external = (
        f", if it has a condition on sts:ExternalId with the value that external_id of profile {profile.name} has"
        if chain.external_id
        else f"; if it demands sts:ExternalId, set external_id of profile {profile.name}"
    )
    return {
        "source": source.generation.profile,
        "source_role": f"role {name[0]} of account {account}" if name else f"the role of {source.generation.profile}",
        "actions": " and ".join(actions),
        "external": external,
        "accounts": "" if here == account else f" The accounts differ ({account}, {here}): both must allow it.",
        "expiry": f"{credentials.expires_at:%Y-%m-%dT%H:%M:%SZ}",
        "issuer": "",
        "profile": profile.name,
    }


_TRUST_REMEDY = (
    "Either the role does not exist or its trust policy does not let this token in. It must allow "
    "sts:AssumeRoleWithWebIdentity to the provider {provider} where {provider}:sub is {subject} and "
    "{provider}:aud is {audience}. A change in IAM takes a few seconds to arrive."
)
_SETTINGS_REMEDY = "Look at the profile's settings and at AWS_ENDPOINT_URL_STS."
_QUOTA_REMEDY = "The quota is per account and Region: ask for longer sessions (duration_seconds), or raise the quota."
_BY_KIND: Mapping[type[ExchangeError], str] = {
    RoleDenied: _TRUST_REMEDY,
    TokenRejected: "Compare `sts-broker token` with the IAM OIDC provider of {issuer}.",
    ExchangeThrottled: _QUOTA_REMEDY,
    ExchangeUnavailable: "",
    RequestInvalid: _SETTINGS_REMEDY,
}
_CHAIN_BY_KIND: Mapping[type[ExchangeError], str] = {
    RoleDenied: (
        "Either the role does not exist, or one side does not allow it: the trust policy of {role} must allow "
        "{actions} to {source_role}{external}; and a policy of {source_role} must allow {actions} on {role}.{accounts} "
        "A change in IAM takes a few seconds to arrive."
    ),
    SourceRejected: (
        "The credentials of profile {source} run to {expiry}: if that is still to come, the node's clock is off, or "
        "its sessions were revoked; SIGHUP asks for new ones."
    ),
    ExchangeThrottled: _QUOTA_REMEDY,
    ExchangeUnavailable: "",
    RequestInvalid: _SETTINGS_REMEDY,
}
_DURATION_REMEDY = "Lower duration_seconds from {duration}, or raise the maximum session duration of {role}."
_CHAIN_BY_QUOTE = {
    "sts:TagSession": (
        "Session tags go along (tags of profile {profile}, or transitive ones of its sources): the trust policy of "
        "{role}, best in a statement of its own, and a policy of {source_role} must allow sts:TagSession too."
    ),
    "sts:SetSourceIdentity": (
        "A source identity goes along: the trust policy of {role} and a policy of {source_role} must allow "
        "sts:SetSourceIdentity too."
    ),
    "role chaining": "Lower duration_seconds of profile {profile} to 3600: AWS gives chained roles no more.",
    "MaxSessionDuration": _DURATION_REMEDY,
}
_BY_QUOTE = {
    "No OpenIDConnect provider": (
        "Create an IAM OIDC provider in account {account} whose URL is exactly {issuer}; "
        "STS also says this where Region {region} is not enabled in the account."
    ),
    "Incorrect token audience": "Add {audience} to the client ids of the IAM OIDC provider for {issuer}.",
    "verification key": (
        "STS could not fetch the keys of {issuer}: its discovery document and JWKS must be public and answer within "
        "5 s. This often passes by itself; if not, `sts-broker issuer check {issuer}` says why."
    ),
    "MaxSessionDuration": _DURATION_REMEDY,
}
_REMEDY_BY_CODE = {
    "ExpiredToken": "The token runs to {expiry}: if that is still to come, the node's clock is behind STS.",
    "ExpiredTokenException": "The token runs to {expiry}: if that is still to come, the node's clock is behind STS.",
    "IDPCommunicationError": "STS could not reach {issuer}; it must be public and answer within 5 s.",
    "IDPRejectedClaim": "The issuer {issuer} no longer vouches for the token.",
    "MalformedPolicyDocument": "Mend session_policy or policy_arns of the profile.",
    "PackedPolicyTooLarge": "Shorten session_policy, or name fewer policy_arns and tags.",
    "RegionDisabledException": "Activate STS for Region {region} in account {account}, or set AWS_REGION to another.",
}
