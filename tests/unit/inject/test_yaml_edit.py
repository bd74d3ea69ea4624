"""Changes of YAML texts, place by place: what is written, and what is refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from broker.inject.yaml_edit import applied, changes
from broker.inject.yaml_text import Unchangeable, compose, entry, value


def changed(text: str, **new: Any) -> str:  # noqa: ANN401 - any YAML
    """Return a text in which the mapping at `x` has these values too."""
    document = compose(text)
    key, node = entry(document.roots[0], "x")
    assert key is not None
    assert node is not None
    old = value(node)
    result = applied(text, changes(document, node, key, (old, {**old, **new})))
    assert yaml.safe_load(result)["x"] == {**old, **new}
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
        ("x: {a: , b: 1}\n", {"a": "c"}, 'x: {a: "c" , b: 1}\n'),
        ("x:\n  a:\n    - 1\n    - 2\n  # end\n", {"a": [2]}, "x:\n  a:\n    - 2\n  # end\n"),
        ("x:\n  a:\n    b: 1\n    c: |\n      t\n  d: 1\n", {"a": {"c": 2}}, "x:\n  a:\n    c: 2\n  d: 1\n"),
        ("x: {a: {b: 1, c: 2}}\n", {"a": {"c": 2}}, 'x: {a: {"c": 2}}\n'),
        ("x:\n  a:\n    b: 1\n", {"a": {}}, "x:\n  a:\n    {}\n"),
        ("x:\n  a:\n    {}\n  b: 1\n", {"a": {"c": 2}}, "x:\n  a:\n    c: 2\n  b: 1\n"),
        ("x:\r\n  a:\r\n  # b\r\n    []   # c\r\n", {"a": [2]}, "x:\r\n  a:\r\n  # b   # c\r\n    - 2\r\n"),
        ("x:\n  a:\n    {}", {"a": {"c": 2}}, "x:\n  a:\n    c: 2"),
    ],
)
def test_change_is_made_in_the_manner_of_its_place(text: str, new: dict[str, Any], expected: str) -> None:
    assert changed(text, **new) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("yes", "no", "on", "null", "~", "1", "0x1f", "1e3", ".5", "", " a", "a ", "a: b", "a #b", "a:", "- a", "&a"),
        *("*a", "!a", "{a", "[a", "%a", "@a", "a\nb", "é", "2026-11-24", "12:30:00", "=", "<<", "'", '"'),
    ],
)
def test_text_that_a_reader_may_take_for_something_else_is_quoted(text: str) -> None:
    assert yaml.safe_load(changed("x: {a: 1}\n", a=text))["x"]["a"] == text
    assert changed("x:\n  a: 1\n", a=text).startswith('x:\n  a: "')


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x: {a: &b 1, c: *b}\n", "an anchor (&) or alias (*) is not taken here"),
        ("x:\n  a: &b 1\n", "an anchor (&) or tag (!) is not taken here"),
        ("x:\n  a: !!int '1'\n", "an anchor (&) or tag (!) is not taken here"),
    ],
)
def test_place_that_another_place_may_hang_on_is_refused(text: str, told: str) -> None:
    with pytest.raises(Unchangeable) as caught:
        changed(text, a=2)
    assert told in str(caught.value)


def test_place_above_the_first_key_of_an_item_is_refused() -> None:
    with pytest.raises(Unchangeable):
        changed("x:\n  a:\n  - name: n\n", a=[{"b": 1, "name": "n"}])


@pytest.mark.parametrize("text", ["x: {1: a, ? [b] : c}\n", "x: {a: !!bool maybe}\n", "x: {a: !!int b}\n"])
def test_value_that_is_not_plain_is_refused(text: str) -> None:
    _, node = entry(compose(text).roots[0], "x")
    assert node is not None
    with pytest.raises(Unchangeable):
        value(node)


def test_value_of_a_type_that_nobody_looks_into_compares() -> None:
    _, node = entry(compose("x: [2026-11-24, !own y]\n").roots[0], "x")
    assert node is not None
    assert value(node) == [("tag:yaml.org,2002:timestamp", "2026-11-24"), ("!own", "y")]
    assert value(node) == copy.deepcopy(value(node))


def test_key_is_found_through_an_alias() -> None:
    root = compose("a: &a {b: 1}\nc: *a\n").roots[0]
    _, node = entry(root, "c")
    assert entry(node, "b")[1] is not None
    assert entry(node, "z") == (None, None)
