"""Condition operators against simple oracles, and IAM's rules for absent keys in a table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.policy.conditions import NotUnderstood, failures, matches_wildcard

KEY = "oidc.example:sub"
letters = st.text(alphabet="abA", max_size=4)
patterns = st.text(alphabet="abA*?", max_size=5)
several = st.lists(letters, min_size=1, max_size=3)
BARE = [
    "StringEquals",
    "StringNotEquals",
    "StringEqualsIgnoreCase",
    "StringNotEqualsIgnoreCase",
    "StringLike",
    "StringNotLike",
]


def holds(operator: str, expected: object, found: list[str] | None) -> bool:
    context = {} if found is None else {KEY: found}
    return not failures({operator: {KEY.upper(): expected}}, context)


def naive_wildcard(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(naive_wildcard(pattern[1:], text[start:]) for start in range(len(text) + 1))
    return bool(text) and pattern[0] in ("?", text[0]) and naive_wildcard(pattern[1:], text[1:])


@given(pattern=patterns, text=letters)
def test_wildcards_match_as_the_naive_definition(pattern: str, text: str) -> None:
    assert matches_wildcard(pattern, text) is naive_wildcard(pattern, text)


@pytest.mark.parametrize("text", ["a.c", "a+c", "[a]", "(a|b)", "a\\d", "^a$", "a\nb"])
def test_other_characters_stand_for_themselves(text: str) -> None:
    assert matches_wildcard(text, text)
    assert matches_wildcard("*", text)
    assert not matches_wildcard(text, "axc")


@given(expected=several, found=letters)
def test_equals_is_membership(expected: list[str], found: str) -> None:
    assert holds("StringEquals", expected, [found]) is (found in expected)
    assert holds("StringNotEquals", expected, [found]) is (found not in expected)


@given(expected=several, found=letters)
def test_ignoring_case_is_membership_in_lower_case(expected: list[str], found: str) -> None:
    oracle = found.lower() in [one.lower() for one in expected]
    assert holds("StringEqualsIgnoreCase", expected, [found]) is oracle
    assert holds("StringNotEqualsIgnoreCase", expected, [found]) is not oracle


@given(expected=st.lists(patterns, min_size=1, max_size=3), found=letters)
def test_like_is_any_pattern(expected: list[str], found: str) -> None:
    oracle = any(naive_wildcard(pattern, found) for pattern in expected)
    assert holds("StringLike", expected, [found]) is oracle
    assert holds("StringNotLike", expected, [found]) is not oracle


@given(expected=several, found=several)
def test_set_prefixes_quantify_over_the_context(expected: list[str], found: list[str]) -> None:
    assert holds("ForAnyValue:StringEquals", expected, found) is bool(set(expected) & set(found))
    assert holds("ForAllValues:StringEquals", expected, found) is (set(found) <= set(expected))
    assert holds("ForAnyValue:StringNotEquals", expected, found) is bool(set(found) - set(expected))
    assert holds("ForAllValues:StringNotEquals", expected, found) is (not set(expected) & set(found))


@given(operator=st.sampled_from(BARE), expected=several, found=letters)
def test_if_exists_changes_nothing_for_a_key_that_exists(operator: str, expected: list[str], found: str) -> None:
    assert holds(operator + "IfExists", expected, [found]) is holds(operator, expected, [found])


@pytest.mark.parametrize("bare", BARE)
def test_absent_key(bare: str) -> None:
    absences: tuple[list[str] | None, ...] = (None, [])
    for found in absences:
        assert holds(bare, "x", found) is ("Not" in bare)
        assert holds(bare + "IfExists", "x", found)
        assert holds("ForAllValues:" + bare, "x", found)
        assert not holds("ForAnyValue:" + bare, "x", found)
        assert holds("ForAnyValue:" + bare + "IfExists", "x", found)


ROLE = "arn:aws:iam::123456789012:role/team/app"


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        (ROLE, True),
        ("arn:aws:iam::123456789012:role/*", True),
        ("arn:*:iam::*:role/team/a?p", True),
        ("arn:aws:iam::123456789012:role/other", False),
        ("arn:aws:iam::*", False),
        ("arn:aws:iam:*:role/team/app", False),
        ("*", False),
    ],
)
@pytest.mark.parametrize("kind", ["Equals", "Like"])
def test_arns_match_part_by_part(kind: str, pattern: str, *, matches: bool) -> None:
    assert holds(f"Arn{kind}", pattern, [ROLE]) is matches
    assert holds(f"ArnNot{kind}", pattern, [ROLE]) is not matches


def test_arn_that_is_absent_equals_nothing() -> None:
    assert not holds("ArnLike", "arn:aws:iam::*:role/*", None)
    assert holds("ArnNotLike", "arn:aws:iam::*:role/*", None)


def test_null_asks_for_absence() -> None:
    for absent in ("true", True, "True"):
        assert holds("Null", absent, None)
        assert not holds("Null", absent, ["x"])
    for present in ("false", False, ["false"]):
        assert holds("Null", present, ["x"])
        assert not holds("Null", present, None)
    assert holds("Null", ["true", "false"], None)


@pytest.mark.parametrize("operator", ["NumericEquals", "stringequals", "ForSomeValue:StringEquals", "NullIfExists"])
def test_unknown_operator_is_not_guessed_at(operator: str) -> None:
    for found in (None, ["x"]):
        with pytest.raises(NotUnderstood, match="not supported"):
            holds(operator, "x", found)


@given(first=st.sampled_from(BARE), second=st.sampled_from(BARE), expected=several, found=letters, absent=st.booleans())
def test_operators_are_anded(first: str, second: str, expected: list[str], found: str, *, absent: bool) -> None:
    context = {} if absent else {KEY: [found]}
    both = not failures({first: {KEY: expected}, second: {KEY: expected}}, context)
    values = None if absent else [found]
    assert first == second or both is (holds(first, expected, values) and holds(second, expected, values))
