"""`sts-broker inject` only inserts into the text, whatever its form: JSON, tabs, line breaks, marks and anchors."""

from __future__ import annotations

import copy
import io
import json
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.core.errors import ConfigurationError
from broker.inject.injection import run
from broker.inject.sidecar_request import Request

REQUEST = Request(options={"role_arn": "arn:aws:iam::123456789012:role/app", "region": "eu-west-1"})
SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much]

keys = st.sampled_from(["replicas", "template", "tasks", "worker", "ünï", "a b", "on", "pod"])
values = st.sampled_from(["x", "tab\there", "two\nlines", "\u00e9 \u2603", "{{", "#", "*a", "---"])
variables = st.lists(st.fixed_dictionaries({"name": st.sampled_from(["A", "B", "C"]), "value": values}), min_size=1)


@st.composite
def draw_specs(draw: st.DrawFn) -> dict[str, Any]:
    """Return a pod's spec whose containers may share their variables, which PyYAML writes with an anchor."""
    shared = draw(variables)
    parts: list[dict[str, Any]] = [{}, {"env": shared}, {"args": ["x"], "env": shared}, {"env": copy.deepcopy(shared)}]
    containers = [
        {"name": f"c{number}", "image": draw(values)} | draw(st.sampled_from(parts))
        for number in range(draw(st.integers(1, 3)))
    ]
    others: list[dict[str, Any]] = [{}, {"volumes": [{"name": "data", "emptyDir": {}}]}, {"nodeSelector": {"a": "b"}}]
    return {**draw(st.sampled_from(others)), "containers": containers}


@st.composite
def draw_objects(draw: st.DrawFn) -> dict[str, Any]:
    """Return an object of a kind that nobody knows, with a pod template at any depth."""
    tree: Any = {"spec": draw(draw_specs())}
    for key in draw(st.lists(keys, min_size=1, max_size=4)):
        tree = {"other": draw(values), key: draw(st.sampled_from([tree, [tree], [{"n": 1}, tree]]))}
    return {"apiVersion": "example.com/v1", "kind": "Anything", "metadata": {"name": "o"}, "spec": tree}


def inject_text(text: str) -> str:
    output = io.BytesIO()
    assert run(["-"], REQUEST, check=False, stdin=io.BytesIO(text.encode()), output=output) == 0
    assert run(["-"], REQUEST, check=True, stdin=io.BytesIO(output.getvalue()), output=io.BytesIO()) == 0
    return output.getvalue().decode()


def is_contained(text: str, result: str) -> bool:
    """Return whether the result is the text with insertions only."""
    characters = iter(result)
    return all(character in characters for character in text)


def find_specs(node: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - any YAML
    if isinstance(node, list):
        return [spec for item in node for spec in find_specs(item)]
    if not isinstance(node, dict):
        return []
    return [node] if "containers" in node else [spec for item in node.values() for spec in find_specs(item)]


@settings(max_examples=10, deadline=None, suppress_health_check=SLOW)
@given(
    st.lists(draw_objects(), min_size=1, max_size=3),
    st.sampled_from([None, 1, 4, "\t", "\t "]),
    st.sampled_from(["", "\n", "\n\n", "\n---\n"]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["", "\ufeff"]),
)
def test_json_in_any_form_is_only_inserted_into(
    objects: list[dict[str, Any]], indent: int | str | None, separator: str, newline: str, mark: str
) -> None:
    texts = [json.dumps(each, indent=indent, ensure_ascii=False) for each in objects]
    text = mark + separator.join(texts).replace("\n", newline)
    result = inject_text(text)
    assert is_contained(text, result)
    rest, written = result.removeprefix(mark).replace("---", "   ").lstrip(), []
    while rest:
        value, end = json.JSONDecoder().raw_decode(rest)
        written.append(value)
        rest = rest[end:].lstrip()
    found = [spec["initContainers"][0]["name"] for spec in find_specs(written)]
    assert found == ["sts-broker"] * len(find_specs(objects))
    assert newline == "\n" or "\n" not in result.replace("\r\n", "")


@settings(max_examples=15, deadline=None, suppress_health_check=SLOW)
@given(draw_objects(), st.sampled_from([None, True, False]), st.sampled_from([2, 4]), st.sampled_from(["\n", "\r\n"]))
def test_anchors_give_the_same_pods_as_written_out_values_or_a_fault(
    tree: dict[str, Any],
    flow: bool | None,
    indent: int,
    newline: str,
) -> None:
    text = yaml.safe_dump(tree, default_flow_style=flow, indent=indent, sort_keys=False, allow_unicode=True)
    text = text.replace("\n", newline)
    written_out = json.dumps(tree)
    try:
        result = inject_text(text)
    except ConfigurationError as error:
        (fault,) = error.faults
        assert "*id" in text
        assert "has an anchor (&) whose aliases (*) would change with it" in fault
        return
    assert yaml.safe_load(result) == json.loads(inject_text(written_out))
    assert "*id" in text or is_contained(text, result)
    assert (newline == "\n") == ("\r" not in result)


@settings(max_examples=15, deadline=None, suppress_health_check=SLOW)
@given(draw_objects(), st.data())
def test_tabs_between_tokens_are_kept(tree: dict[str, Any], data: st.DataObject) -> None:
    lines = yaml.safe_dump(json.loads(json.dumps(tree)), sort_keys=False).splitlines()
    for index, line in enumerate(lines):
        after = data.draw(st.sampled_from(["", "\t", "\t# tab", " \t "]))
        is_plain = "'" not in line and '"' not in line and not line.startswith("      " * 4)
        key, colon, value = line.partition(": ")
        if is_plain and colon and value:
            lines[index] = f"{key}:\t{value}{after}"
    text = "\n".join(lines) + "\n"
    try:
        yaml.load(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError:
        return
    assert is_contained(text, inject_text(text))
