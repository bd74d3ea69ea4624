"""Decide which failed checks are causes and which are consequences, once STS has answered. Pure.

STS has the last word. What STS accepted is not a failure, so a failed check becomes a warning. A refusal by STS follows
from an earlier failed check if that check explains it. Otherwise the refusal is itself the cause.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from broker.core.errors import ExchangeUnavailable, RoleDenied, SourceRejected, TokenRejected
from broker.doctor.checks import Outcome, find_causes
from broker.sts.denying_policies import find_denying_policy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broker.doctor.checks import CheckResult, Report

_ISSUER_CHECKS: Final = ("issuer", "issuer-documents", "issuer-keys", "signature")
_NO_PROVIDER: Final = "No OpenIDConnect provider"
_PROVIDER_MESSAGES: Final = (_NO_PROVIDER, "Incorrect token audience")
_TIME_MESSAGES: Final = ("ExpiredToken", "Token expired", "not valid yet")
_PRIVATE_KEY: Final = "PRIVATE KEY"
"""A published private key is a failure even if STS accepts the token."""
_UNTRUSTED_CERTIFICATE: Final = ("certificate is not trusted", "certificate is self-signed")
"""Parts of the messages of `broker.discovery` about certificates of an unknown CA."""
_DENIED_ROLE: Final = "STS did not object to the token: it denied the role."
_ISSUER_UNREACHABLE: Final = "IDPCommunicationError"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An exchange that failed: the stable `reason`, and the message with STS's error code and text."""

    reason: str
    message: str

    @property
    def is_about_issuer(self) -> bool:
        """Whether STS could not verify the token because of what the issuer publishes, or fails to publish."""
        if self.reason == ExchangeUnavailable.reason:
            return _ISSUER_UNREACHABLE in self.message
        others = (*_PROVIDER_MESSAGES, *_TIME_MESSAGES)
        return self.reason == TokenRejected.reason and not any(part in self.message for part in others)

    @property
    def denying_policy(self) -> str:
        """The policy that the refusal names, if it is not the role's, as part of a sentence; or ""."""
        policy = find_denying_policy(self.message) if self.reason == RoleDenied.reason else None
        return policy.name if policy else ""

    @property
    def policy_hint(self) -> str:
        """How to find out which policy denied the role, for a report without the trust policy."""
        if self.denying_policy:
            return f"STS names {self.denying_policy} as the reason, which no trust policy can override."
        return (
            "To find the condition that fails, use the operator tools: add --policy iam if your shell may read the "
            "role in IAM, or else --policy FILE."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenGroup:
    """The profiles that send the same token.

    `of` identifies the token's own results. The other fields are keyed by the `of` of each profile's results: the AWS
    account of its role, the refusals, and the profiles that got credentials. `is_custom_endpoint`: the STS may be one
    that denies the role where AWS rejects the token, as Ceph does.
    """

    of: str
    accounts: Mapping[str, str]
    refusals: Mapping[str, Refusal]
    succeeded: frozenset[str]
    is_custom_endpoint: bool = False


def assign_causes(report: Report, groups: Sequence[TokenGroup], refusals: Mapping[str, Refusal]) -> None:
    """Change each failed result that is not a cause. `refusals` holds those of all profiles, chained ones included."""
    for group in groups:
        _attribute_certificate(report, group)
        _attribute_issuer(report, group)
        _attribute_trust(report, group)
        _attribute_repetitions(report, group)
    clock = report.find("clock", "", Outcome.FAILED)
    if clock is not None:
        _attribute_clock(report, clock, refusals)


def _attribute_certificate(report: Report, group: TokenGroup) -> None:
    """Attribute an untrusted certificate of the issuer to whatever intercepts TLS with STS as well."""
    documents = report.find("issuer-documents", group.of, Outcome.FAILED)
    tls = next((each for each in find_causes(report.results) if each.check == "sts-tls"), None)
    if documents is not None and tls is not None and any(part in documents.found for part in _UNTRUSTED_CERTIFICATE):
        report.change(documents, Outcome.FOLLOWS, because=tls.label)


def _attribute_issuer(report: Report, group: TokenGroup) -> None:
    failed = [result for check in _ISSUER_CHECKS if (result := report.find(check, group.of, Outcome.FAILED))]
    if not failed:
        return
    is_denied = any(refusal.reason == RoleDenied.reason for refusal in group.refusals.values())
    if group.succeeded or (is_denied and not group.is_custom_endpoint):
        for result in failed:
            if _PRIVATE_KEY not in result.found:
                happened = _describe_acceptance(result) if group.succeeded else _DENIED_ROLE
                report.change(result, Outcome.WARNING, found=f"{result.found} {happened}")
        return
    for of, refusal in group.refusals.items():
        is_unknown = failed[0].check == "issuer" and _NO_PROVIDER in refusal.message
        if refusal.is_about_issuer or is_unknown:
            _mark_as_following(report, "exchange", of, failed[0])


def _describe_acceptance(result: CheckResult) -> str:
    """Return what the exchange shows about a failed check of the issuer."""
    is_about_url = result.check == _ISSUER_CHECKS[0]
    return f"STS accepts the token anyway{'' if is_about_url else ', because it caches keys for a while'}."


def _attribute_trust(report: Report, group: TokenGroup) -> None:
    for of in group.accounts:
        result = report.find("trust-policy", of, Outcome.FAILED)
        if result is None:
            continue
        refusal = group.refusals.get(of)
        if of in group.succeeded:
            found = f"{result.found} STS accepts the token anyway: the role doesn't have this policy now."
            report.change(result, Outcome.WARNING, found=found)
        elif refusal is not None and refusal.reason == RoleDenied.reason and not refusal.denying_policy:
            _mark_as_following(report, "exchange", of, result)


def _attribute_repetitions(report: Report, group: TokenGroup) -> None:
    """Report a rejected token once for each account, however many roles of that account are requested."""
    first: dict[tuple[str, str], CheckResult] = {}
    for of, refusal in group.refusals.items():
        result = report.find("exchange", of, Outcome.FAILED)
        if result is not None and refusal.reason == TokenRejected.reason:
            known = first.setdefault((group.accounts[of], refusal.reason), result)
            if known is not result:
                report.change(result, Outcome.FOLLOWS, because=known.label)


def _attribute_clock(report: Report, clock: CheckResult, refusals: Mapping[str, Refusal]) -> None:
    for of, refusal in refusals.items():
        if refusal.reason == SourceRejected.reason or any(part in refusal.message for part in _TIME_MESSAGES):
            _mark_as_following(report, "exchange", of, clock)
    for result in report.results:
        if result.check == "identity" and result.outcome is Outcome.FAILED:
            report.change(result, Outcome.FOLLOWS, because=clock.label)


def _mark_as_following(report: Report, check: str, of: str, cause: CheckResult) -> None:
    result = report.find(check, of, Outcome.FAILED)
    if result is not None:
        report.change(result, Outcome.FOLLOWS, because=cause.label)
