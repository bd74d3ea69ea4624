"""Refusals of STS: turns an error response into a fault with the change that fixes it.

The fault is chosen by the error code in the response, or by the HTTP status if there is no code. botocore's exception
classes are not used: MinIO has other codes (`ExpiredToken`), and Ceph sends none. The message quotes the error message
of AWS, because people search for it; the quote is shortened, and secrets are removed from it. Tokens and chained roles
have separate remedies: a token is admitted by the trust policy alone, a chained role needs a policy of its source role
as well.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from broker.core.errors import (
    ExchangeError,
    ExchangeThrottled,
    ExchangeUnavailable,
    RequestInvalid,
    ResponseInvalid,
    RoleDenied,
    SourceRejected,
    TokenRejected,
)
from broker.core.model import BoundToken
from broker.core.records import Struct
from broker.core.role_arns import read_account
from broker.core.token_issuers import describe_renewal, is_rotated_by_kubelet
from broker.sts import remedies
from broker.sts.connection_faults import ENDPOINT_SETTING
from broker.sts.denying_policies import find_denying_phrase, find_denying_policy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.core.model import ProfileSpec, Proof, SourceSession, StsSpec
    from broker.sts.answers import NotSts

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
    "NoSuchEntity": RoleDenied,
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


class Refusal(Struct, frozen=True, kw_only=True):
    """An error response, safe to print. `kind` is the class of the fault, by code or status."""

    code: str
    message: str
    kind: type[ExchangeError]
    http_status: int
    request_id: str

    def make_error(self, kind: type[ExchangeError], what: str, remedy: str) -> ExchangeError:
        """Return the fault. `what` is a sentence that says what failed; what STS returned follows it."""
        named = self.code if self.code and not self.code.isdigit() else f"HTTP status {self.http_status}"
        found = f"STS returned {named}{f': {_shorten(self.message)}' if self.message else ''}".removesuffix(".")
        return kind(
            f"{what} {found}.",
            remedy,
            code=self.code,
            http_status=self.http_status,
            request_id=self.request_id,
        )


def explain(response: Mapping[str, Any], profile: ProfileSpec, proof: Proof) -> ExchangeError:
    """Return the fault for an error response of STS. `response` is the one that botocore's ClientError holds."""
    refusal = read_refusal(response, proof)
    code, message, kind = refusal.code, refusal.message, refusal.kind
    if isinstance(proof, BoundToken):
        kind = TokenRejected if kind is SourceRejected else kind  # the call was not signed
        caller, remedy = proof.claims.subject, _choose_remedy(code, message, kind, profile, proof)
    else:
        kind = SourceRejected if kind is TokenRejected else kind  # no token was sent
        caller, remedy = _name_caller(proof), _choose_chain_remedy(code, message, kind, profile, proof)
    return refusal.make_error(kind, f"Cannot assume role {profile.role_arn} as {caller}.", remedy)


def read_refusal(response: Mapping[str, Any], proof: Proof) -> Refusal:
    """Return what is in an error response. No secret that `proof` was sent or signed with is left in it."""
    error, metadata = response.get("Error", {}), response.get("ResponseMetadata", {})
    code = _clean(str(error.get("Code") or ""), proof)[:MAXIMUM_QUOTE_LENGTH]
    status = int(metadata.get("HTTPStatusCode", 0))
    by_status = ExchangeUnavailable if status >= _SERVER_FAULT else _BY_STATUS.get(status, RequestInvalid)
    return Refusal(
        code=code,
        message=_clean(str(error.get("Message") or ""), proof),
        kind=_BY_CODE.get(code, by_status),
        http_status=status,
        request_id=str(metadata.get("RequestId", "")),
    )


def explain_foreign_answer(error: NotSts, address: str, spec: StsSpec, proof: Proof) -> ExchangeError:
    """Return the fault for an answer that is not STS's. A gateway's 5xx means that the STS behind it is down."""
    server = _clean(error.server, proof)
    response = f"its response (HTTP status {error.status}{f', server {server}' if server else ''}) {error.found}"
    if spec.endpoint_url and error.status >= _SERVER_FAULT:
        return ExchangeUnavailable(
            f"STS is not available at {address}: {response}.",
            f"Check the gateway or proxy that answers there, and the server behind it. Check {ENDPOINT_SETTING}.",
            http_status=error.status,
        )
    return ResponseInvalid(f"{address} is not STS: {response}.", remedies.FOREIGN_ANSWER, http_status=error.status)


def _clean(message: str, proof: Proof) -> str:
    """Return a text of the response, safe to print: without secrets or parts of them, printable."""
    for raw in _reveal_secrets(proof):
        message = message.replace(raw, "<redacted>")
        for piece in _TOKEN_PIECE.findall(message):
            message = message.replace(piece, "<redacted>") if piece in raw else message
    message = " ".join(message.split())
    return "".join(each for each in message if each.isprintable())


