"""The Helm chart, linted and rendered by Helm's SDK. It gives the objects that the kustomizations give."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from broker import __version__
from broker.core.images import SIDECAR_IMAGE
from tests.deploy.charts import CHART, COPIES, read_values, remove_labels, sort_by_kind
from tests.deploy.rendering import DEPLOY, Document, kustomize, needs_kubectl
from tests.support.unfit_pods import ANNOTATIONS

if TYPE_CHECKING:
    from pathlib import Path

helm = pytest.importorskip("helm_python", reason="SKIPPED: helm-python-sdk is not available for this platform")

REGISTRY = "registry.example/platform"
IMAGE: Document = {"registry": REGISTRY}
RUNBOOK = "https://git.example/platform/docs/operations.md"
SELECTOR: Document = {"matchExpressions": [{"key": "team", "operator": "In", "values": ["payments", "shop"]}]}
RESOURCES = {"cpuRequest": "100m", "cpuLimit": "0.2", "memoryRequest": "64Mi", "memoryLimit": "96Mi"}
VALUE_SETS: dict[str, Document] = {
    "a registry": {"image": IMAGE},
    "v1beta1": {"image": IMAGE, "admission": {"apiVersion": "v1beta1"}},
    "an image by digest": {
        "image": {
            "registry": "registry.example:5000/",
            "name": "mirror/broker",
            "tag": "x",
            "digest": f"sha256:{'a' * 64}",
        }
    },
    "OpenShift": {"image": IMAGE, "admission": {"setsFsGroup": False}},
    "own selector": {"image": IMAGE, "admission": {"namespaceSelector": SELECTOR}},
    "own resources": {"image": IMAGE, "admission": {"resources": RESOURCES}},
    "failures are ignored": {"image": IMAGE, "admission": {"failurePolicy": "Ignore"}},
    "own runbooks and labels": {"image": IMAGE, "monitoring": {"runbookUrl": RUNBOOK, "labels": {"release": "x"}}},
    "without monitoring": {"image": IMAGE, "monitoring": {"enabled": False}},
    "without admission": {"admission": {"enabled": False}},
}


def render_files(values: Document, chart: Path = CHART) -> dict[str, str]:
    """Return the text of each rendered template, by the name of its file."""
    with helm.Chart.load(chart) as loaded:
        texts: dict[str, str] = loaded.render(values, name="platform", namespace="monitoring")
    return {name.rpartition("/")[2]: text for name, text in texts.items()}


def render(values: Document) -> list[Document]:
    """Return the rendered objects."""
    files = render_files(values)
    texts = [text for name, text in files.items() if name.endswith(".yaml")]
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


def render_plain(values: Document) -> list[Document]:
    """Return the rendered objects without Helm's labels, by kind."""
    return sort_by_kind([remove_labels(document) for document in render(values)])


def of_kind(documents: list[Document], kind: str) -> Document:
    """Return the only document of a kind."""
    (document,) = (each for each in documents if each["kind"] == kind)
    return document


def kustomize_patched(directory: Path, resources: list[str], **more: Any) -> list[Document]:  # noqa: ANN401 - any YAML
    """Return the documents of a kustomization of copies of deploy/ in `directory`, by kind."""
    links = {"admission", "admission-v1beta1", "monitoring"}
    for name in links:
        (directory / name).mkdir()
        for path in (DEPLOY / name).rglob("*"):
            target = directory / name / path.relative_to(DEPLOY / name)
            if path.is_dir():
                target.mkdir()
            else:
                target.write_text(path.read_text())
    root = directory / "own"
    root.mkdir()
    (root / "kustomization.yaml").write_text(
        yaml.safe_dump({"resources": [f"../{each}" for each in resources], **more})
    )
    return sort_by_kind(kustomize(root))


def replace_in(kind: str, **paths: object) -> Document:
    """Return a patch that replaces fields of objects of a kind. `__` stands for a slash."""
    operations = [
        {"op": "replace", "path": "/" + path.replace("__", "/"), "value": value} for path, value in paths.items()
    ]
    return {"target": {"kind": kind}, "patch": yaml.safe_dump(operations)}


