"""When a size is near its limit, and whether that is new."""

from __future__ import annotations

import pytest

from broker.core.session_sizes import is_newly_near


@pytest.mark.parametrize(
    ("percent", "before", "expected"),
    [
        (None, None, False),
        (None, 90, False),
        (79, None, False),
        (80, None, True),
        (80, 79, True),
        (80, 80, False),
        (100, 80, True),
        (80, 100, True),
        (79, 100, False),
    ],
)
def test_size_is_newly_near_from_80_percent_on_if_it_has_changed(
    percent: int | None, before: int | None, *, expected: bool
) -> None:
    assert is_newly_near(percent, before) is expected