def _shorten(message: str) -> str:
    """Return the message with limited length. The end is kept if only that names the policy that denies the call."""
    quote, phrase = message[:MAXIMUM_QUOTE_LENGTH], find_denying_phrase(message)
    return quote if not phrase or phrase in quote else f"{quote[: MAXIMUM_QUOTE_LENGTH - len(phrase) - 3]} … {phrase}"


def _reveal_secrets(proof: Proof) -> tuple[str, ...]:
    """Return the secrets that were sent or signed with, which a response might quote."""
    if isinstance(proof, BoundToken):
        return (proof.raw.reveal(),)
    credentials = proof.generation.credentials
    return credentials.secret_access_key.reveal(), credentials.session_token.reveal()


def _name_caller(source: SourceSession) -> str:
    """Return the ARN of the source session, or the profile name: MinIO returns no ARN."""
    return source.generation.credentials.assumed_role_arn or f"profile {source.generation.profile}"


def _choose_remedy(code: str, message: str, kind: type[ExchangeError], profile: ProfileSpec, token: BoundToken) -> str:
    """Return what to change so that STS accepts the token."""
    facts = _collect_common_facts(profile) | _collect_token_facts(profile, token)
    return _find_template((remedies.BY_PHRASE, remedies.BY_KIND), code, message, kind).format(**facts)


def _choose_chain_remedy(
    code: str, message: str, kind: type[ExchangeError], profile: ProfileSpec, source: SourceSession
) -> str:
    """Return what to change so that the source role can assume the chained role."""
    facts = _collect_common_facts(profile) | _collect_chain_facts(profile, source)
    return _find_template((remedies.CHAIN_BY_PHRASE, remedies.CHAIN_BY_KIND), code, message, kind).format(**facts)


def _find_template(
    tables: tuple[Mapping[str, str], Mapping[type[ExchangeError], str]],
    code: str,
    message: str,
    kind: type[ExchangeError],
) -> str:
    """Return the template of the remedy: by a phrase in the message, else by the code, else by the kind of fault."""
    by_quote, by_kind = tables
    denying = find_denying_policy(message) if kind is RoleDenied else None
    if denying is not None:
        return denying.remedy
    quoted = next((remedy for part, remedy in by_quote.items() if part in message), None)
    return quoted or (remedies.BY_CODE.get(code) if kind is not SourceRejected else None) or by_kind[kind]


def _collect_common_facts(profile: ProfileSpec) -> dict[str, str]:
    return {
        "role": profile.role_arn,
        "account": read_account(profile.role_arn) or "the role's",
        "profile": profile.name,
        "region": profile.region,
        "duration": str(int(profile.duration.total_seconds())),
    }


def _collect_token_facts(profile: ProfileSpec, token: BoundToken) -> dict[str, str]:
    claims = token.claims
    is_rotated = is_rotated_by_kubelet(claims)
    return {
        "renewal": "the kubelet to rotate the token." if is_rotated else f"a new token. {describe_renewal(claims)}",
        "issuer": claims.issuer,
        "provider": claims.issuer.removeprefix("https://"),
        "subject": claims.subject,
        "audience": profile.audience,
        "expiry": f"{claims.expires_at:%Y-%m-%dT%H:%M:%SZ}",
        "action": "sts:AssumeRoleWithWebIdentity",
        "caller": f"tokens of {claims.issuer}",
        "unsigned": " The call is not signed: conditions on the caller's account or organization never match it.",
    }


def _collect_chain_facts(profile: ProfileSpec, source: SourceSession) -> dict[str, str]:
    """Return the facts about a chained role: its source role, and the actions that its trust policy must allow."""
    chain, credentials = profile.chain, source.generation.credentials
    assert chain is not None
    account, name = credentials.account_id, credentials.assumed_role_arn.split("/")[1:2]
    target_account = read_account(profile.role_arn)
    actions = ["sts:AssumeRole"]
    actions += ["sts:TagSession"] if chain.tags else []
    actions += ["sts:SetSourceIdentity"] if chain.source_identity else []
    external = (
        f"If that policy requires sts:ExternalId, its value must be the external_id of profile {profile.name}."
        if chain.external_id
        else f"If that policy requires sts:ExternalId, set external_id of profile {profile.name}."
    )
    accounts = f" The accounts differ ({account}, {target_account}), so both policies are needed."
    return {
        "source": source.generation.profile,
        "source_role": (
            f"role {name[0]} of account {account}" if name else f"the role of profile {source.generation.profile}"
        ),
        "actions": " and ".join(actions),
        "action": " and ".join(actions),
        "caller": credentials.assumed_role_arn or f"profile {source.generation.profile}",
        "unsigned": "",
        "renewal": "",
        "external": external,
        "accounts": "" if target_account == account else accounts,
        "expiry": f"{credentials.expires_at:%Y-%m-%dT%H:%M:%SZ}",
        "issuer": "",
    }
