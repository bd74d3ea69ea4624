"""Says what `sts-broker trust explain` came to: for people, and as JSON.

Rules: never the token, nor its signature; claims and policies are anybody's text, and are made printable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.core.model import printable, redacted
from broker.trust.explain import ONLY_STS_KNOWS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.core.errors import TokenError
    from broker.core.model import BoundToken
    from broker.trust.explain import Asker, Explained, Explanation, Obstacle
    from broker.trust.sources import Source

_CAVEAT = "STS also checks the token's signature and age, and that the provider exists and lists the audience."


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """All there is to say. `unfit` is why the token must not be sent whatever the policy says, or None."""

    source: Source
    token: BoundToken
    origin: str
    asker: Asker
    explanation: Explanation
    unfit: TokenError | None


def as_json(answer: Answer) -> dict[str, object]:
    """Return the answer as JSON values."""
    explanation, asker, unfit = answer.explanation, answer.asker, answer.unfit
    return {
        "allowed": explanation.allowed,
        "reason": explanation.reason,
        "policy": {"file": answer.source.file, "address": answer.source.address},
        "token": {
            "fingerprint": answer.token.fingerprint,
            "issuer": asker.issuer,
            "subject": asker.subject,
            "audience": explanation.audience,
            "fault": None if unfit is None else {"reason": unfit.reason, "message": unfit.message},
        },
        "session_name": asker.session_name,
        "provider": explanation.provider,
        "statements": [
            {
                "name": one.name,
                "line": one.line,
                "effect": one.effect,
                "outcome": one.outcome,
                "obstacles": [_obstacle(obstacle) for obstacle in one.obstacles],
            }
            for one in explanation.statements
        ],
    }


def _obstacle(one: Obstacle) -> dict[str, object]:
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


def as_text(answer: Answer) -> str:
    """Return the answer for people: the verdict, who asks, and each statement."""
    return "".join(f"{redacted(printable(line))}\n" for line in _lines(answer))


def _lines(answer: Answer) -> Iterator[str]:
    explanation, asker = answer.explanation, answer.asker
    yield f"{'yes' if explanation.allowed else 'no'}: {explanation.reason}"
    if answer.unfit is not None:
        yield f"but the token cannot be used: {answer.unfit} [{answer.unfit.reason}]"
    yield ""
    yield f"policy    {answer.source.place}"
    yield f"token     {answer.token.fingerprint} from {answer.origin} (unverified)"
    yield f"issuer    {asker.issuer}"
    yield f"subject   {asker.subject}"
    yield f"audience  {explanation.audience}"
    yield f"session   {asker.session_name}"
    yield f"provider  {explanation.provider}"
    for statement in explanation.statements:
        yield ""
        yield from _statement(statement)
    yield ""
    yield _CAVEAT


def _statement(one: Explained) -> Iterator[str]:
    yield f"{one.name} ({one.effect or 'no Effect'}, line {one.line}): {one.outcome}"
    for obstacle in one.obstacles:
        if obstacle.part != "condition":
            yield f"  {obstacle.part}: {obstacle.reason}"
        else:
            yield f"  {obstacle.operator} {obstacle.key}"
            yield f"    expected  {' | '.join(obstacle.expected)}"
            yield f"    found     {_found(obstacle)}"
        if obstacle.change is not None:
            yield f"    change    {obstacle.change.sentence}"


def _found(one: Obstacle) -> str:
    if one.found is not None:
        return " | ".join(one.found)
    return f"nothing: {one.reason}" if one.reason == ONLY_STS_KNOWS else "nothing"
