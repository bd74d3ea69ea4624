"""The result of a demo: the lines of the summary, and every reason why the demo failed.

A demo is good if no call of the app failed or was refused, and the app used at least two generations of credentials.
The lines are plain text.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from sandbox.demo.progress import Lifespan, Progress

MINIMUM_GENERATIONS = 2
SUFFICIENT_SECONDS = 10
_NEXT = 'Next: in README.md, "Who needs it, and who does not" and "In a pod".'


def find_shortcomings(progress: Progress, *, ended_after: timedelta) -> list[str]:
    """Return the reasons why the demo is not good. An empty list means that it is."""
    found = list(progress.unexpected_exits)
    if progress.failures:
        first = progress.failures[0]
        found.append(
            f"{_count(len(progress.failures), 'call')} of the app failed, "
            f"the first {_format_time(progress, first.at)}: {first.failure}"
        )
    if progress.refusals:
        refusal = progress.refusals[0]
        details = f" ({refusal.reason})" if refusal.reason else ""
        details += "; the SDK retried" if len(progress.refusals) > len(progress.failures) else ""
        found.append(
            f"STS refused {_count(len(progress.refusals), 'call')} of the app, "
            f"the first {_format_time(progress, refusal.time)}: {refusal.outcome}{details}"
        )
    return found or _explain_missing_generations(progress, ended_after)


def summarize(progress: Progress, *, ended_after: timedelta) -> list[str]:
    """Return the lines of the summary."""
    remaining = progress.shortest_remaining
    retries = f", {_count(progress.retries, 'retry', 'retries')} inside the SDK" if progress.retries else ""
    rotations = _count(max(len(progress.tokens) - 1, 0), "rotation")
    generations = _count(len(progress.generations), "generation")
    rows = [
        ("kubelet", f"{rotations} of the token{_format_lifetime(progress.tokens)}"),
        ("STS", f"{_count(len(progress.exchanges), 'exchange')}, {len(progress.failed_exchanges)} failed"),
        ("broker", f"{generations} of credentials{_format_lifetime(progress.generations)}"),
        ("app", f"{_count(len(progress.calls), 'call')}, {len(progress.failures)} failed{retries}"),
    ]
    if progress.calls:
        rows.append(("", f"signed by {_count(len(progress.signers), 'generation')}"))
    if remaining is not None:
        rows.append(("", f"shortest remaining lifetime at a call: {remaining.total_seconds():.1f} s"))
    if progress.arn:
        rows.append(("", progress.arn))
    return [f"Ended after {ended_after.total_seconds():.1f} s.", *(f"  {actor:<8} {text}" for actor, text in rows)]


def write_verdict(progress: Progress, shortcomings: list[str]) -> list[str]:
    """Return the lines of the verdict, and for a good demo what to read next."""
    if shortcomings:
        return ["FAILED: the demo did not show a successful refresh.", *(f"  - {reason}" for reason in shortcomings)]
    refreshes = _count(len(progress.signers) - 1, "refresh", "refreshes")
    return [f"OK: all {len(progress.calls)} calls of one boto3 session succeeded, across {refreshes}.", _NEXT]


def _explain_missing_generations(progress: Progress, ended_after: timedelta) -> list[str]:
    published, used = len(progress.generations), len(progress.signers)
    problem = next((one.text for one in reversed(progress.events) if one.is_problem), "")
    details = f" Last problem: {problem}" if problem else ""
    if not problem and ended_after.total_seconds() < SUFFICIENT_SECONDS:
        details = f" Run the demo longer, for example with --seconds {SUFFICIENT_SECONDS}."
    if published < MINIMUM_GENERATIONS:
        return [f"The broker published {_count(published, 'generation')}; {MINIMUM_GENERATIONS} are needed.{details}"]
    if used < MINIMUM_GENERATIONS:
        return [f"The app used {_count(used, 'generation')}; {MINIMUM_GENERATIONS} are needed.{details}"]
    return []


def _format_time(progress: Progress, at: datetime) -> str:
    return f"at {(at - progress.began_at).total_seconds():.1f} s"


def _format_lifetime(spans: list[Lifespan]) -> str:
    """Return the longest lifetime. Each one is shorter than the session by the time that its publication took."""
    longest = max((span.expires_at - span.began_at for span in spans), default=None)
    return f", valid for {ceil(longest.total_seconds())} s" if longest else ""


def _count(number: int, singular: str, plural: str = "") -> str:
    return f"{number} {singular if number == 1 else plural or f'{singular}s'}"
