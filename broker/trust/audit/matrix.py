"""Who can become what: a row for each subject and role, with the conditions and the roles in between. Pure.

A policy is asked about each subject that it names; about a pattern, with a subject that the pattern matches. Where the
cluster of a provider is known, it is asked about each of the service accounts that may match.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from broker.core.chains import MAXIMUM_DURATION
from broker.core.model import DEFAULT_AUDIENCE
from broker.policy.conditions import matches_wildcard
from broker.trust.audit import subjects
from broker.trust.audit.admission import Admission, Verdict, find_best
from broker.trust.audit.chains import join
from broker.trust.audit.policies import admit_token, is_in_own_account
from broker.trust.linter.conditions import has_wildcard
from broker.trust.linter.statement import find_issuer

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from broker.trust.audit.account import Provider
    from broker.trust.audit.chains import Chains
    from broker.trust.audit.cluster import ServiceAccount
    from broker.trust.audit.policies import RolePolicy
    from broker.trust.linter.statement import Condition

_CHAINED_SECONDS: Final = int(MAXIMUM_DURATION.total_seconds())
ACCOUNT_KIND: Final = "AWS account"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A subject that can become a role.

    `subject` is as in a token, or the pattern of a policy; `meaning` is the same in words. `through` has the ARNs
    of the roles in between. `exists` is whether the cluster has the service account, None where no cluster is known.
    `maximum_seconds` is the longest session, None where it is unknown.
    """

    subject: str
    meaning: str
    kind: str
    provider: str
    role: str
    admission: Admission
    audiences: tuple[str, ...] = ()
    through: tuple[str, ...] = ()
    exists: bool | None = None
    maximum_seconds: int | None = None
    boundary: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What the rows depend on besides the policy.

    `providers` has the known providers by ARN, and `has_all` is whether the account has no others. `clusters` has the
    issuers that belong to Kubernetes clusters, `accounts` the service accounts of the cluster of `issuer`, by subject.
    """

    providers: Mapping[str, Provider]
    has_all: bool = False
    clusters: Collection[str] = ()
    issuer: str = ""
    accounts: Mapping[str, ServiceAccount] | None = None

    def list_audiences(self, provider: str, policy: RolePolicy) -> tuple[str, ...]:
        """Return the audiences with which STS accepts tokens of a provider. Where they are unknown, the policy's."""
        known = self.providers.get(provider)
        if known is not None and known.audiences is not None:
            return known.audiences
        return tuple(dict.fromkeys((*find_audiences(policy, provider), DEFAULT_AUDIENCE)))

    def is_missing(self, provider: str, policy: RolePolicy) -> bool:
        """Return whether STS finds no such provider for the role."""
        is_listed = provider in self.providers or not provider.startswith("arn:")
        return not is_in_own_account(provider, policy.role) or (self.has_all and not is_listed)


def find_audiences(policy: RolePolicy, provider: str) -> tuple[str, ...]:
    """Return the audiences that a policy's Allow statements name in full for a provider."""
    key = f"{find_issuer(provider)}:aud".lower()
    return tuple(
        dict.fromkeys(
            value
            for statement in policy.statements
            if statement.is_allow
            for condition in statement.conditions
            if condition.key.lower() == key and condition.is_strict
            for value in condition.values
            if not has_wildcard(value)
        )
    )


def list_entries(policy: RolePolicy, world: World) -> Iterator[Entry]:
    """Yield the subjects that can become a role with a token, and those that could not be judged."""
    for provider in policy.providers:
        if not world.is_missing(provider, policy):
            yield from _list_entries_of(policy, provider, world)


