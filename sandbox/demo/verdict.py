"""What a demo has shown: the summary's lines, and every reason why it did not show what it promises.

Rules: good is only what the app saw: no call failed or was refused, and its calls were signed by two generations or
more; whoever reads a reason learns what to look at.
It refuses to know screens: its lines are plain text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from sandbox.demo.story import Life, Story

GENERATIONS_NEEDED = 2
ENOUGH_SECONDS = 10
_NEXT = 'Next: README.md, "Who needs it, and who does not", then "In a pod".'


def shortcomings(story: Story, *, ended_after: timedelta) -> list[str]:
    """Say what is missing from a good demo; empty where nothing is."""
    found = list(story.deaths)
    if story.failures:
        first = story.failures[0]
        found.append(
            f"{_count(len(story.failures), 'call')} of the app failed, "
            f"the first {_since(story, first.at)}: {first.failure}"
        )
    if story.refusals:
        refusal = story.refusals[0]
        why = f" ({refusal.reason})" if refusal.reason else ""
        why += "; the SDK tried again" if len(story.refusals) > len(story.failures) else ""
        found.append(
            f"STS refused {_count(len(story.refusals), 'call')} of the app, "
            f"the first {_since(story, refusal.time)}: {refusal.outcome}{why}"
        )
    return found or _too_few(story, ended_after)


def summary(story: Story, *, ended_after: timedelta) -> list[str]:
    """Count what happened."""
    left = story.shortest_life_left
    again = f", {_count(story.retries, 'retry', 'retries')} inside the SDK" if story.retries else ""
    rows = [
        ("kubelet", f"{_count(max(len(story.tokens) - 1, 0), 'rotation')} of a token that lives {_life(story.tokens)}"),
        ("STS", f"{_count(len(story.exchanges), 'exchange')}, {len(story.refused_exchanges)} failed"),
        (
            "broker",
            f"{_count(len(story.generations), 'generation')} of credentials that live {_life(story.generations)}",
        ),
        ("app", f"{_count(len(story.calls), 'call')}, {len(story.failures)} failed{again}"),
    ]
    if story.calls:
        rows.append(("", f"signed by {_count(len(story.signers), 'generation')}"))
    if left is not None:
        rows.append(("", f"never with less than {left.total_seconds():.1f} s of life left"))
    if story.arn:
        rows.append(("", story.arn))
    return [f"Ended after {ended_after.total_seconds():.1f} s.", *(f"  {actor:<8} {text}" for actor, text in rows)]


def verdict(story: Story, missing: list[str]) -> list[str]:
    """Say how it went, and what to do next."""
    if missing:
        return ["FAILED: this demo did not show what it promises.", *(f"  - {reason}" for reason in missing)]
    refreshes = _count(len(story.signers) - 1, "refresh", "refreshes")
    return [f"OK: all {len(story.calls)} calls of one boto3 session succeeded, across {refreshes}.", _NEXT]


def _too_few(story: Story, ended_after: timedelta) -> list[str]:
    published, seen = len(story.generations), len(story.signers)
    trouble = next((one.text for one in reversed(story.happenings) if one.trouble), "")
    why = f"; the last trouble: {trouble}" if trouble else ""
    if not trouble and ended_after.total_seconds() < ENOUGH_SECONDS:
        why = f": give it time, --seconds {ENOUGH_SECONDS} is enough"
    if published < GENERATIONS_NEEDED:
        return [f"the broker published {_count(published, 'generation')}, {GENERATIONS_NEEDED} are needed{why}"]
    if seen < GENERATIONS_NEEDED:
        return [f"the app's calls were signed by {_count(seen, 'generation')}, {GENERATIONS_NEEDED} are needed{why}"]
    return []


def _since(story: Story, at: datetime) -> str:
    return f"at {(at - story.begun_at).total_seconds():.1f} s"


def _life(lives: list[Life]) -> str:
    return f"{(lives[-1].expires_at - lives[-1].begun_at).total_seconds():.0f} s" if lives else "no time"


def _count(number: int, singular: str, plural: str = "") -> str:
    return f"{number} {singular if number == 1 else plural or f'{singular}s'}"
