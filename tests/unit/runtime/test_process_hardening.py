"""Core dumps are off for the broker, and as before for the command of `exec`."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

import pytest

from broker.runtime.process_hardening import forbid_core_dumps, use_core_limits

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def limits() -> Iterator[tuple[int, int]]:
    """Set a soft limit that is neither 0 nor the hard limit, and restore the limits afterwards."""
    before = resource.getrlimit(resource.RLIMIT_CORE)
    given = (4096, before[1])
    resource.setrlimit(resource.RLIMIT_CORE, given)
    yield given
    resource.setrlimit(resource.RLIMIT_CORE, before)


def test_core_dumps_are_off_and_the_earlier_limits_are_returned(limits: tuple[int, int]) -> None:
    assert forbid_core_dumps() == limits
    assert resource.getrlimit(resource.RLIMIT_CORE) == (0, limits[1]), "the hard limit stays, so that it can be undone"


def test_earlier_limits_apply_within_the_block_only(limits: tuple[int, int]) -> None:
    forbid_core_dumps()
    with use_core_limits(limits):
        assert resource.getrlimit(resource.RLIMIT_CORE) == limits
    assert resource.getrlimit(resource.RLIMIT_CORE) == (0, limits[1])


def test_core_dumps_are_off_again_if_the_command_cannot_be_started(limits: tuple[int, int]) -> None:
    with pytest.raises(FileNotFoundError), use_core_limits(limits):
        raise FileNotFoundError
    assert resource.getrlimit(resource.RLIMIT_CORE) == (0, limits[1])
