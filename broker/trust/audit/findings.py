"""What is wrong with an account: the linter's findings on each policy, and those that need the whole account. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.core.role_arns import read_account
from broker.trust.audit.admission import Verdict, find_best
from broker.trust.audit.matrix import find_audiences
from broker.trust.audit.policies import admit_token
from broker.trust.audit.rules import AUDIT_RULES
from broker.trust.linter.lint import Expected, lint
from broker.trust.linter.report import LocatedFinding
from broker.trust.linter.rule import LintFinding
from broker.trust.linter.statement import find_issuer
from broker.trust.linter.unjudged import find_unjudged
from broker.trust.sources import Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from broker.trust.audit.account import Account
    from broker.trust.audit.cluster import RoleRequest
    from broker.trust.audit.matrix import Entry, World
    from broker.trust.audit.policies import RolePolicy


def find_policy_findings(policy: RolePolicy, account: Account) -> Iterator[LocatedFinding]:
    """Yield the linter's findings on a policy. Adds to the account what the linter passes over."""
    source = policy.role.source
    for one in lint(source.text, Expected(account=policy.role.account)):
        yield LocatedFinding(source=source, finding=one)
    for part in find_unjudged(source.text):
        listed = account.notes if part.is_by_design else account.unjudged
        listed.append(f"{policy.role.arn}: {part.statement}: {part.reason}")


def find_provider_findings(policies: Iterable[RolePolicy], world: World) -> Iterator[LocatedFinding]:
    """Yield what is wrong between roles and providers, and the providers without roles."""
    used = set()
    for policy in policies:
        for provider in policy.providers:
            used.add(provider)
            if world.is_missing(provider, policy):
                if world.has_all:
                    yield _report("missing-provider", policy.role.source, provider)
                continue
            if detail := _find_unlisted(provider, policy, world):
                yield _report("unlisted-audience", policy.role.source, detail)
    if world.has_all:
        for arn, one in world.providers.items():
            if arn not in used:
                yield _report("unused-provider", one.source, arn)


def _find_unlisted(provider: str, policy: RolePolicy, world: World) -> str:
    """Return how the audiences of a policy differ from those of a provider, "" where they have one in common."""
    named, listed = find_audiences(policy, provider), world.list_audiences(provider, policy)
    if not named or set(named) & set(listed):
        return ""
    return f"{provider} lists {', '.join(listed) or 'no audience'}; the role expects {', '.join(named)}"


def find_unusable_roles(
    policies: Iterable[RolePolicy], entries: Mapping[str, Sequence[Entry]], world: World
) -> Iterator[LocatedFinding]:
    """Yield the roles for web identities that nobody can assume, neither with a token nor from another role.

    A role whose providers are at fault is reported for that, and not here.
    """
    for policy in policies:
        found = entries.get(policy.role.arn, ())
        if not policy.trusts_web_identities or any(one.exists is not False for one in found):
            continue
        if any(world.is_missing(one, policy) or _find_unlisted(one, policy, world) for one in policy.providers):
            continue
        named = ", ".join(one.subject for one in found)
        detail = f"the cluster has no {named}" if named else "no subject is admitted"
        yield _report("unusable-role", policy.role.source, detail)


def find_refusals(
    requests: Iterable[RoleRequest], policies: Mapping[str, RolePolicy], world: World, account: Account, file: str
) -> Iterator[LocatedFinding]:
    """Yield the pods that request a role which refuses them. Adds to the account the requests that can't be judged."""
    own_accounts = {policy.role.account for policy in policies.values()}
    for request in requests:
        pod = request.workload
        policy = policies.get(request.role)
        source = Source(file=file, text="", address=pod.place, line=pod.line)
        asked = f"{request.role} ({request.setting}) for {pod.namespace}/{pod.account}"
        if policy is None and account.has_all_roles and read_account(request.role) in own_accounts:
            yield _report("pod-refused", source, f"{asked}: there is no such role")
        elif policy is None:
            account.unjudged.append(f"{file}: {pod.place} requests {request.role}, which was not read")
        else:
            reason, verdict = _explain_refusal(request, policy, world)
            if verdict is Verdict.NO:
                yield _report("pod-refused", source, f"{asked}: {reason}")
            elif verdict is Verdict.UNJUDGED:
                account.unjudged.append(f"{file}: {pod.place} requests {request.role}: {reason}")


def _explain_refusal(request: RoleRequest, policy: RolePolicy, world: World) -> tuple[str, Verdict]:
    """Return why a role refuses a pod, and the verdict."""
    provider = next((one for one in policy.providers if find_issuer(one) == world.issuer), "")
    if not provider:
        return f"it doesn't trust the cluster's issuer {world.issuer}", Verdict.NO
    if world.is_missing(provider, policy):
        return f"{provider} doesn't exist in the role's account", Verdict.NO
    known = world.providers.get(provider)
    accepted = [one for one in request.audiences if known is None or known.audiences is None or one in known.audiences]
    if not accepted:
        return f"{provider} doesn't list the audience {', '.join(request.audiences)}", Verdict.NO
    best = find_best(
        [
            admit_token(policy, provider, subject=request.workload.subject, audience=one, is_cluster=True)
            for one in accepted
        ]
    )
    return best.reason, best.verdict


def _report(rule: str, source: Source, detail: str) -> LocatedFinding:
    finding = LintFinding(rule=AUDIT_RULES[rule], statement="", line=source.line, detail=detail)
    return LocatedFinding(source=source, finding=finding)
