"""Edits of YAML text: what is written, and what is refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from broker.inject.yaml_edit import apply_edits, compute_edits
from broker.manifests.yaml_text import UneditableYaml, compose, find_entry, read_value


def change_text(text: str, **new: Any) -> str:  # noqa: ANN401 - any YAML
    """Return the text with these values added to the mapping at `x`."""
    document = compose(text)
    key, node = find_entry(document.roots[0], "x")
    assert key is not None
    assert node is not None
    old = read_value(node)
    result = apply_edits(text, compute_edits(document, node, key, (old, {**old, **new})))
    assert read_value(compose(result).roots[0])["x"] == {**old, **new}
    return result


@pytest.mark.parametrize(
    ("text", "new", "expected"),
    [
        ("x:\n  a: 1\ny: 2\n", {"b": "c"}, "x:\n  a: 1\n  b: c\ny: 2\n"),
        ("x:\n    a: 1\n", {"b": {"c": 2}}, "x:\n    a: 1\n    b:\n        c: 2\n"),
        ("x:\n  a:\n  - 1\n", {"b": [2]}, "x:\n  a:\n  - 1\n  b:\n  - 2\n"),
        ("x:\n  a:\n    - 1\n", {"b": [2]}, "x:\n  a:\n    - 1\n  b:\n    - 2\n"),
        ("x: {a: 1}\n", {"b": "c"}, 'x: {a: 1, "b": "c"}\n'),
        ("x: {\n  a: 1\n}\n", {"b": "c"}, 'x: {\n  a: 1,\n  "b": "c"\n}\n'),
        ("x: {a: [1]}\n", {"a": [0, 1]}, "x: {a: [0, 1]}\n"),
        ("x:\n  a: [1]\n", {"a": [1, 2]}, "x:\n  a: [1, 2]\n"),
        ("x:\n  a: 1   # one\n", {"a": 2}, "x:\n  a: 2   # one\n"),
        ("x: {a: b}\n", {"a": "c"}, 'x: {a: "c"}\n'),
        ("x: {a: , b: 1}\n", {"a": "c"}, 'x: {a:  "c", b: 1}\n'),
        ("x:\n  a: &a\n  - 1\n  b: *a\n", {"a": [1, 2], "b": [1, 2]}, "x:\n  a: &a\n  - 1\n  - 2\n  b: *a\n"),
        ("x:\n  a: &a [1]\n  b: *a  # b\n", {"b": [1, 2]}, "x:\n  a: &a [1]\n  b:  # b\n    - 1\n    - 2\n"),
        ("x: {a: &a [1], b: *a}\n", {"b": [1, 2]}, "x: {a: &a [1], b: [1, 2]}\n"),
        ("x:\n  a:\n  - &a 1\n  - *a\n", {"a": [1, 2]}, "x:\n  a:\n  - 1\n  - 2\n"),
        ("x:\n  <<: {a: 1, b: 2}\n", {"b": 3}, "x:\n  <<: {a: 1, b: 2}\n  b: 3\n"),
        ("x:\n  a: 1\n  <<: {b: 2}\n", {"b": 3, "c": 4}, "x:\n  a: 1\n  b: 3\n  c: 4\n  <<: {b: 2}\n"),
        ("x: {<<: {a: 1}, b: 2}\n", {"a": 3}, 'x: {<<: {a: 1}, b: 2, "a": 3}\n'),
        ('{"x": {\n\t"a": 1\n}}', {"b": {"c": 2}}, '{"x": {\n\t"a": 1,\n\t"b": {\n\t\t"c": 2\n\t}\n}}'),
        ("x:\r\n  a: 1\r\ny: |\n  t\n", {"b": 2}, "x:\r\n  a: 1\r\n  b: 2\r\ny: |\n  t\n"),
        ("y: 1\r\nx:\n  a: 1\n", {"b": 2}, "y: 1\r\nx:\n  a: 1\n  b: 2\n"),
        ("x:\n  a:\n    - 1\n    - 2\n  # end\n", {"a": [2]}, "x:\n  a:\n    - 2\n  # end\n"),
        ("x:\n  a:\n    b: 1\n    c: |\n      t\n  d: 1\n", {"a": {"c": 2}}, "x:\n  a:\n    c: 2\n  d: 1\n"),
        ("x: {a: {b: 1, c: 2}}\n", {"a": {"c": 2}}, 'x: {a: {"c": 2}}\n'),
        ("x:\n  a:\n    b: 1\n", {"a": {}}, "x:\n  a:\n    {}\n"),
        ("x:\n  a:\n    {}\n  b: 1\n", {"a": {"c": 2}}, "x:\n  a:\n    c: 2\n  b: 1\n"),
        ("x:\r\n  a:\r\n  # b\r\n    []   # c\r\n", {"a": [2]}, "x:\r\n  a:\r\n  # b   # c\r\n    - 2\r\n"),
        ("x:\n  a:\n    {}", {"a": {"c": 2}}, "x:\n  a:\n    c: 2"),
    ],
)
def test_edit_follows_the_style_of_its_surroundings(text: str, new: dict[str, Any], expected: str) -> None:
    assert change_text(text, **new) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x:\n  b:\n    e: 1\n  a: 2\n", "x:\n  b:\n    e: 1\n    f: 4\n  d: 5\n  a: 2\n  c: 3\n"),
        ("x: {b: {e: 1}, a: 2}\n", 'x: {b: {e: 1, "f": 4}, "c": 3, a: 2, "d": 5}\n'),
    ],
)
def test_keys_in_another_order_are_added_to_the_right_mapping(text: str, expected: str) -> None:
    document = compose(text)
    key, node = find_entry(document.roots[0], "x")
    assert key is not None
    assert node is not None
    new = {"a": 2, "c": 3, "b": {"e": 1, "f": 4}, "d": 5}
    result = apply_edits(text, compute_edits(document, node, key, (read_value(node), new)))
    assert result == expected
    assert yaml.safe_load(result)["x"] == new


@pytest.mark.parametrize(
    "text",
    [
        *("yes", "no", "on", "null", "~", "1", "0x1f", "1e3", ".5", "", " a", "a ", "a: b", "a #b", "a:", "- a", "&a"),
        *("*a", "!a", "{a", "[a", "%a", "@a", "a\nb", "é", "2026-11-24", "12:30:00", "=", "<<", "'", '"'),
    ],
)
def test_ambiguous_text_is_quoted(text: str) -> None:
    assert yaml.safe_load(change_text("x: {a: 1}\n", a=text))["x"]["a"] == text
    assert change_text("x:\n  a: 1\n", a=text).startswith('x:\n  a: "')


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x: {a: &b 1, c: *b}\n", "anchors (&) and tags (!) are not supported here"),
        ("x:\n  a: &b 1\n", "anchors (&) and tags (!) are not supported here"),
        ("x:\n  a: !!int '1'\n", "anchors (&) and tags (!) are not supported here"),
    ],
)
def test_value_with_an_anchor_or_tag_is_refused(text: str, expected: str) -> None:
    with pytest.raises(UneditableYaml) as caught:
        change_text(text, a=2)
    assert expected in str(caught.value)


def test_addition_above_the_first_key_of_an_item_is_refused() -> None:
    with pytest.raises(UneditableYaml):
        change_text("x:\n  a:\n  - name: n\n", a=[{"b": 1, "name": "n"}])


@pytest.mark.parametrize("text", ["x: {1: a, ? [b] : c}\n", "x: {a: !!bool maybe}\n", "x: {a: !!int b}\n"])
def test_value_that_is_not_plain_is_refused(text: str) -> None:
    _, node = find_entry(compose(text).roots[0], "x")
    assert node is not None
    with pytest.raises(UneditableYaml):
        read_value(node)


def test_value_with_another_tag_is_returned_with_its_tag() -> None:
    _, node = find_entry(compose("x: [2026-11-24, !own y]\n").roots[0], "x")
    assert node is not None
    assert read_value(node) == [("tag:yaml.org,2002:timestamp", "2026-11-24"), ("!own", "y")]
    assert read_value(node) == copy.deepcopy(read_value(node))


def test_key_is_found_through_an_alias() -> None:
    root = compose("a: &a {b: 1}\nc: *a\n").roots[0]
    _, node = find_entry(root, "c")
    assert find_entry(node, "b")[1] is not None
    assert find_entry(node, "z") == (None, None)
