"""Judges clients by their calls. Pure. The verdicts are the words of the table in docs/sdks.md.

A generation is an access key that signed at least one accepted call. A client "follows" if all of this is true:

- It used at least `GENERATIONS` generations.
- No call was refused or failed. An SDK that is refused, reads new credentials and retries has failed for a moment.
- It was never silent for `SILENCE_SECONDS`, for example while it waited for credentials.

A client that reported a failure for each call and never signed one does not support the delivery. Any other client that
never worked, even in a new process, fails.
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
    """The verdict on a client with one delivery."""

    FOLLOWS = "follows"
    AFTER_FAILURES = "follows after failed calls"
    FRESH_ONLY = "fresh process only"
    NOT_SUPPORTED = "not supported"
    FAILS = "**fails**"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call that reached an endpoint. `outcome` is `ACCEPTED` or the error code of the refusal."""

    at_seconds: float
    access_key_id: str
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The counts of one long-lived process, from the endpoint's record. The process itself reports `failed` calls.

    `silences` counts the pauses between calls that were longer than `SILENCE_SECONDS`.
    """

    generations: int
    accepted: int
    refused: int
    failed: int
    silences: int

    @property
    def is_faultless(self) -> bool:
        """Whether there was no refused or failed call and no silence."""
        return self.refused + self.failed + self.silences == 0

    @property
    def is_settled(self) -> bool:
        """Whether the verdict would not change with more time."""
        return self.generations >= GENERATIONS or not self.is_faultless


def count(calls: Sequence[Call], failed: int) -> Counts:
    """Count the calls by outcome, and the generations that signed accepted calls."""
    accepted = [call.access_key_id for call in calls if call.outcome == ACCEPTED]
    return Counts(
        generations=len(set(accepted)),
        accepted=len(accepted),
        refused=len(calls) - len(accepted),
        failed=failed,
        silences=sum(later.at_seconds - call.at_seconds > SILENCE_SECONDS for call, later in pairwise(calls)),
    )


def judge(counts: Counts, *, fresh_process_works: bool) -> Verdict:
    """Return the verdict. `fresh_process_works` matters only if the long-lived process did not follow."""
    if counts.generations >= GENERATIONS:
        return Verdict.FOLLOWS if counts.is_faultless else Verdict.AFTER_FAILURES
    if fresh_process_works:
        return Verdict.FRESH_ONLY
    never_signed = counts.accepted + counts.refused == 0
    return Verdict.NOT_SUPPORTED if never_signed and counts.failed else Verdict.FAILS
