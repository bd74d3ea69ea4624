"""The strict JSON parser accepts exactly JSON and reports the line of each value."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.policy.document import PolicyMalformedError, count_characters_without_space, read_json

values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)),
    max_leaves=20,
)


@given(value=values, indent=st.sampled_from([None, 0, 2]), escaped=st.booleans())
def test_dumped_value_is_parsed_back(value: object, indent: int | None, *, escaped: bool) -> None:
    assert read_json(json.dumps(value, indent=indent, ensure_ascii=escaped)).root.value == value


@given(text=st.text(alphabet='{}[]":,.0123456789eE+-truefalsn \n\\', max_size=12))
def test_parser_accepts_exactly_what_the_json_module_accepts(text: str) -> None:
    def refuse(constant: str) -> object:
        raise ValueError(constant)

    try:
        expected = json.loads(text, parse_constant=refuse)
    except ValueError:
        with pytest.raises(PolicyMalformedError):
            read_json(text)
    else:
        assert read_json(text).root.value == expected


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "line 1, column 1: expected a value"),
        ("{", "line 1, column 2: expected a key in double quotes"),
        ('{\n  "a" 1}', "line 2, column 7: expected a colon"),
        ('{"a": 1,}', "line 1, column 9: expected a key in double quotes"),
        ('{"a": 1 "b": 2}', "line 1, column 9: expected a comma or }"),
        ("[1,\n2,\n]", "line 3, column 1: expected a value"),
        ("[1 2]", "line 1, column 4: expected a comma or ]"),
        ("{} {}", "line 1, column 4: text after the end"),
        ('"a\nb"', "line 1, column 3: Invalid control character at"),
        ("NaN", "expected a value"),
        ("\ufeff{}", "expected a value"),
        ("9" * 5000, "a number has too many digits"),
        ("[" * 200, "more than 100 levels deep"),
    ],
)
def test_invalid_json_is_reported_with_line_and_column(text: str, fault: str) -> None:
    with pytest.raises(PolicyMalformedError, match=fault.replace("(", r"\(")):
        read_json(text)


def test_duplicate_key_is_listed_with_its_line() -> None:
    document = read_json('{\n "a": [\n  1,\n  {"b": 2,\n   "b": 3}\n ],\n "a": {}}')
    assert [(one.key, one.line) for one in document.duplicates] == [("b", 5), ("a", 7)]
    assert document.root.members["a"].line == 7
    assert document.root.value == {"a": {}}


def test_each_value_has_the_line_where_it_begins() -> None:
    document = read_json('{"a":\n[1,\n{"b":\n"x"}]}')
    assert [node.line for node in document.root.walk()] == [1, 2, 2, 3, 4]


@pytest.mark.parametrize(
    ("text", "length"), [("{ }", 2), ('{"a b" : "c  d"}', 14), ('["\\" ", 1]', 9), ("[1,\n\t2]\r\n", 5)]
)
def test_white_space_counts_inside_strings_only(text: str, length: int) -> None:
    assert count_characters_without_space(text) == length
