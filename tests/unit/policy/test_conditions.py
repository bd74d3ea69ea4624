"""Condition operators compared with simple oracles, and a table of IAM's rules for absent keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.policy.conditions import NotUnderstood, find_failures, matches_wildcard

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


def condition_matches(operator: str, expected: object, found: list[str] | None) -> bool:
    context = {} if found is None else {KEY: found}
    return not find_failures({operator: {KEY.upper(): expected}}, context)


def naive_wildcard(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(naive_wildcard(pattern[1:], text[start:]) for start in range(len(text) + 1))
    return bool(text) and pattern[0] in ("?", text[0]) and naive_wildcard(pattern[1:], text[1:])


@given(pattern=patterns, text=letters)
def test_wildcard_match_equals_the_naive_definition(pattern: str, text: str) -> None:
    assert matches_wildcard(pattern, text) is naive_wildcard(pattern, text)


@pytest.mark.parametrize("text", ["a.c", "a+c", "[a]", "(a|b)", "a\\d", "^a$", "a\nb"])
def test_other_characters_match_literally(text: str) -> None:
    assert matches_wildcard(text, text)
    assert matches_wildcard("*", text)
    assert not matches_wildcard(text, "axc")


@given(expected=several, found=letters)
def test_equals_matches_any_listed_value(expected: list[str], found: str) -> None:
    assert condition_matches("StringEquals", expected, [found]) is (found in expected)
    assert condition_matches("StringNotEquals", expected, [found]) is (found not in expected)


@given(expected=several, found=letters)
def test_equals_ignore_case_matches_any_listed_value_in_lower_case(expected: list[str], found: str) -> None:
    oracle = found.lower() in [one.lower() for one in expected]
    assert condition_matches("StringEqualsIgnoreCase", expected, [found]) is oracle
    assert condition_matches("StringNotEqualsIgnoreCase", expected, [found]) is not oracle


@given(expected=st.lists(patterns, min_size=1, max_size=3), found=letters)
def test_like_matches_any_listed_pattern(expected: list[str], found: str) -> None:
    oracle = any(naive_wildcard(pattern, found) for pattern in expected)
    assert condition_matches("StringLike", expected, [found]) is oracle
    assert condition_matches("StringNotLike", expected, [found]) is not oracle


@given(expected=several, found=several)
def test_set_prefix_quantifies_over_the_context_values(expected: list[str], found: list[str]) -> None:
    assert condition_matches("ForAnyValue:StringEquals", expected, found) is bool(set(expected) & set(found))
    assert condition_matches("ForAllValues:StringEquals", expected, found) is (set(found) <= set(expected))
    assert condition_matches("ForAnyValue:StringNotEquals", expected, found) is bool(set(found) - set(expected))
    assert condition_matches("ForAllValues:StringNotEquals", expected, found) is (not set(expected) & set(found))


@given(operator=st.sampled_from(BARE), expected=several, found=letters)
def test_if_exists_has_no_effect_on_a_present_key(operator: str, expected: list[str], found: str) -> None:
    assert condition_matches(operator + "IfExists", expected, [found]) is condition_matches(operator, expected, [found])


@pytest.mark.parametrize("bare", BARE)
def test_absent_key_matches_only_negated_and_if_exists_operators(bare: str) -> None:
    absences: tuple[list[str] | None, ...] = (None, [])
    for found in absences:
        assert condition_matches(bare, "x", found) is ("Not" in bare)
        assert condition_matches(bare + "IfExists", "x", found)
        assert condition_matches("ForAllValues:" + bare, "x", found)
        assert not condition_matches("ForAnyValue:" + bare, "x", found)
        assert condition_matches("ForAnyValue:" + bare + "IfExists", "x", found)


ROLE = "arn:aws:iam::123456789012:role/team/app"


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        (ROLE, True),
        ("arn:aws:iam::123456789012:role/*", True),
        ("arn:*:iam::*:role/team/a?p", True),
        ("arn:aws:iam::123456789012:role/other", False),
        ("arn:aws:iam:*:*:role/other", False),
        ("arn:*:*:*:*:*", True),
    ],
)
@pytest.mark.parametrize("kind", ["Equals", "Like"])
def test_arn_is_matched_part_by_part(kind: str, pattern: str, *, matches: bool) -> None:
    assert condition_matches(f"Arn{kind}", pattern, [ROLE]) is matches
    assert condition_matches(f"ArnNot{kind}", pattern, [ROLE]) is not matches


@pytest.mark.parametrize("pattern", ["*", "arn:*", "arn:aws:iam::*", "arn:aws:iam:*:role/team/app", "*:*:*:*:*:*", ""])
@pytest.mark.parametrize(
    "operator", ["ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike", "ForAnyValue:ArnLikeIfExists"]
)
@pytest.mark.parametrize("found", [[ROLE], None])
def test_pattern_that_is_not_an_arn_is_not_understood(operator: str, pattern: str, found: list[str] | None) -> None:
    with pytest.raises(NotUnderstood, match="compares ARNs"):
        condition_matches(operator, ["arn:aws:iam::*:role/*", pattern], found)


@pytest.mark.parametrize("value", ["system:serviceaccount:demo:app", "a:b:c:d:e:f", "arn:aws:iam::1"])
def test_value_that_is_not_an_arn_never_matches(value: str) -> None:
    assert not condition_matches("ArnLike", "arn:*:*:*:*:*", [value])
    with pytest.raises(NotUnderstood, match="isn't one"):
        condition_matches("ArnNotLike", "arn:aws:iam::1:role/*", [value])


@pytest.mark.parametrize(
    ("operator", "value", "matches"),
    [
        ("NumericEquals", "42", True),
        ("NumericEquals", "42.0", True),
        ("NumericEquals", 42, True),
        ("NumericEquals", ["7", "43"], False),
        ("NumericNotEquals", "42", False),
        ("NumericLessThan", "43", True),
        ("NumericLessThan", "42", False),
        ("NumericLessThanEquals", "42", True),
        ("NumericGreaterThan", "5", True),
        ("NumericGreaterThan", "42", False),
        ("NumericGreaterThanEquals", "42", True),
    ],
)
def test_numbers_are_compared_as_numbers(operator: str, value: object, *, matches: bool) -> None:
    assert condition_matches(operator, value, ["42"]) is matches


@pytest.mark.parametrize(("value", "found"), [("x", "42"), ("42", "x"), ("NaN", "42"), ("4_2", "42"), (True, "42")])
def test_text_that_is_not_a_number_is_not_understood(value: object, found: str) -> None:
    for operator in ("NumericEquals", "NumericNotEquals"):
        with pytest.raises(NotUnderstood, match="isn't a decimal number"):
            condition_matches(operator, value, [found])


def test_absent_arn_matches_only_negated_operators() -> None:
    assert not condition_matches("ArnLike", "arn:aws:iam::*:role/*", None)
    assert condition_matches("ArnNotLike", "arn:aws:iam::*:role/*", None)


def test_null_tests_for_absence() -> None:
    for absent in ("true", True, "True"):
        assert condition_matches("Null", absent, None)
        assert not condition_matches("Null", absent, ["x"])
    for present in ("false", False, ["false"]):
        assert condition_matches("Null", present, ["x"])
        assert not condition_matches("Null", present, None)
    assert condition_matches("Null", ["true", "false"], None)


@pytest.mark.parametrize("operator", ["DateEquals", "stringequals", "ForSomeValue:StringEquals", "NullIfExists"])
def test_unknown_operator_is_not_understood(operator: str) -> None:
    for found in (None, ["x"]):
        with pytest.raises(NotUnderstood, match="not supported"):
            condition_matches(operator, "x", found)


@given(first=st.sampled_from(BARE), second=st.sampled_from(BARE), expected=several, found=letters, absent=st.booleans())
def test_all_operators_must_match(first: str, second: str, expected: list[str], found: str, *, absent: bool) -> None:
    context = {} if absent else {KEY: [found]}
    both = not find_failures({first: {KEY: expected}, second: {KEY: expected}}, context)
    values = None if absent else [found]
    assert first == second or both is (
        condition_matches(first, expected, values) and condition_matches(second, expected, values)
    )
