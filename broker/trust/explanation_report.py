"""Write the result of `sts-broker trust explain`: as text and as JSON.

The token and its signature are never written. Claims and policies are untrusted, so control characters are escaped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.core.model import printable, redacted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.core.errors import TokenError
    from broker.core.model import BoundToken
    from broker.trust.explain import Explanation, Obstacle, StatementExplanation, WebIdentity
    from broker.trust.sources import Source

_CAVEAT = "STS also checks the token's signature and age, and that the provider exists and lists the audience."


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplanationReport:
    """The explanation and what it is about.

    `origin` is where the token was read. `token_fault` is why STS would reject the token under any policy, or None.
    """

    source: Source
    token: BoundToken
    origin: str
    identity: WebIdentity
    explanation: Explanation
    token_fault: TokenError | None


def as_json(report: ExplanationReport) -> dict[str, object]:
    """Return the report as JSON values."""
    explanation, identity, token_fault = report.explanation, report.identity, report.token_fault
    return {
        "allowed": explanation.allowed,
        "reason": explanation.reason,
        "policy": {"file": report.source.file, "address": report.source.address},
        "token": {
            "fingerprint": report.token.fingerprint,
            "issuer": identity.issuer,
            "subject": identity.subject,
            "audience": explanation.audience,
            "fault": None if token_fault is None else {"reason": token_fault.reason, "message": token_fault.message},
        },
        "session_name": identity.session_name,
        "provider": explanation.provider,
        "statements": [
            {
                "name": one.name,
                "line": one.line,
                "effect": one.effect,
                "outcome": one.outcome,
                "obstacles": [_describe_obstacle(obstacle) for obstacle in one.obstacles],
            }
            for one in explanation.statements
        ],
    }


def _describe_obstacle(one: Obstacle) -> dict[str, object]:
    change = one.change
    return {
        "part": one.part,
        "reason": one.reason,
        "operator": one.operator,
        "key": one.key,
        "expected": list(one.expected),
        "found": None if one.found is None else list(one.found),
        "change": None
        if change is None
        else {
            "action": change.action,
            "sentence": change.sentence,
            "key": change.key,
            "old": change.old,
            "new": change.new,
        },
    }


def as_text(report: ExplanationReport) -> str:
    """Return the report as text: the verdict, the web identity, and each statement."""
    return "".join(f"{redacted(printable(line))}\n" for line in _write_lines(report))


def _write_lines(report: ExplanationReport) -> Iterator[str]:
    explanation, identity = report.explanation, report.identity
    yield f"{'allowed' if explanation.allowed else 'not allowed'}: {explanation.reason}"
    if report.token_fault is not None:
        start = "but STS" if explanation.allowed else "STS"
        yield f"{start} would reject the token: {report.token_fault} [{report.token_fault.reason}]"
    yield ""
    yield f"policy    {report.source.place}"
    yield f"token     {report.token.fingerprint} from {report.origin} (unverified)"
    yield f"issuer    {identity.issuer}"
    yield f"subject   {identity.subject}"
    yield f"audience  {explanation.audience}"
    yield f"session   {identity.session_name}"
    yield f"provider  {explanation.provider}"
    for statement in explanation.statements:
        yield ""
        yield from _write_statement(statement)
    yield ""
    yield _CAVEAT


def _write_statement(one: StatementExplanation) -> Iterator[str]:
    yield f"{one.name} ({one.effect or 'no Effect'}, line {one.line}): {one.outcome}"
    for obstacle in one.obstacles:
        if obstacle.part != "condition":
            yield f"  {obstacle.part}: {obstacle.reason}"
        else:
            yield f"  {obstacle.operator} {obstacle.key}"
            yield f"    expected  {' | '.join(obstacle.expected)}"
            yield f"    found     {_describe_found(obstacle)}"
        if obstacle.change is not None:
            yield f"    change    {obstacle.change.sentence}"


def _describe_found(one: Obstacle) -> str:
    if one.found is not None:
        _, _, why = one.reason.partition("; the key's value")
        return " | ".join(one.found) + (f" (the key's value{why})" if why else "")
    return f"nothing: {one.reason}" if one.change is None and not one.reason.startswith(one.operator) else "nothing"
