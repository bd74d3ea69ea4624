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


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("publish", " (did you mean publish_mode?)"),
        ("pub", " (did you mean publish_mode?)"),
        ("pu", ""),
        ("publish_dir", " (did you mean publish_directory?)"),
    ],
)
def test_shortest_name_that_begins_with_the_given_one_is_the_nearest(name: str, suggestion: str) -> None:
    assert suggest(name, ["publish_directory", "publish_mode"]) == suggestion


def test_ignored_prefix_does_not_make_names_similar() -> None:
    known = ["BROKER_CONFIG", "AWS_ROLE_ARN"]
    prefixes = ("BROKER_", "AWS_")
    assert suggest("BROKER_KAFKA", known, ignored_prefixes=prefixes) == ""
    assert suggest("BROKER_ROLE_ARN", known, ignored_prefixes=prefixes) == " (did you mean AWS_ROLE_ARN?)"
