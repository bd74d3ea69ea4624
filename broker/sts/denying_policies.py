"""Policies other than the role's that deny a call to STS, as AWS names them in its messages. Pure.

Such a policy belongs to the VPC endpoint or to the organization. No trust policy can override it, so the remedy for a
denied role does not help. Source of the phrases: IAM User Guide, "Troubleshoot access denied error messages".
"""

from __future__ import annotations

import re
from typing import Final

from broker.core.records import Struct


class DenyingPolicy(Struct, frozen=True, kw_only=True):
    """A kind of policy: how it is named in a sentence, and what to change, a template for `str.format`."""

    name: str
    remedy: str


_REASON: Final = r"(?:with an explicit deny in an? [^:.]{0,40}?|because no [^:.]{0,40}?)?"
_ABBREVIATION: Final = r"(?<![\w/:.-])(?-i:{}s?)(?![\w/-])"
"""As a word of its own: a role may be named scp."""
_NOT_THE_TRUST_POLICY: Final = "the trust policy of {role} cannot override it."
_POLICIES: Final = tuple(
    (re.compile(f"{_REASON}(?:{names})", re.IGNORECASE), DenyingPolicy(name=name, remedy=remedy))
    for names, name, remedy in (
        (
            r"\b(?:vpc endpoint|endpoint|vpce) polic(?:y|ies)\b",
            "the policy of the VPC endpoint for STS",
            "The policy of the VPC endpoint for STS denies the call; " + _NOT_THE_TRUST_POLICY + " In the endpoint's "
            "policy, allow {action} on {role}.{unsigned}",
        ),
        (
            rf"\bservice control polic(?:y|ies)\b|{_ABBREVIATION.format('SCP')}",
            "a service control policy (SCP)",
            "A service control policy (SCP) of the AWS organization denies the call; " + _NOT_THE_TRUST_POLICY + " Ask "
            "the administrators of the organization to allow {action} on {role}.",
        ),
        (
            rf"\bresource control polic(?:y|ies)\b|{_ABBREVIATION.format('RCP')}",
            "a resource control policy (RCP)",
            "A resource control policy (RCP) of the organization of account {account} denies the call; "
            + _NOT_THE_TRUST_POLICY
            + " Ask the administrators of that organization to allow {action} on {role} for {caller}.",
        ),
    )
)


def find_denying_policy(message: str) -> DenyingPolicy | None:
    """Return the policy that the message of a refusal names as its reason, None if it names none of these."""
    return next((policy for pattern, policy in _POLICIES if pattern.search(message)), None)


def find_denying_phrase(message: str) -> str:
    """Return the words of the message that name the policy, "" if there are none."""
    return next((found[0] for pattern, _ in _POLICIES if (found := pattern.search(message))), "")
