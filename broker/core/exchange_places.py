"""Which of the profiles that are due get one of the few places for exchanges.

Rules: profiles whose last exchange succeeded come first, in the order in which their credentials lapse. Then come those
whose last exchange failed, in the order in which it failed, and the slow failures last: a profile that always hangs
takes a place for long, and must not delay the others. A chained role waits while its source has a place. This module is
pure: it changes no profile.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from broker.core.records import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broker.core.model import Proof
    from broker.core.profile_state import ProfileState
    from broker.core.schedule import Reason

MAXIMUM_EXCHANGES_AT_ONCE = 8
SLOW_FAILURE = timedelta(seconds=5)
"""A failed exchange that took at least this long is slow."""
_LAPSED = datetime.min.replace(tzinfo=UTC)
_Rank = tuple[bool, bool, timedelta, datetime]


class Candidate(Struct, frozen=True, kw_only=True, eq=False):
    """A profile that is due, what to exchange for it, and why."""

    state: ProfileState
    proof: Proof
    reason: Reason


def select_candidates(candidates: Sequence[Candidate], free_places: int) -> Sequence[Candidate]:
    """Return the candidates that get a place now, in the order in which they begin.

    Sources must precede the roles chained to them in `candidates`. With equal rank, that order is kept.
    """
    lapses = _find_lapses(candidates)
    ranked = sorted(candidates, key=lambda candidate: _rank(candidate.state, lapses))
    while True:
        chosen = ranked[:free_places]
        states = {id(candidate.state) for candidate in chosen}
        waiting = {id(each) for each in chosen if any(id(source) in states for source in each.state.iterate_sources())}
        if not waiting:
            return chosen
        ranked = [candidate for candidate in ranked if id(candidate) not in waiting]


def _rank(state: ProfileState, lapses: Mapping[int, datetime]) -> _Rank:
    """Return the sort key of a profile."""
    failure = state.exchange_failure
    if failure is None:
        return False, False, timedelta(0), lapses[id(state)]
    return True, failure.took >= SLOW_FAILURE, failure.at, _LAPSED


def _find_lapses(candidates: Sequence[Candidate]) -> Mapping[int, datetime]:
    """Return when the credentials of each state lapse, by its id. Without credentials, they count as lapsed.

    A source counts as lapsing with the first of the candidates that are chained to it.
    """
    lapses: dict[int, datetime] = {}
    for state in (candidate.state for candidate in candidates):
        lapses_at = state.credentials.planned_expiry if state.credentials else _LAPSED
        for each in (state, *state.iterate_sources()):
            lapses[id(each)] = min(lapses_at, lapses.get(id(each), lapses_at))
    return lapses
