"""Anchors, aliases and merge keys in pods: `sts-broker inject` keeps them where it can, and says where it cannot."""

from __future__ import annotations

import itertools

import pytest
import yaml

from tests.support.injecting import POD, collect_faults, inject_text

TWO = """\
apiVersion: v1
kind: Pod
metadata: {name: app}
spec:
  containers:
    - name: a
      image: x
      env: &env
        - name: OWN
          value: "1"
    - name: b
      image: y
      env: *env
"""
SHARED_TEMPLATE = """\
apiVersion: v1
kind: List
items:
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: a}
  spec:
    template: &template
      spec:
        containers:
        - name: x
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: b}
  spec:
    template: *template
"""
MERGED = """\
apiVersion: v1
kind: Pod
metadata: {name: app}
spec:
  containers:
    - &base
      name: a
      image: x
      env: [{name: OWN, value: "1"}]
    - <<: *base
      name: b
    - name: c
      <<: *base
"""


def write_out(text: str) -> str:
    """Return the same manifests without anchors, aliases and merge keys."""

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            del data
            return True

    return yaml.dump(yaml.safe_load(text), Dumper=Dumper, sort_keys=False)


@pytest.mark.parametrize(
    "text",
    [
        TWO,
        TWO.replace('env: &env\n        - name: OWN\n          value: "1"', 'env: &env [{name: OWN, value: "1"}]'),
        TWO.replace("&env", "&env-1  # shared").replace("*env", "*env-1   # the same"),
        MERGED,
        MERGED.replace("*base", "[*base, {tty: true, name: z}]"),
        POD + "      resources: &r {limits: {memory: 1Gi}}\n    - name: b\n      resources: {<<: *r, requests: {}}\n",
        POD.replace("containers:", "nodeSelector: {<<: {a: b}}\n  containers:"),
        POD.replace("name: app", "name: app\n  annotations: {<<: {other: x}}", 1),
        POD.replace("spec:", "spec: &spec"),
        POD.replace("containers:", "containers: &containers"),
        POD.replace("- name", "- &app\n      name"),
        "x-env: &env\n  - {name: OWN, value: a}\n" + POD + "      env: *env\n",
        "x-env: &env [{name: OWN, value: a}]\n" + POD.replace("image: x", "env: *env  # shared\n      image: x"),
        "x-app: &app {name: app, image: x}\n" + POD.partition("    - name")[0] + "    - *app\n",
        "x-app: &app {name: app, image: x}\n" + POD.partition("    - name")[0] + "    - {<<: *app, tty: true}\n",
        "x: &spec {containers: [{name: a}]}\nkind: PodList\napiVersion: v1\nitems: [{spec: *spec}]\n",
        "x-spec: &spec\n  containers: [{name: a}]\napiVersion: v1\nkind: Pod\nspec: *spec\n",
    ],
)
def test_pod_is_the_same_as_without_anchors(text: str) -> None:
    result = inject_text(text)
    assert yaml.safe_load(result) == yaml.safe_load(inject_text(write_out(text)))
    assert [result.count(sign) for sign in ("&", "<<")] == [text.count(sign) for sign in ("&", "<<")]


def test_alias_that_changes_with_its_anchor_stays() -> None:
    assert "      env: *env\n" in inject_text(TWO)


def test_key_of_a_merged_mapping_is_overridden_in_its_own_mapping() -> None:
    result = inject_text(MERGED)
    assert result.count("<<: *base") == 2
    assert result.index("name: b") < result.rindex('value: "1"')


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (TWO + "      args: *env\n", 8),
        (POD.replace("- name", "- &c\n      name") + "x: *c\n", 7),
        (POD.replace("spec:", "spec: &s") + "x: *s\n", 5),
        (SHARED_TEMPLATE, 8),
    ],
)
def test_anchor_whose_alias_must_not_change_is_a_fault_with_its_line(text: str, line: int) -> None:
    (fault,) = collect_faults(text)
    assert fault.startswith(f"document 1, line {line}: ")
    assert fault.endswith(
        "has an anchor (&) whose aliases (*) would change with it. Write out the value in place of the aliases"
    )


def test_aliases_that_expand_without_bound_are_a_fault() -> None:
    names = "abcdefgh"
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]" for old, new in itertools.pairwise(names)]
    (fault,) = collect_faults("\n".join(lines))
    assert fault == "document 1, line 6: aliases (*) make this more than 1000000 values. Write out the values"


@pytest.mark.parametrize("text", ["x: &a {b: *a}\n", "x: &a [*a]\n", POD + "      args: &a [*a]\n"])
def test_alias_inside_its_own_anchor_is_a_fault(text: str) -> None:
    (fault,) = collect_faults(text)
    assert fault == "document 1, line 1: nested too deeply to be read"