def _list_entries_of(policy: RolePolicy, provider: str, world: World) -> Iterator[Entry]:
    issuer = find_issuer(provider) or ""
    candidates = subjects.list_candidates(policy.statements, issuer)
    if world.accounts is None or issuer != world.issuer:
        entries = [_judge(policy, provider, one, world) for one in candidates]
        anybody = entries[-1]
        if anybody.admission.verdict is Verdict.YES:
            entries = [anybody]
    else:
        entries = [
            _judge(policy, provider, subjects.Candidate(text=subject, subject=subject), world)
            for subject in _list_accounts(candidates, policy, issuer, world.accounts)
        ]
    yield from (one for one in entries if one.admission.verdict is not Verdict.NO)


def _list_accounts(
    candidates: Iterable[subjects.Candidate],
    policy: RolePolicy,
    issuer: str,
    accounts: Mapping[str, ServiceAccount],
) -> list[str]:
    """Return the subjects that the policy names in full, and the existing service accounts that it may admit.

    Where each statement restricts the subject, only accounts that match one of the values need to be judged.
    """
    named = [one.text for one in candidates if not one.is_pattern]
    allows = [one for one in policy.statements if one.is_allow and issuer.lower() in one.issuers]
    if not all(any(map(_is_restriction, subjects.find_subject_conditions(one, issuer))) for one in allows):
        return list(dict.fromkeys((*named, *accounts)))
    patterns = [one.text for one in candidates if one.is_pattern and one.text != subjects.ANY_SUBJECT]
    lowered = {one.lower() for one in named}
    matching = (one for one in accounts if one in lowered or any(matches_wildcard(text, one) for text in patterns))
    return list(dict.fromkeys((*named, *matching)))


def _is_restriction(condition: Condition) -> bool:
    is_strict = condition.is_strict and condition.parsed.bare.startswith("String")
    return is_strict and subjects.ANY_SUBJECT not in condition.values


def _judge(policy: RolePolicy, provider: str, candidate: subjects.Candidate, world: World) -> Entry:
    """Return the row of a subject, with the most generous verdict of all audiences that its tokens may have."""
    issuer, role = find_issuer(provider) or "", policy.role
    judged = {
        audience: admit_token(
            policy, provider, subject=candidate.subject, audience=audience, is_cluster=issuer in world.clusters
        )
        for audience in world.list_audiences(provider, policy)
    }
    best = find_best(list(judged.values()))
    is_known = world.accounts is not None and issuer == world.issuer
    return Entry(
        subject=candidate.text,
        meaning=subjects.describe(candidate.text) if candidate.is_pattern else candidate.text,
        kind=subjects.name_kind(candidate.text, issuer),
        provider=provider,
        role=role.arn,
        admission=best,
        audiences=tuple(one for one, found in judged.items() if found.verdict is best.verdict),
        exists=candidate.text in world.accounts if is_known and world.accounts is not None else None,
        maximum_seconds=role.maximum_seconds,
        boundary=role.boundary,
    )


def list_account_entries(policy: RolePolicy, chains: Chains) -> Iterator[Entry]:
    """Yield the row of a role that admits every role of its account with the permission for it."""
    admission = chains.open_to_account.get(policy.role.arn)
    if admission is not None:
        yield Entry(
            subject=policy.role.account,
            meaning=f"every role of account {policy.role.account}",
            kind=ACCOUNT_KIND,
            provider="",
            role=policy.role.arn,
            admission=admission,
            maximum_seconds=_limit(policy.role.maximum_seconds),
            boundary=policy.role.boundary,
        )


def extend(entry: Entry, policies: Mapping[str, RolePolicy], chains: Chains) -> Iterator[Entry]:
    """Yield the rows of the roles that a subject reaches from its role by role chaining."""
    for arn, path in chains.find_paths(entry.role).items():
        role = policies[arn].role
        yield replace(
            entry,
            role=arn,
            admission=join(entry.admission, path.admission),
            through=path.through,
            maximum_seconds=_limit(role.maximum_seconds),
            boundary=role.boundary,
        )


def _limit(seconds: int | None) -> int:
    """Return the longest session of a chained role: an hour, unless the role allows less."""
    return _CHAINED_SECONDS if seconds is None else min(seconds, _CHAINED_SECONDS)
