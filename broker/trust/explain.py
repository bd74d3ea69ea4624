"""Explains what a trust policy says to one token: statement by statement, what is in its way and what would mend it.

Rules: whether it is let in is the evaluator's word, and nobody else's. Knows the claims of a token, never the token; of
what STS alone knows (addresses, times) it says so, and counts it as not matching. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from broker.core.model import DEFAULT_AUDIENCE
from broker.policy.conditions import NotUnderstood, failures
from broker.policy.document import read_json
from broker.policy.statements import action_mismatch
from broker.policy.trust_policy import Caller, evaluate, principal_mismatch
from broker.trust.linter.statement import WEB_IDENTITY, provider_of, read_statements
from broker.trust.suggestions import Change, change_against, change_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.policy.conditions import Context, Failure
    from broker.policy.statements import Decision, StatementResult
    from broker.trust.linter.statement import Statement

ONLY_STS_KNOWS = "only STS knows this key, so it counts as absent here"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who asks, as STS would see it. `role` is partition and account of the role, None where they are not known."""

    issuer: str
    subject: str
    audiences: tuple[str, ...]
    session_name: str
    role: tuple[str, str] | None = None

    @property
    def prefix(self) -> str:
        """What condition keys begin with, and provider ARNs end in."""
        return self.issuer.removeprefix("https://")

    def context(self, audience: str) -> Context:
        """Return the condition keys that AWS gives for this token (reference_policies_iam-condition-keys)."""
        return {
            f"{self.prefix}:aud": [audience],
            f"{self.prefix}:sub": [self.subject],
            "sts:RoleSessionName": [self.session_name],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """One thing in the way. `part` is principal, action, condition or statement; the rest is for a condition.

    `found` None: the key is absent. `change` None: it cannot be mended in this statement, or only STS can tell.
    """

    part: str
    reason: str
    operator: str = ""
    key: str = ""
    expected: tuple[str, ...] = ()
    found: tuple[str, ...] | None = None
    change: Change | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One statement's say. `outcome` is allows, denies, or does not apply."""

    name: str
    line: int
    effect: str
    outcome: str
    obstacles: tuple[Obstacle, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The whole answer. `audience` is the one of the token that was asked with, `provider` whose token it would be."""

    allowed: bool
    reason: str
    provider: str
    audience: str
    statements: tuple[Explained, ...]


def explain(policy: str, asker: Asker) -> Explanation:
    """Say whether this policy lets the asker in, and why not. PolicyMalformedError: it cannot be read."""
    read = read_statements(read_json(policy))
    caller = Caller(kind="Federated", names=_providers(read, asker))
    candidates = [
        (evaluate(policy, caller=caller, action=WEB_IDENTITY, context=asker.context(audience)), audience)
        for audience in sorted(asker.audiences, key=lambda one: one != DEFAULT_AUDIENCE)
    ]
    # STS takes the audience that the provider lists; where the token has several, any that is let in will do.
    decision, audience = min(candidates, key=lambda one: (not one[0].allowed, _distance(one[0])))
    context = asker.context(audience)
    statements = tuple(
        _explain(statement, result, caller, context)
        for statement, result in zip(read, decision.statements, strict=True)
    )
    return Explanation(
        allowed=decision.allowed,
        reason=_reason(decision),
        provider=caller.names[0],
        audience=audience,
        statements=statements,
    )


def _distance(decision: Decision) -> int:
    return min((len(one.failures) for one in decision.statements if one.failures), default=0)


def _reason(decision: Decision) -> str:
    for result in decision.statements:
        if result.applies and result.effect != "Allow":
            return f"{result.name} denies it"
    allowing = next((result.name for result in decision.statements if result.applies), "")
    return f"{allowing} lets it in" if allowing else "no statement lets it in"


def _providers(statements: Sequence[Statement], asker: Asker) -> tuple[str, ...]:
    """Return the ARNs that mean the token's provider: in the role's account, or in whichever the policy names."""
    if asker.role is not None:
        partition, account = asker.role
        return (f"arn:{partition}:iam::{account}:oidc-provider/{asker.prefix}",)
    named = [name for one in statements for name in one.principals.get("Federated", ())]
    known = [(name, provider) for name in named if (provider := provider_of(name))]
    matching = tuple(dict.fromkeys(name for name, provider in known if provider[1] == asker.prefix))
    if matching:
        return matching
    start = known[0][0].partition("oidc-provider/")[0] if known else "arn:aws:iam::ACCOUNT:"
    return (f"{start}oidc-provider/{asker.prefix}",)


def _explain(statement: Statement, result: StatementResult, caller: Caller, context: Context) -> Explained:
    if result.applies:
        outcome = "allows" if statement.allows else "denies"
        obstacles = () if statement.allows else _against(statement, result, context)
    else:
        outcome, obstacles = "does not apply", tuple(_obstacles(statement, result, caller, context))
        if statement.allows and _is_of_another_issuer(statement, caller):
            obstacles = tuple(replace(obstacle, change=_change_elsewhere(obstacle)) for obstacle in obstacles)
        if not statement.allows:  # a Deny that lets it pass needs no mending
            obstacles = tuple(replace(obstacle, change=None) for obstacle in obstacles)
    return Explained(
        name=statement.name, line=statement.line, effect=result.effect, outcome=outcome, obstacles=obstacles
    )


def _is_of_another_issuer(statement: Statement, caller: Caller) -> bool:
    """Say whether neither principal nor keys speak of the token's issuer, however spelled: it is not meant for it."""
    ours = _bare(caller.names[0].partition("oidc-provider/")[2])
    named = [name.partition("oidc-provider/")[2] for name in statement.principals.get("Federated", ())]
    keys = [condition.key.rpartition(":")[0] for condition in statement.conditions]
    return "Federated" in statement.principals and ours not in map(_bare, (*named, *keys))


def _bare(issuer: str) -> str:
    """Return an issuer without what people leave in by mistake."""
    return re.sub(r"^https?://|:\d+(?=/|$)|/+$", "", issuer.lower())


def _change_elsewhere(obstacle: Obstacle) -> Change | None:
    if obstacle.part != "principal":
        return None
    told = "it is for another issuer: leave it, and add a statement for this one (sts-broker trust render)"
    return Change(action="add-statement", sentence=told)


def _against(statement: Statement, result: StatementResult, context: Context) -> tuple[Obstacle, ...]:
    """Tell what would keep a Deny from applying: one of its conditions is enough."""
    for condition in statement.conditions:
        try:
            change = change_against(condition, context)
        except NotUnderstood:
            continue
        if change is not None:
            return (
                Obstacle(
                    part="condition",
                    reason=f"{condition.operator} {condition.key} holds",
                    operator=condition.operator,
                    key=condition.key,
                    expected=condition.values,
                    found=_found(condition.key, context),
                    change=change,
                ),
            )
    absent = [one for one in statement.conditions if _found(one.key, context) is None]
    told = [f"{one.key} is absent, for which {one.operator} holds" for one in absent if one.parsed.is_known]
    return (Obstacle(part="statement", reason="; ".join((result.reason, *told))),)


def _found(key: str, context: Context) -> tuple[str, ...] | None:
    """Return what the context has for a key, whatever its case; None where it is absent."""
    found = {one.lower(): tuple(values) for one, values in context.items()}
    return found.get(key.lower())


def _obstacles(statement: Statement, result: StatementResult, caller: Caller, context: Context) -> Sequence[Obstacle]:
    """Tell all that is in the way of a statement that does not apply; of a Deny, why it does not."""
    found: list[Obstacle] = []
    try:
        if reason := principal_mismatch(statement.raw, caller):
            found.append(Obstacle(part="principal", reason=reason, change=_name_provider(statement, caller)))
        if reason := action_mismatch(statement.raw, WEB_IDENTITY):
            add = Change(action="add-value", new=WEB_IDENTITY, sentence=f"add {WEB_IDENTITY} to Action")
            is_ours = "Federated" in statement.principals and "NotAction" not in statement.raw
            found.append(Obstacle(part="action", reason=reason, change=add if is_ours else None))
        if not found or "Federated" in statement.principals:
            found += [_of(failure, context) for failure in failures(statement.raw.get("Condition", {}), context)]
    except NotUnderstood as error:
        return [*found, Obstacle(part="statement", reason=str(error))]
    return found or [Obstacle(part="statement", reason=result.reason)]


def _name_provider(statement: Statement, caller: Caller) -> Change | None:
    """Return how to name the provider; None where the statement is about others than tokens."""
    if "Federated" not in statement.principals:
        return None
    told = f"name {caller.names[0]} in Principal Federated"
    old = statement.principals["Federated"]
    return Change(action="replace-value", old=old[0] if len(old) == 1 else "", new=caller.names[0], sentence=told)


def _of(failure: Failure, context: Context) -> Obstacle:
    change = change_for(failure, context)
    is_unknown = failure.found is None and change is None
    return Obstacle(
        part="condition",
        reason=ONLY_STS_KNOWS if is_unknown else failure.sentence(),
        operator=failure.operator,
        key=failure.key,
        expected=failure.expected,
        found=failure.found,
        change=change,
    )
