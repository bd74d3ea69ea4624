"""What a client's calls say about it. Pure; the words are those of the README's table.

Rules: a generation is an access key that signed at least one accepted call; a client follows only if it lived through
`GENERATIONS` of them, not one of its calls was refused or failed, since an SDK that is refused, reads anew and retries
has failed for a moment, and it was never silent for `SILENCE_SECONDS`, waiting for credentials. A client that never
signed a call, and said so each time, does not know the way; what else never worked, not even in a fresh process, is
said to fail, never left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ACCEPTED = "accepted"
GENERATIONS = 3
SILENCE_SECONDS = 15.0


class Verdict(StrEnum):
    """What is told of a client and a way of delivery."""

    FOLLOWS = "follows"
    AFTER_FAILURES = "follows after failed calls"
    FRESH_ONLY = "fresh process only"
    NOT_SUPPORTED = "not supported"
    FAILS = "**fails**"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call that reached an endpoint: when, who signed it, and `ACCEPTED` or the code of the refusal."""

    at_seconds: float
    access_key_id: str
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What one long-lived process did, seen from the endpoint; `failed` is what it said of itself.

    `silences` are the times that it made no call for longer than any client pauses.
    """

    generations: int
    accepted: int
    refused: int
    failed: int
    silences: int

    @property
    def is_faultless(self) -> bool:
        """Whether nothing went wrong."""
        return self.refused + self.failed + self.silences == 0

    @property
    def is_settled(self) -> bool:
        """Whether more time would hardly change the verdict."""
        return self.generations >= GENERATIONS or not self.is_faultless


def count(calls: Sequence[Call], failed: int) -> Counts:
    """Count calls by how they ended, and the generations that signed those accepted."""
    accepted = [call.access_key_id for call in calls if call.outcome == ACCEPTED]
    return Counts(
        generations=len(set(accepted)),
        accepted=len(accepted),
        refused=len(calls) - len(accepted),
        failed=failed,
        silences=sum(later.at_seconds - call.at_seconds > SILENCE_SECONDS for call, later in pairwise(calls)),
    )


def judge(counts: Counts, *, fresh_process_works: bool) -> Verdict:
    """Give the verdict; what a fresh process does at the end matters only where the long-lived one did not follow."""
    if counts.generations >= GENERATIONS:
        return Verdict.FOLLOWS if counts.is_faultless else Verdict.AFTER_FAILURES
    if fresh_process_works:
        return Verdict.FRESH_ONLY
    never_signed = counts.accepted + counts.refused == 0
    return Verdict.NOT_SUPPORTED if never_signed and counts.failed else Verdict.FAILS
