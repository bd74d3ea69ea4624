"""Refusals of GetWebIdentityToken: turns an error response into a fault with the change that fixes it.

The remedy is chosen by the policy or the phrase that the message of AWS names, else by the error code, else by the kind
of fault. Codes: botocore's STS model. Phrases: IAM User Guide, "Troubleshoot access denied error messages"
(https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broker.core.errors import (
    ExchangeError,
    ExchangeThrottled,
    ExchangeUnavailable,
    RequestInvalid,
    RoleDenied,
    SourceRejected,
    TokenRejected,
    WebIdentityTokenDenied,
)
from broker.core.role_arns import read_account
from broker.sts.connection_faults import ENDPOINT_SETTING
from broker.sts.denying_policies import find_denying_policy
from broker.sts.refusals import Refusal, read_refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.core.model import ProfileSpec, Proof

ACTION = "sts:GetWebIdentityToken"
_SETTING = "web_identity_token of profile {profile}"
_KINDS: Mapping[str, type[ExchangeError]] = {
    "InvalidAction": RequestInvalid,
    "JWTPayloadSizeExceeded": RequestInvalid,
    "OutboundWebIdentityFederationDisabled": WebIdentityTokenDenied,
    "SessionDurationEscalation": RequestInvalid,
}
"""The faults by error code, where they differ from those of an exchange. AWS appends `Exception` to some codes."""
_REMEDIES = {
    "InvalidAction": (
        f"That server does not have GetWebIdentityToken. Check {ENDPOINT_SETTING}: only STS of AWS has it, and only at "
        f"regional endpoints. Otherwise remove {_SETTING}."
    ),
    "JWTPayloadSizeExceeded": (
        f"The token would be too large. List fewer audiences in {_SETTING}, or remove tags of the role or its session."
    ),
    "OutboundWebIdentityFederationDisabled": (
        "Account {account} has not enabled outbound identity federation. Have an administrator of that account run: "
        "aws iam enable-outbound-web-identity-federation"
    ),
    "SessionDurationEscalation": (
        "The token would outlive the session. The broker requests at most what remains of the session. Check the "
        f"node's clock (NTP), or lower duration_seconds in {_SETTING}."
    ),
    "RegionDisabledException": (
        "Activate STS for Region {region} in account {account}, or set region (AWS_REGION) to another Region."
    ),
}
_BY_PHRASE = {
    "session policy": (
        f"The session policy of the profile does not allow the call. Allow {ACTION} in session_policy "
        "(BROKER_SESSION_POLICY) or policy_arns (BROKER_POLICY_ARNS) of profile {profile}."
    ),
    "permissions boundary": f"Allow {ACTION} in the permissions boundary of {{role}}.",
}
_BY_KIND: Mapping[type[ExchangeError], str] = {
    WebIdentityTokenDenied: (
        f"In a policy of {{role}}, allow {ACTION} on *. If the statement has conditions, they must admit the request: "
        "sts:IdentityTokenAudience {audiences}, sts:DurationSeconds {duration}, sts:SigningAlgorithm {algorithm}. The "
        "policies in iam-policies/permissions have an example. IAM changes take effect after a few seconds."
    ),
    SourceRejected: (
        "The credentials of profile {profile} were rejected. Either the node's clock is wrong or the role's sessions "
        "were revoked. Fix the node's clock (NTP), or send SIGHUP to request new credentials."
    ),
    ExchangeThrottled: (
        f"STS has a quota for each account and Region. Raise duration_seconds in {_SETTING}, or have AWS raise the "
        "quota."
    ),
    ExchangeUnavailable: "",
    RequestInvalid: f"Check the settings in {_SETTING}, and {ENDPOINT_SETTING}.",
}


def explain_token_refusal(response: Mapping[str, Any], profile: ProfileSpec, proof: Proof) -> ExchangeError:
    """Return the fault for an error response of STS. `response` is the one that botocore's ClientError holds."""
    refusal = read_refusal(response, proof)
    code = refusal.code.removesuffix("Exception")
    kind = _KINDS.get(code, refusal.kind)
    kind = {RoleDenied: WebIdentityTokenDenied, TokenRejected: SourceRejected}.get(kind, kind)
    spec = profile.web_identity_token
    assert spec is not None
    remedy = _choose_template(refusal, code, kind).format(
        profile=profile.name,
        role=profile.role_arn,
        account=read_account(profile.role_arn) or "of the role",
        region=profile.region,
        audiences=", ".join(spec.audiences),
        duration=int(spec.duration.total_seconds()),
        algorithm=spec.signing_algorithm,
    )
    what = f"Cannot get the web identity token of profile {profile.name} for role {profile.role_arn}."
    return refusal.make_error(kind, what, remedy)


def _choose_template(refusal: Refusal, code: str, kind: type[ExchangeError]) -> str:
    """Return the template of the remedy."""
    by_code = _REMEDIES.get(code) or _REMEDIES.get(refusal.code)
    if by_code is not None:
        return by_code
    if kind is WebIdentityTokenDenied:
        denying = find_denying_policy(refusal.message)
        if denying is not None:
            return (
                f"The call is denied by {denying.name}, which no policy of {{role}} can override. "
                f"Have {ACTION} allowed there."
            )
        phrases = (remedy for phrase, remedy in _BY_PHRASE.items() if phrase in refusal.message.lower())
        return next(phrases, _BY_KIND[kind])
    return _BY_KIND[kind]