def image_patch(image: str, *, sets_group: bool = True) -> Document:
    """Return the patch of deploy/README.md."""
    expressions = {
        "spec__variables__0__expression": f"'{image}'",
        "spec__variables__1__expression": str(sets_group).lower(),
    }
    return replace_in("MutatingAdmissionPolicy", **expressions)


DEFAULT_PATCH = image_patch(f"{REGISTRY}/{SIDECAR_IMAGE}")


class TestHelm:
    """What Helm itself accepts."""

    @pytest.mark.parametrize("name", ["defaults", *VALUE_SETS])
    def test_chart_is_linted_without_warnings(self, name: str) -> None:
        report = helm.lint(CHART, VALUE_SETS.get(name), strict=True)
        assert report["errors"] == []
        assert [each["error"] for each in report["messages"]] == ["icon is recommended"]

    def test_lint_finds_a_template_that_is_wrong(self, tmp_path: Path) -> None:
        broken = copy_chart(tmp_path)
        (broken / "templates/monitoring.yaml").write_text("{{ .Values.none.here }}\n")
        assert helm.lint(broken, strict=True)["errors"]

    @pytest.mark.parametrize("name", VALUE_SETS)
    def test_objects_are_valid_for_kubernetes(self, name: str) -> None:
        is_beta = VALUE_SETS[name].get("admission", {}).get("apiVersion") == "v1beta1"
        for document in render(VALUE_SETS[name]):
            if not document["apiVersion"].startswith("monitoring.coreos.com/"):
                kubernetes_validate.validate(document, "1.34" if is_beta else "1.36", strict=True)

    def test_chart_has_the_version_of_the_broker(self) -> None:
        with helm.Chart.load(CHART) as chart:
            assert (chart.version, chart.metadata["appVersion"]) == (__version__, __version__)

    def test_package_contains_the_files(self, tmp_path: Path) -> None:
        with helm.Chart.load(CHART) as chart, helm.Chart.load(chart.save(tmp_path)) as packed:
            names = {file["name"] for file in packed.files}
        assert names >= {"README.md", *(f"files/{copy.name}" for copy in COPIES)}


def copy_chart(directory: Path) -> Path:
    """Return a copy of the chart that a test can change."""
    target = directory / CHART.name
    for path in CHART.rglob("*"):
        if path.is_file():
            (target / path.relative_to(CHART)).parent.mkdir(parents=True, exist_ok=True)
            (target / path.relative_to(CHART)).write_text(path.read_text())
    return target


class TestEquivalence:
    """The chart and the kustomizations give the same objects."""

    @pytest.mark.parametrize("path", COPIES, ids=lambda path: str(path.name))
    def test_file_is_a_copy_of_its_source(self, path: Path) -> None:
        assert path.read_bytes() == COPIES[path].read_bytes(), "run python -m tests.deploy.charts"

    def test_there_is_no_other_file(self) -> None:
        assert set((CHART / "files").iterdir()) == COPIES.keys()

    @needs_kubectl
    @pytest.mark.parametrize("version", ["v1", "v1beta1"])
    def test_objects_are_those_of_the_kustomizations(self, version: str, tmp_path: Path) -> None:
        admission = "admission" if version == "v1" else "admission-v1beta1"
        expected = kustomize_patched(tmp_path, [admission, "monitoring"], patches=[DEFAULT_PATCH])
        assert render_plain({"image": IMAGE, "admission": {"apiVersion": version}}) == expected

    @needs_kubectl
    @pytest.mark.parametrize(
        ("values", "resources", "patches"),
        [
            ("without monitoring", ["admission"], [DEFAULT_PATCH]),
            ("without admission", ["monitoring"], []),
            (
                "OpenShift",
                ["admission", "monitoring"],
                [image_patch(f"{REGISTRY}/{SIDECAR_IMAGE}", sets_group=False)],
            ),
            (
                "an image by digest",
                ["admission", "monitoring"],
                [image_patch(f"registry.example:5000/mirror/broker:x@sha256:{'a' * 64}")],
            ),
            (
                "own selector",
                ["admission", "monitoring"],
                [
                    DEFAULT_PATCH,
                    replace_in(
                        "(Mut|Valid)atingAdmissionPolicyBinding", spec__matchResources__namespaceSelector=SELECTOR
                    ),
                ],
            ),
            (
                "failures are ignored",
                ["admission", "monitoring"],
                [DEFAULT_PATCH, replace_in("(Mut|Valid)atingAdmissionPolicy", spec__failurePolicy="Ignore")],
            ),
        ],
    )
    def test_set_values_are_those_of_a_patch(
        self, values: str, resources: list[str], patches: list[Document], tmp_path: Path
    ) -> None:
        assert render_plain(VALUE_SETS[values]) == kustomize_patched(tmp_path, resources, patches=patches)

    @needs_kubectl
    def test_runbook_url_and_labels_are_those_of_the_component(self, tmp_path: Path) -> None:
        expected = kustomize_patched(
            tmp_path,
            ["admission", "monitoring"],
            patches=[DEFAULT_PATCH],
            components=["../monitoring/runbook-url"],
            configMapGenerator=[
                {
                    "name": "sts-broker-runbook",
                    "literals": [f"url={RUNBOOK}"],
                    "options": {"annotations": {"config.kubernetes.io/local-config": "true"}},
                }
            ],
        )
        for document in expected:
            if document["kind"] in {"PodMonitor", "PrometheusRule", "ConfigMap"}:
                document["metadata"].setdefault("labels", {})["release"] = "x"
        assert render_plain(VALUE_SETS["own runbooks and labels"]) == expected
        assert RUNBOOK in str(expected)


