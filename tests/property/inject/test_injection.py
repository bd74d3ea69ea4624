"""`sts-broker inject` with manifests of any shape, in any layout that YAML allows."""

from __future__ import annotations

import copy
import io
import json
import re
from typing import TYPE_CHECKING, Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.core.errors import ConfigurationError
from broker.inject import sidecar
from broker.inject.injection import inject, run
from broker.inject.outcome import Outcome
from broker.inject.sidecar_request import Request

if TYPE_CHECKING:
    from random import Random

ROLE = "arn:aws:iam::123456789012:role/app"
REQUEST = Request(options={"role_arn": ROLE, "region": "eu-west-1"})
OTHER = Request(options={"role_arn": ROLE, "region": "eu-north-1", "config_map": "profiles", "duration_seconds": "900"})
PATHS = {
    "Pod": ("v1", ()),
    "Deployment": ("apps/v1", ("spec", "template")),
    "StatefulSet": ("apps/v1", ("spec", "template")),
    "DaemonSet": ("apps/v1", ("spec", "template")),
    "ReplicaSet": ("apps/v1", ("spec", "template")),
    "Job": ("batch/v1", ("spec", "template")),
    "CronJob": ("batch/v1", ("spec", "jobTemplate", "spec", "template")),
}

texts = st.sampled_from(
    ["a", "x: y", "# no comment", "", "yes", "0123", "two\nlines\n", "- dash", "ünïcode", "{}", "1e3"]
)
others = st.dictionaries(st.sampled_from(["k", "l", "on", "a b"]), texts | st.integers(0, 9) | st.none(), max_size=2)


@st.composite
def draw_containers(draw: st.DrawFn, *, prefix: str, minimum: int) -> list[dict[str, Any]]:
    count = draw(st.integers(minimum, 2))
    return [_draw_container(draw, f"{prefix}{number}") for number in range(count)]


