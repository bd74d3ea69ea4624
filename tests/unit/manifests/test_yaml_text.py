"""How YAML is read where PyYAML was built without libyaml."""

from __future__ import annotations

import importlib.util
import sys

import pytest
import yaml

from broker.manifests import yaml_text


def test_without_libyaml_everything_but_tabs_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml, "__with_libyaml__", False)
    monkeypatch.delattr(yaml, "CSafeLoader")
    spec = importlib.util.find_spec(yaml_text.__name__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # dataclasses look there
    spec.loader.exec_module(module)
    document = module.compose("a: &a [1]\nb: *a\n---\nc: {<<: {d: e}}\n")
    assert [module.read_value(root) for root in document.roots] == [{"a": [1], "b": [1]}, {"c": {"d": "e"}}]
    assert len(document.aliased) == 1
    with pytest.raises(yaml.YAMLError):
        module.compose("a: b\t# c\n")
