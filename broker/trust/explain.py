"""Explain how a trust policy treats one token: for each statement, what keeps it from applying and what would fix it.

The evaluator in `broker.policy` alone decides whether the policy admits the token. This module knows the claims, but
never the token. Condition keys that only STS knows (addresses, times) count as absent, and are reported. The code is
pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from broker.core.model import DEFAULT_AUDIENCE
from broker.policy.conditions import NotUnderstood, find_failures, is_arn, parse_operator
from broker.policy.document import read_json
from broker.policy.provider_claims import AS_OF, BUILT_IN_PROVIDERS, find_known_provider, list_condition_keys
from broker.policy.statements import explain_action_mismatch
from broker.policy.trust_policy import Caller, evaluate, explain_principal_mismatch
from broker.trust.linter.statement import WEB_IDENTITY, find_issuer, parse_provider_arn, read_statements
from broker.trust.suggestions import Change, suggest_change, suggest_exception

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broker.policy.conditions import Context, Failure
    from broker.policy.statements import Decision, StatementResult
    from broker.trust.linter.statement import Statement

ONLY_STS_KNOWS = "only STS knows this key, so it counts as absent here"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebIdentity:
    """What STS sees of a token: its claims, the session name, and partition and account of the requested role.

    `role` is None where the role is unknown. `claims` has the further claims of the token, which AWS may provide as
    condition keys (`provider_claims.list_condition_keys`).
    """

    issuer: str
    subject: str
    audiences: tuple[str, ...]
    session_name: str
    role: tuple[str, str] | None = None
    claims: Mapping[str, Any] = field(default_factory=dict)

    @property
    def issuer_path(self) -> str:
        """The issuer without https://, as condition keys and provider ARNs contain it."""
        return self.issuer.removeprefix("https://")

    def as_context(self, audience: str) -> Context:
        """Return the condition keys that AWS provides for this token and session."""
        keys = list_condition_keys(self.issuer_path, {**self.claims, "sub": self.subject}, audience=audience)
        return {**{key: [value] for key, value in keys.items()}, "sts:RoleSessionName": [self.session_name]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """One reason why a statement does not admit the token.

    `part` is principal, action, condition or statement. `operator`, `key`, `expected` and `found` are for a condition;
    `found` is None where the key is absent. `change` is None where no change of this statement is known.
    """

    part: str
    reason: str
    operator: str = ""
    key: str = ""
    expected: tuple[str, ...] = ()
    found: tuple[str, ...] | None = None
    change: Change | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementExplanation:
    """How one statement treats the token. `outcome` is allows, denies, or does not apply."""

    name: str
    line: int
    effect: str
    outcome: str
    obstacles: tuple[Obstacle, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """How the policy treats the token. `audience` is the evaluated one; `provider` is the ARN of its OIDC provider."""

    allowed: bool
    reason: str
    provider: str
    audience: str
    statements: tuple[StatementExplanation, ...]


def explain(policy: str, identity: WebIdentity) -> Explanation:
    """Return whether a policy admits a web identity, and why or why not. Raises PolicyMalformedError."""
    statements = read_statements(read_json(policy))
    caller = Caller(kind="Federated", names=_find_providers(statements, identity))
    candidates = [
        (evaluate(policy, caller=caller, action=WEB_IDENTITY, context=identity.as_context(audience)), audience)
        for audience in sorted(identity.audiences, key=lambda one: one != DEFAULT_AUDIENCE)
    ]
    # STS uses the audience that the provider lists. The policy does not say which, so any admitted audience counts.
    decision, audience = min(candidates, key=lambda one: (not one[0].allowed, _count_failures(one[0])))
    context = identity.as_context(audience)
    explanations = tuple(
        _explain_statement(statement, result, caller, context)
        for statement, result in zip(statements, decision.statements, strict=True)
    )
    return Explanation(
        allowed=decision.allowed,
        reason=_describe_decision(decision),
        provider=caller.names[0],
        audience=audience,
        statements=explanations,
    )


def _count_failures(decision: Decision) -> int:
    return min((len(one.failures) for one in decision.statements if one.failures), default=0)


def _describe_decision(decision: Decision) -> str:
    for result in decision.statements:
        if result.applies and result.effect != "Allow":
            return f"{result.name} denies this token"
    allowing = next((result.name for result in decision.statements if result.applies), "")
    return f"{allowing} allows this token" if allowing else "no statement allows this token"


def _find_providers(statements: Sequence[Statement], identity: WebIdentity) -> tuple[str, ...]:
    """Return the ARNs of the token's provider: in the role's account, or as the policy names it."""
    issuer = identity.issuer_path
    built_in = (issuer,) if issuer in BUILT_IN_PROVIDERS else ()
    if identity.role is not None:
        partition, account = identity.role
        return (*built_in, f"arn:{partition}:iam::{account}:oidc-provider/{issuer}")
    named = [name for one in statements for name in one.principals.get("Federated", ())]
    matching = tuple(dict.fromkeys(name for name in named if find_issuer(name) == issuer))
    if matching or built_in:
        return matching or built_in
    known = next((name for name in named if parse_provider_arn(name)), "arn:aws:iam::ACCOUNT:")
    return (f"{known.partition('oidc-provider/')[0]}oidc-provider/{issuer}",)


def _explain_statement(
    statement: Statement, result: StatementResult, caller: Caller, context: Context
) -> StatementExplanation:
    if result.applies:
        outcome = "allows" if statement.is_allow else "denies"
        obstacles = () if statement.is_allow else _explain_deny(statement, result, context)
    else:
        outcome, obstacles = "does not apply", tuple(_find_obstacles(statement, result, caller, context))
        if statement.is_allow and _is_for_another_issuer(statement, caller):
            obstacles = tuple(replace(obstacle, change=_suggest_own_statement(obstacle)) for obstacle in obstacles)
        if not statement.is_allow:  # a Deny that does not apply needs no change
            obstacles = tuple(replace(obstacle, change=None) for obstacle in obstacles)
    return StatementExplanation(
        name=statement.name, line=statement.line, effect=result.effect, outcome=outcome, obstacles=obstacles
    )


def _is_for_another_issuer(statement: Statement, caller: Caller) -> bool:
    """Return whether neither the principals nor the keys name the token's issuer, in any common spelling."""
    issuer = _normalize_issuer(find_issuer(caller.names[0]) or "")
    named = [find_issuer(name) or "" for name in statement.principals.get("Federated", ())]
    keys = [condition.key.rpartition(":")[0] for condition in statement.conditions]
    return "Federated" in statement.principals and issuer not in map(_normalize_issuer, (*named, *keys))


def _normalize_issuer(issuer: str) -> str:
    """Return an issuer in lower case, without the parts that people leave in by mistake."""
    return re.sub(r"^https?://|:\d+(?=/|$)|/+$", "", issuer.lower())


def _suggest_own_statement(obstacle: Obstacle) -> Change | None:
    if obstacle.part != "principal":
        return None
    sentence = "keep this statement, which is for another issuer, and add one for this issuer (sts-broker trust render)"
    return Change(action="add-statement", sentence=sentence)


def _explain_deny(statement: Statement, result: StatementResult, context: Context) -> tuple[Obstacle, ...]:
    """Return the first condition of a Deny that can be changed so that the Deny no longer applies."""
    for condition in statement.conditions:
        try:
            change = suggest_exception(condition, context)
        except NotUnderstood:
            continue
        if change is not None:
            return (
                Obstacle(
                    part="condition",
                    reason=f"{condition.operator} {condition.key} matches",
                    operator=condition.operator,
                    key=condition.key,
                    expected=condition.values,
                    found=_find_values(condition.key, context),
                    change=change,
                ),
            )
    absent = [one for one in statement.conditions if _find_values(one.key, context) is None]
    notes = [f"{one.key} is absent, which {one.operator} matches" for one in absent if one.parsed.is_known]
    return (Obstacle(part="statement", reason="; ".join((result.reason, *notes))),)


def _find_values(key: str, context: Context) -> tuple[str, ...] | None:
    """Return the values of a key in the context, in any case, or None where it is absent."""
    found = {one.lower(): tuple(values) for one, values in context.items()}
    return found.get(key.lower())


def _find_obstacles(
    statement: Statement, result: StatementResult, caller: Caller, context: Context
) -> Sequence[Obstacle]:
    """Return every reason why a statement does not apply."""
    found: list[Obstacle] = []
    try:
        if reason := explain_principal_mismatch(statement.raw, caller):
            found.append(Obstacle(part="principal", reason=reason, change=_suggest_provider(statement, caller)))
        if reason := explain_action_mismatch(statement.raw, WEB_IDENTITY):
            change = Change(action="add-value", new=WEB_IDENTITY, sentence=f"add {WEB_IDENTITY} to Action")
            is_for_tokens = "Federated" in statement.principals and "NotAction" not in statement.raw
            found.append(Obstacle(part="action", reason=reason, change=change if is_for_tokens else None))
        if not found or "Federated" in statement.principals:
            failed = find_failures(statement.raw.get("Condition", {}), context)
            found += [_describe_failure(failure, context) for failure in failed]
    except NotUnderstood as error:
        return [*found, Obstacle(part="statement", reason=str(error))]
    return found or [Obstacle(part="statement", reason=result.reason)]


def _suggest_provider(statement: Statement, caller: Caller) -> Change | None:
    """Return the change that names the provider, or None where the statement is not about tokens."""
    if "Federated" not in statement.principals:
        return None
    sentence = f"name {caller.names[0]} in Principal Federated"
    old = statement.principals["Federated"]
    return Change(action="replace-value", old=old[0] if len(old) == 1 else "", new=caller.names[0], sentence=sentence)


def _describe_failure(failure: Failure, context: Context) -> Obstacle:
    change = suggest_change(failure, context)
    return Obstacle(
        part="condition",
        reason=failure.describe() if change is not None else _describe_obscure_failure(failure, context),
        operator=failure.operator,
        key=failure.key,
        expected=failure.expected,
        found=failure.found,
        change=change,
    )


def _describe_obscure_failure(failure: Failure, context: Context) -> str:
    """Return why a condition fails that no change of its values makes match."""
    if failure.found is not None:
        compares_arns = parse_operator(failure.operator).compares_arns and not all(map(is_arn, failure.found))
        why = "; the key's value isn't an ARN, so use a string operator" if compares_arns else ""
        return f"{failure.describe()}{why}"
    if failure.key.lower().startswith("aws:"):
        return ONLY_STS_KNOWS
    subject_keys = (key for key in context if key.endswith(":sub"))
    issuer = next((key.removesuffix(":sub") for key in subject_keys), "")
    provider = find_known_provider(issuer)
    claim = failure.key.lower().removeprefix(f"{issuer.lower()}:")
    if provider is not None and claim in provider.keys:
        return f"the token has no claim {claim}"
    owner = provider.name if provider is not None else "this issuer"
    return f"not judged: AWS's list of {AS_OF} has no key {claim} for {owner}, so it counts as absent here"
