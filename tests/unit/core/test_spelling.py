"""Suggestions for misspelled names."""

from __future__ import annotations

import pytest

from broker.core.spelling import suggest


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("BROKER_DURATON_SECONDS", " (did you mean BROKER_DURATION_SECONDS?)"),
        ("broker_duration_seconds", " (did you mean BROKER_DURATION_SECONDS?)"),
        ("BROKER_LOGLEVEL", " (did you mean BROKER_LOG_LEVEL?)"),
        ("KAFKA", ""),
        ("", ""),
    ],
)
def test_misspelled_name_gets_the_nearest_known_one(name: str, suggestion: str) -> None:
    assert suggest(name, ["BROKER_DURATION_SECONDS", "BROKER_LOG_LEVEL"]) == suggestion
