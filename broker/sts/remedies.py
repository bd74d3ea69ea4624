"""What to change when STS refuses a call: templates for `str.format`, whose facts come from `broker.sts.refusals`.

They are chosen by a phrase in the message of AWS, else by the error code, else by the kind of fault. Tokens and chained
roles have separate tables. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.core.errors import (
    ExchangeError,
    ExchangeThrottled,
    ExchangeUnavailable,
    RequestInvalid,
    RoleDenied,
    SourceRejected,
    TokenRejected,
)
from broker.sts.connection_faults import ENDPOINT_SETTING

if TYPE_CHECKING:
    from collections.abc import Mapping

FOREIGN_ANSWER = f"Check {ENDPOINT_SETTING}, and any proxy, captive portal or service mesh on the network path to STS."
_TRUST_REMEDY = (
    "The role does not exist, or its trust policy does not allow this token. In the trust policy, allow "
    "sts:AssumeRoleWithWebIdentity for the provider {provider} with the conditions {provider}:sub = {subject} and "
    "{provider}:aud = {audience}. IAM changes take effect after a few seconds."
)
_SETTINGS_REMEDY = "Check the settings of profile {profile}, and sts.endpoint_url (AWS_ENDPOINT_URL_STS)."
_QUOTA_REMEDY = (
    "STS has a quota for each account and Region. Raise duration_seconds (BROKER_DURATION_SECONDS), or have AWS raise "
    "the quota."
)
BY_KIND: Mapping[type[ExchangeError], str] = {
    RoleDenied: _TRUST_REMEDY,
    TokenRejected: "Compare the output of `sts-broker token` with the IAM OIDC provider for {issuer}.",
    ExchangeThrottled: _QUOTA_REMEDY,
    ExchangeUnavailable: "",
    RequestInvalid: _SETTINGS_REMEDY,
}
CHAIN_BY_KIND: Mapping[type[ExchangeError], str] = {
    RoleDenied: (
        "The role does not exist, or a policy is missing. In the trust policy of {role}, allow {actions} for "
        "{source_role}. {external} In a policy of {source_role}, allow {actions} on {role}.{accounts} IAM changes take "
        "effect after a few seconds."
    ),
    SourceRejected: (
        "The credentials of profile {source} expire at {expiry}. If that is in the future, either the node's clock is "
        "wrong or the role's sessions were revoked. Fix the node's clock (NTP), or send SIGHUP to request new "
        "credentials."
    ),
    ExchangeThrottled: _QUOTA_REMEDY,
    ExchangeUnavailable: "",
    RequestInvalid: _SETTINGS_REMEDY,
}
_DURATION_REMEDY = (
    "Lower duration_seconds (BROKER_DURATION_SECONDS) from {duration}, or raise the maximum session duration of {role}."
)
CHAIN_BY_PHRASE = {
    "sts:TagSession": (
        "The request passes session tags: the tags of profile {profile}, or transitive tags of its sources. Allow "
        "sts:TagSession in the trust policy of {role}, best in a separate statement, and in a policy of {source_role}."
    ),
    "sts:SetSourceIdentity": (
        "The request passes a source identity. Allow sts:SetSourceIdentity in the trust policy of {role} and in a "
        "policy of {source_role}."
    ),
    "role chaining": "Lower duration_seconds of profile {profile} to 3600, the most that AWS allows for chained roles.",
    "MaxSessionDuration": _DURATION_REMEDY,
}
BY_PHRASE = {
    "No OpenIDConnect provider": (
        "Create an IAM OIDC provider in account {account} whose URL is exactly {issuer}. STS returns the same error if "
        "Region {region} is not enabled in the account."
    ),
    "Incorrect token audience": "Add {audience} to the client IDs of the IAM OIDC provider for {issuer}.",
    "verification key": (
        "STS could not fetch the keys of {issuer}. Its discovery document and its JWKS must be public and respond "
        "within 5 s. This error is often transient. If it persists, run `sts-broker issuer check {issuer}`."
    ),
    "thumbprint": (
        "The certificate of {issuer} is not the one that the IAM OIDC provider in account {account} names. Run "
        "`sts-broker issuer check {issuer}`, which prints the thumbprint of the certificate, and set the provider's "
        "thumbprint list to it. With a certificate of a public CA, STS needs no thumbprint."
    ),
    "MaxSessionDuration": _DURATION_REMEDY,
}
_EXPIRED_REMEDY = (
    "The token expires at {expiry}. If that is in the future, the node's clock is behind STS: fix the node's clock "
    "(NTP). Otherwise the broker waits for {renewal}"
)
BY_CODE = {
    "ExpiredToken": _EXPIRED_REMEDY,
    "ExpiredTokenException": _EXPIRED_REMEDY,
    "IDPCommunicationError": "STS could not reach {issuer}. It must be public and respond within 5 s.",
    "IDPRejectedClaim": "The issuer {issuer} rejected the token as invalid, expired or revoked. Check the token there.",
    "NoSuchEntity": "The role does not exist there: create it, or correct role_arn (AWS_ROLE_ARN) from {role}.",
    "MalformedPolicyDocument": "Fix session_policy (BROKER_SESSION_POLICY) or policy_arns (BROKER_POLICY_ARNS).",
    "PackedPolicyTooLarge": (
        "Shorten session_policy (BROKER_SESSION_POLICY), or list fewer policy_arns (BROKER_POLICY_ARNS) and tags."
    ),
    "RegionDisabledException": (
        "Activate STS for Region {region} in account {account}, or set region (AWS_REGION) to another Region."
    ),
}