class TestValues:
    """What the values do, and what is refused."""

    @pytest.mark.parametrize("name", VALUE_SETS)
    def test_values_are_valid_for_the_schema(self, name: str) -> None:
        with helm.Chart.load(CHART) as chart:
            chart.validate_schema(VALUE_SETS[name])

    @pytest.mark.parametrize(
        ("values", "named"),
        [
            ({"imagee": {}}, "imagee"),
            ({"image": {"repository": "x"}}, "repository"),
            ({"image": {"registry": "https://registry.example"}}, "/image/registry"),
            ({"image": {"tag": "a b"}}, "/image/tag"),
            ({"image": {"digest": "sha256:1"}}, "/image/digest"),
            ({"admission": {"apiVersion": "v1alpha1"}}, "/admission/apiVersion"),
            ({"admission": {"failurePolicy": "Never"}}, "/admission/failurePolicy"),
            ({"admission": {"setsFsGroup": "no"}}, "/admission/setsFsGroup"),
            ({"admission": {"namespaceSelector": {"team": "x"}}}, "team"),
            ({"admission": {"resources": {"cpuRequest": "0"}}}, "/admission/resources/cpuRequest"),
            ({"admission": {"resources": {"cpuLimit": "1'"}}}, "/admission/resources/cpuLimit"),
            ({"admission": {"resources": {"memoryLimit": "64MB"}}}, "/admission/resources/memoryLimit"),
            ({"monitoring": {"labels": {"release": 1}}}, "/monitoring/labels/release"),
            ({"monitoring": {"runbookUrl": "docs/operations.md"}}, "/monitoring/runbookUrl"),
        ],
    )
    def test_wrong_value_is_named(self, values: Document, named: str) -> None:
        with pytest.raises(helm.errors.HelmValuesError, match=re.escape(named)):
            render({**values, "image": {**IMAGE, **values.get("image", {})}})

    def test_admission_without_a_registry_is_refused(self) -> None:
        with pytest.raises(helm.errors.HelmRenderError, match=r"image\.registry is empty.*--set image\.registry="):
            render({})

    def test_every_object_of_the_schema_is_closed(self) -> None:
        def find_open(schema: Document, path: str) -> list[str]:
            below = schema.get("properties", {})
            is_open = bool(below) and schema.get("additionalProperties") is not False
            return [*([path] if is_open else []), *(x for k, v in below.items() for x in find_open(v, f"{path}/{k}"))]

        with helm.Chart.load(CHART) as chart:
            schema = chart.schema
        jsonschema.Draft7Validator.check_schema(schema)
        assert find_open(schema, "") == []

    def test_comment_of_each_value_is_its_description(self) -> None:
        text = (CHART / "values.yaml").read_text()
        for value in read_values():
            name = value.key.rpartition(".")[2]
            found = re.search(rf"^ *# (.*)\n *{name}:", _find_parent(text, value.key), re.MULTILINE)
            assert found, value.key
            assert found[1] == value.description, value.key

    @pytest.mark.parametrize("name", ["a registry", "own resources"])
    def test_pod_gets_image_and_resources(self, name: str) -> None:
        server = _new_server(render(VALUE_SETS[name]))
        (sidecar,) = server.create(_make_pod())["spec"]["initContainers"]
        assert sidecar["image"] == f"{REGISTRY}/{SIDECAR_IMAGE}"
        assert sidecar["resources"] == (
            {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "0.2", "memory": "96Mi"}}
            if name == "own resources"
            else {"requests": {"cpu": "10m", "memory": "24Mi"}, "limits": {"memory": "64Mi"}}
        )

    @pytest.mark.parametrize(
        ("annotation", "value", "message"),
        [
            ("cpu-request", "300m", "cpu-request, or its default of 100m, is above annotation sts-broker/cpu-limit"),
            ("cpu-limit", "50m", "its default of 100m"),
            ("memory-request", "100Mi", "its default of 96Mi"),
            ("memory-limit", "32Mi", "its default of 64Mi"),
        ],
    )
    def test_annotations_are_compared_with_the_resources_of_the_values(
        self, annotation: str, value: str, message: str
    ) -> None:
        api_server = pytest.importorskip("tests.deploy.api_server")
        server = _new_server(render(VALUE_SETS["own resources"]))
        with pytest.raises(api_server.Refused, match=message):
            server.create(_make_pod({f"sts-broker/{annotation}": value}))

    def test_own_selector_replaces_the_label(self) -> None:
        server = _new_server(render(VALUE_SETS["own selector"]))
        for binding in ("MutatingAdmissionPolicyBinding", "ValidatingAdmissionPolicyBinding"):
            assert of_kind(server.documents, binding)["spec"]["matchResources"]["namespaceSelector"] == SELECTOR

    def test_changed_policy_that_the_templates_do_not_fit_is_an_error(self, tmp_path: Path) -> None:
        changed = copy_chart(tmp_path)
        file = changed / "files/injection.yaml"
        file.write_text(file.read_text().replace("'cpu': '10m'", "'cpu': '11m'"))
        with pytest.raises(helm.errors.HelmRenderError, match="templates are out of date"):
            render_files({"image": IMAGE}, changed)

    def test_examples_of_the_readme_render(self) -> None:
        readme = (CHART / "README.md").read_text()
        (command,), (example,) = (re.findall(rf"```{name}\n(.*?)```", readme, re.DOTALL) for name in ("sh", "yaml"))
        assert re.findall(r"--set (\S+)", command) == [f"image.registry={REGISTRY}"]
        assert CHART.relative_to(DEPLOY.parent).as_posix() in command
        binding = of_kind(render({"image": IMAGE, **yaml.safe_load(example)}), "MutatingAdmissionPolicyBinding")
        assert binding["spec"]["matchResources"]["namespaceSelector"] == SELECTOR

    def test_notes_name_the_next_steps(self) -> None:
        notes = render_files(VALUE_SETS["a registry"])["NOTES.txt"]
        assert f"{REGISTRY}/{SIDECAR_IMAGE}" in notes
        assert "kubectl label namespace NAMESPACE sts-broker/injection=enabled" in notes
        assert "monitoring.runbookUrl" in notes
        notes = render_files(VALUE_SETS["own selector"])["NOTES.txt"]
        assert "key: team" in notes
        assert "sts-broker/injection=enabled" not in notes
        notes = render_files({"admission": {"enabled": False}, "monitoring": {"enabled": False}})["NOTES.txt"]
        assert "admission.enabled is false" in notes
        assert "monitoring.enabled is false" in notes


def _find_parent(text: str, key: str) -> str:
    """Return the text of values.yaml from the parent of a key on."""
    for parent in key.split(".")[:-1]:
        text = re.split(rf"^ *{parent}:\n", text, maxsplit=1, flags=re.MULTILINE)[1]
    return text


def _make_pod(annotations: dict[str, str] | None = None) -> Document:
    metadata = {"name": "x", "annotations": {**ANNOTATIONS, **(annotations or {})}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": [{"name": "app", "image": "x"}]},
    }


def _new_server(documents: list[Document]) -> Any:  # noqa: ANN401 - ApiServer, which needs cel-expr-python
    return pytest.importorskip("tests.deploy.api_server").ApiServer(documents=copy.deepcopy(documents))