def _draw_container(draw: st.DrawFn, name: str) -> dict[str, Any]:
    more: dict[str, Any] = {
        "env": st.sampled_from(
            [None, [], [{"name": "OWN", "value": "1"}], [{"name": "AWS_REGION", "value": "us-east-1"}, {"name": "Z"}]]
        ),
        "volumeMounts": st.sampled_from([[], [{"name": "data", "mountPath": "/data"}]]),
        "args": st.lists(texts, max_size=2),
        "ports": st.sampled_from([None, [{"containerPort": 8080}]]),
        "resources": others,
    }
    chosen = draw(st.lists(st.sampled_from(sorted(more)), unique=True))
    before, after = chosen[: len(chosen) // 2], chosen[len(chosen) // 2 :]
    keys = [*before, "name", "image", *after]
    return {key: draw(more[key]) if key in more else {"name": name, "image": "i"}[key] for key in keys}


@st.composite
def draw_pods(draw: st.DrawFn) -> dict[str, Any]:
    more: dict[str, Any] = {
        "initContainers": draw_containers(prefix="init", minimum=0) | st.none(),
        "volumes": st.sampled_from([None, [], [{"name": "data", "emptyDir": {}}]]),
        "securityContext": st.sampled_from([None, {}, {"runAsUser": 1}, {"fsGroup": 7}]),
        "nodeSelector": others,
        "serviceAccountName": st.just("app"),
    }
    chosen = draw(st.permutations([*draw(st.lists(st.sampled_from(sorted(more)), unique=True)), "containers"]))
    return {key: draw(draw_containers(prefix="c", minimum=1) if key == "containers" else more[key]) for key in chosen}


@st.composite
def draw_workloads(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(sorted(PATHS)))
    version, path = PATHS[kind]
    tree: dict[str, Any] = {"metadata": {"labels": draw(others)}, "spec": draw(draw_pods())}
    for key in reversed(path):
        tree = {"x": draw(others), key: tree}
    return {"apiVersion": version, "kind": kind, **tree, "metadata": {"name": "w", **tree.get("metadata", {})}}


streams = st.lists(
    draw_workloads()
    | others.map(lambda data: {"apiVersion": "v1", "kind": "ConfigMap", "data": data})
    | st.lists(draw_workloads(), min_size=1, max_size=2).map(
        lambda all_: {"apiVersion": "v1", "kind": "List", "items": all_}
    ),
    min_size=1,
    max_size=3,
)


class Writer:
    """Writes values as a person might: block and flow style, comments, varying indentation."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.comments: list[str] = []
        self.offset = random.choice((0, 2, 2, 4))
        self.step = random.choice((2, 2, 4))

    def add_comment(self) -> str:
        self.comments.append(f"# c{len(self.comments)}: it's \"{{[")
        return self.comments[-1]

    def write_document(self, value: dict[str, Any]) -> str:
        return "".join(f"{line}\n" for line in self.write_block(value))

    def write_lines_above(self, column: int) -> list[str]:
        if self.random.random() < 0.15:
            return [" " * self.random.choice((0, column)) + self.add_comment()]
        return [""] if self.random.random() < 0.05 else []

    def write_comment_behind(self) -> str:
        return f"  {self.add_comment()}" if self.random.random() < 0.15 else ""

    def write_block(self, value: Any, column: int = 0) -> list[str]:  # noqa: ANN401 - any YAML
        lines: list[str] = []
        indent = " " * column
        if isinstance(value, list):
            for item in value:
                lines += self.write_lines_above(column)
                if item and isinstance(item, dict) and self.random.random() < 0.8:
                    inner = self.write_block(item, column + 2)
                    first = next(index for index, line in enumerate(inner) if line.strip()[:1] not in ("", "#"))
                    inner[first] = f"{indent}- {inner[first].lstrip()}"
                    lines += inner
                else:
                    lines.append(f"{indent}- {self.write_inline(item)}{self.write_comment_behind()}")
            return lines
        for key, item in value.items():
            lines += self.write_lines_above(column)
            name = json.dumps(key) if self.random.random() < 0.1 or key in ("on", "a b") else key
            if item and isinstance(item, dict | list) and self.random.random() < 0.85:
                lines.append(f"{indent}{name}:{self.write_comment_behind()}")
                lines += self.write_block(item, column + (self.offset if isinstance(item, list) else self.step))
            elif isinstance(item, str) and "\n" in item and self.random.random() < 0.7:
                lines.append(f"{indent}{name}: |")
                lines += [" " * (column + 3) + line for line in item.splitlines()]
            elif item is None and self.random.random() < 0.5:
                lines.append(f"{indent}{name}:{self.write_comment_behind()}")
            else:
                lines.append(f"{indent}{name}: {self.write_inline(item)}{self.write_comment_behind()}")
        return lines

    def write_inline(self, value: Any) -> str:  # noqa: ANN401 - any YAML
        if isinstance(value, dict | list) and self.random.random() < 0.3:
            return json.dumps(value, indent=self.random.choice((1, 2))).replace("\n", "\n" + " " * 14)
        return json.dumps(value, ensure_ascii=False)


def write_stream(documents: list[dict[str, Any]], random: Random) -> tuple[str, list[str]]:
    writer = Writer(random)
    text = "---\n".join(writer.write_document(document) for document in documents)
    if random.random() < 0.2:
        text = text.removesuffix("\n")
    if random.random() < 0.2:
        text = text.replace("\n", "\r\n")
    return text, writer.comments


def inject_text(text: str, request: Request = REQUEST) -> str:
    output = io.BytesIO()
    run(["-"], request, check=False, stdin=io.BytesIO(text.encode()), output=output)
    return output.getvalue().decode()


def find_specs(document: dict[str, Any]) -> list[dict[str, Any]]:
    if document["kind"] == "List":
        return [spec for item in document["items"] for spec in find_specs(item)]
    if document["kind"] not in PATHS:
        return []
    for key in PATHS[document["kind"]][1]:
        document = document[key]
    return [document["spec"]]


def remove_pods(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rest = copy.deepcopy(documents)
    for document in rest:
        for spec in find_specs(document):
            spec.clear()
    return rest


def has_pods(documents: list[dict[str, Any]]) -> bool:
    return any(find_specs(document) for document in documents)


def remove_additions(new: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
    """Return a pod's spec without the additions of the sidecar. Lists that were empty or absent are so again."""
    ours = {each["name"] for each in sidecar.build_volumes(sidecar.SidecarSpec(role_arn="", region="", config_map="c"))}
    spec = copy.deepcopy(new)
    spec["initContainers"] = [each for each in spec["initContainers"] if each["name"] != "sts-broker"]
    spec["volumes"] = [each for each in spec["volumes"] if each["name"] not in ours]
    was = {each["name"]: each for key in ("initContainers", "containers") for each in old.get(key) or ()}
    for each in (*spec["initContainers"], *spec["containers"]):
        own = {variable["name"] for variable in was[each["name"]].get("env") or ()}
        variables = {
            *("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
            *("AWS_REGION", "AWS_DEFAULT_REGION"),
        } - own
        lists = {"env": variables, "volumeMounts": ours}
        for key, names in lists.items():
            if key in each:
                each[key] = [item for item in each[key] or () if item["name"] not in names]
                _restore_empty(each, was[each["name"]], key)
    if not (old.get("securityContext") or {}).get("fsGroup"):
        del spec["securityContext"]["fsGroup"]
        spec["securityContext"].pop("fsGroupChangePolicy", None)
    for key in ("initContainers", "volumes", "securityContext"):
        _restore_empty(spec, old, key)
    return spec


def _restore_empty(new: dict[str, Any], old: dict[str, Any], key: str) -> None:
    if not new[key] and not old.get(key):
        new.pop(key)
        if key in old:
            new[key] = old[key]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(streams.filter(has_pods), st.randoms(use_true_random=False))
def test_pods_get_the_sidecar_and_keep_everything_else(documents: list[dict[str, Any]], random: Random) -> None:
    text, comments = write_stream(documents, random)
    documents = list(yaml.safe_load_all(text))  # without its last line break, a block scalar is shorter
    result = inject_text(text)
    after = list(yaml.safe_load_all(result))
    assert remove_pods(after) == remove_pods(documents)
    for old, new in zip(
        (spec for document in documents for spec in find_specs(document)),
        (spec for document in after for spec in find_specs(document)),
        strict=True,
    ):
        assert new["initContainers"][0] == sidecar.build_container(
            sidecar.SidecarSpec(role_arn=ROLE, region="eu-west-1")
        )
        assert {volume["name"] for volume in new["volumes"]} >= {"sts-broker-credentials", "sts-broker-token"}
        for each in new["containers"]:
            assert sidecar.build_app_mount() in each["volumeMounts"]
        assert remove_additions(new, old) == old
    assert re.findall(r"# c\d+: it's \"\{\[", result) == comments, "comments are kept, in order"
    assert ("\r\n" in text) == ("\r\n" in result)
    assert "\r\n" not in text or not re.search(r"(?<!\r)\n", result)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(streams.filter(has_pods), st.randoms(use_true_random=False))
def test_second_injection_changes_nothing(documents: list[dict[str, Any]], random: Random) -> None:
    once = inject_text(write_stream(documents, random)[0])
    assert inject_text(once) == once
    assert run(["-"], REQUEST, check=True, stdin=io.BytesIO(once.encode()), output=io.BytesIO()) == 0


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(streams.filter(has_pods), st.randoms(use_true_random=False))
def test_older_sidecar_is_replaced_by_the_requested_one(documents: list[dict[str, Any]], random: Random) -> None:
    first = inject_text(write_stream(documents, random)[0])
    second = inject_text(first, OTHER)
    for document in yaml.safe_load_all(second):
        for spec in find_specs(document):
            requested = sidecar.SidecarSpec(
                role_arn=ROLE, region="eu-north-1", config_map="profiles", duration_seconds="900"
            )
            assert spec["initContainers"][0] == sidecar.build_container(requested)
            assert [each["name"] for each in spec["initContainers"]].count("sts-broker") == 1
    assert inject_text(second, OTHER) == second


def shuffle_keys(value: Any, random: Random) -> Any:  # noqa: ANN401 - any YAML
    """Return a value with the keys of its mappings in another order, as a person may have written them."""
    if isinstance(value, list):
        return [shuffle_keys(item, random) for item in value]
    if isinstance(value, dict):
        return {key: shuffle_keys(value[key], random) for key in random.sample(sorted(value), len(value))}
    return value


def remove_some_keys(container: dict[str, Any], random: Random) -> None:
    """Remove fields that a sidecar written by a person may lack, as the one in the README does."""
    for key in ("readinessProbe", "resources", "terminationMessagePolicy"):
        if random.random() < 0.5:
            container.pop(key)
    for mapping in (container["securityContext"], container["livenessProbe"]):
        for key in [key for key in mapping if key != "httpGet" and random.random() < 0.3]:
            mapping.pop(key)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(streams.filter(has_pods), st.randoms(use_true_random=False))
def test_incomplete_sidecar_with_keys_in_any_order_is_completed(
    documents: list[dict[str, Any]], random: Random
) -> None:
    written = list(yaml.safe_load_all(inject_text(write_stream(documents, random)[0])))
    for document in written:
        for spec in find_specs(document):
            remove_some_keys(spec["initContainers"][0], random)
    text, comments = write_stream(shuffle_keys(written, random), random)
    result = inject_text(text)
    for old, new in zip(
        (spec for document in yaml.safe_load_all(text) for spec in find_specs(document)),
        (spec for document in yaml.safe_load_all(result) for spec in find_specs(document)),
        strict=True,
    ):
        chosen = frozenset(each["name"] for each in old["containers"])
        assert new == sidecar.add_sidecar(old, sidecar.SidecarSpec(role_arn=ROLE, region="eu-west-1"), chosen)
    assert re.findall(r"# c\d+: it's \"\{\[", result) == comments, "comments are kept, in order"


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(streams.map(lambda documents: [each for each in documents if each["kind"] == "ConfigMap"]), st.randoms())
def test_documents_without_pods_stay_byte_for_byte(documents: list[dict[str, Any]], random: Random) -> None:
    text, _ = write_stream(documents, random)
    outcome = Outcome()
    inject(text, REQUEST, outcome)
    assert (outcome.text, outcome.faults, outcome.changed) == (text, [], [])


@settings(max_examples=150, deadline=None)
@given(st.text(st.sampled_from("-{}[]:,#&*!|>'\"\n\t %@ab\\kindPodspec"), max_size=60))
def test_any_other_text_is_unchanged_or_a_fault(text: str) -> None:
    outcome = Outcome()
    inject(text, REQUEST, outcome)
    assert outcome.faults or outcome.text == text
    output = io.BytesIO()
    try:
        run(["-"], REQUEST, check=False, stdin=io.BytesIO(text.encode()), output=output)
    except ConfigurationError:
        assert not output.getvalue()
