"""Which roles lead to which others: `sts:AssumeRole` between the roles of one account, transitively. Pure.

A trust policy that names a role admits that role by itself. One that names the whole account admits the roles whose
permissions allow `sts:AssumeRole`. The audit does not read permissions, so it reports the second kind as a condition.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from broker.trust.audit.admission import Admission, Verdict
from broker.trust.audit.policies import admit_role

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from broker.trust.audit.policies import RolePolicy

_ANY_ROLE: Final = "sts-broker-audit"
"""Takes the place of a role where a policy treats all of them alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """The steps from one role to another: the ARNs of the roles in between, and the verdict on the whole."""

    through: tuple[str, ...]
    admission: Admission


@dataclass(frozen=True, slots=True, kw_only=True)
class Chains:
    """The links between roles.

    `links` has, for each role, the roles that it can assume because they name it. `open_to_account` has the roles that
    admit every role of the account with the permission for it.
    """

    links: Mapping[str, Mapping[str, Admission]]
    open_to_account: Mapping[str, Admission]

    def find_paths(self, start: str) -> dict[str, Path]:
        """Return the shortest path to each role that a role leads to by named links. Cycles end where they began."""
        found = {start: Path(through=(), admission=Admission(verdict=Verdict.YES))}
        pending = deque([start])
        while pending:
            source = pending.popleft()
            before = found[source]
            for target, admission in self.links.get(source, {}).items():
                if target not in found:
                    joined = join(before.admission, admission)
                    found[target] = Path(through=(*before.through, source), admission=joined)
                    pending.append(target)
        del found[start]
        return found


def join(first: Admission, second: Admission) -> Admission:
    """Return the verdict on two steps that must both succeed."""
    conditions = tuple(dict.fromkeys((*first.conditions, *second.conditions)))
    return Admission(
        verdict=max(first.verdict, second.verdict, key=list(Verdict).index),
        conditions=conditions,
        reason=first.reason or second.reason,
    )


def find_chains(policies: Iterable[RolePolicy]) -> Chains:
    """Return the links between these roles."""
    by_arn = {one.role.arn: one for one in policies}
    by_name = {f"{one.role.account}/{one.role.name}": one.role.arn for one in by_arn.values()}
    links: dict[str, dict[str, Admission]] = {}
    open_to_account: dict[str, Admission] = {}
    for arn, target in by_arn.items():
        sources = [by_name.get(name, name) for name in target.named_roles]
        if target.trusts_own_account and target.distinguishes_callers:
            sources = list(by_arn)
        elif target.trusts_own_account:
            admission = admit_role(target, f"arn:{target.role.partition}:iam::{target.role.account}:role/{_ANY_ROLE}")
            if admission.verdict is not Verdict.NO:
                open_to_account[arn] = admission
        for source in sources:
            if source in by_arn and source != arn:
                admission = admit_role(target, source)
                if admission.verdict is not Verdict.NO:
                    links.setdefault(source, {})[arn] = admission
    return Chains(links=links, open_to_account=open_to_account)
