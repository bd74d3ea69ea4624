"""JSON that is indented with tabs, as Go's and many editors' formatters write it."""

from __future__ import annotations

import json

from tests.support.injecting import inject_text


def test_pods_of_a_list_with_tabs_get_the_sidecar_and_keep_their_tabs() -> None:
    pods = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {"containers": [{"name": "api", "image": "registry.example/api"}]},
        }
        for name in ("left", "right")
    ]
    text = json.dumps({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": pods}, indent="\t")
    result = inject_text(text)
    items = json.loads(result)["items"]
    assert [item["spec"]["initContainers"][0]["name"] for item in items] == ["sts-broker", "sts-broker"]
    lines = iter(result.splitlines())
    assert all(any(line.rstrip(",") == each.rstrip(",") for each in lines) for line in text.splitlines())
    indents = {line[: len(line) - len(line.lstrip())] for line in result.splitlines()}
    assert all(set(indent) <= {"\t"} for indent in indents), "no line is indented with spaces"
