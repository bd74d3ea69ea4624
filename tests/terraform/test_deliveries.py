"""The outputs of workload-role for `sts-broker inject`, annotations and the kustomize component, used for real."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from broker.cli.main import main
from tests.deploy.rendering import DEPLOY, Rendered, kustomize, needs_kubectl
from tests.terraform.test_evaluated import ROLE, evaluate_module, find_output

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ARN = "arn:aws:iam::123456789012:role/payments-api"
CHANGES: dict[str, Any] = {"audience": "it's-mine", "session_seconds": 1800}
APP = DEPLOY / "examples/self-managed/app.yaml"


@dataclass(frozen=True, slots=True)
class Outputs:
    """The outputs of the module, with an ARN in place of the one that is known after the apply."""

    blocks: dict[str, list[dict[str, Any]]]

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - an HCL value
        value = find_output(self.blocks, name)
        (unknown,) = (one["id"] for one in self.blocks["aws_iam_role"])
        if isinstance(value, dict):
            return {key: each.replace(unknown, ARN) for key, each in value.items()}
        return value.replace(unknown, ARN)


@pytest.fixture(params=[{}, CHANGES], ids=["defaults", "changes"])
def outputs(request: pytest.FixtureRequest, tree: Path) -> Outputs:
    return Outputs(evaluate_module(tree, "workload-role", **{**ROLE, **request.param}))


@pytest.fixture
def inject(capfdbinary: pytest.CaptureFixture[bytes]) -> Callable[..., list[dict[str, Any]]]:
    def run(*arguments: str) -> list[dict[str, Any]]:
        code = main(["inject", *arguments])
        printed = capfdbinary.readouterr()
        assert code == 0, printed.err
        return list(yaml.safe_load_all(printed.out))

    return run


def broker_of(documents: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the broker's container in the only Deployment."""
    (spec,) = (each["spec"]["template"]["spec"] for each in documents if each["kind"] == "Deployment")
    (broker,) = (each for each in spec["initContainers"] if each["name"] == "sts-broker")
    return dict(broker)


def environment_of(broker: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in broker["env"]}


def test_inject_takes_the_options_and_sets_the_variables_of_the_module(
    outputs: Outputs, inject: Callable[..., list[dict[str, Any]]]
) -> None:
    broker = broker_of(inject("-f", str(APP), *shlex.split(outputs["inject_options"])))
    assert outputs["broker_environment"].items() <= environment_of(broker).items()


def test_inject_takes_the_annotations_and_adds_the_same_sidecar(
    outputs: Outputs, inject: Callable[..., list[dict[str, Any]]], tmp_path: Path
) -> None:
    documents = list(yaml.safe_load_all(APP.read_text()))
    for document in documents:
        if document["kind"] == "Deployment":
            document["spec"]["template"]["metadata"]["annotations"] = outputs["pod_annotations"]
    annotated = tmp_path / "app.yaml"
    annotated.write_text(yaml.safe_dump_all(documents))
    by_options = inject("-f", str(APP), *shlex.split(outputs["inject_options"]))
    assert broker_of(inject("-f", str(annotated))) == broker_of(by_options)


@needs_kubectl
def test_component_takes_the_file_and_has_the_variables_of_the_module(outputs: Outputs, tmp_path: Path) -> None:
    (tmp_path / "component").symlink_to(DEPLOY / "component")
    root = tmp_path / "root"
    root.mkdir()
    (root / "app.yaml").write_text(APP.read_text())
    (root / "broker.env").write_text(outputs["component_env"])
    generator = [{"name": "sts-federation-broker", "envs": ["broker.env"]}]
    (root / "kustomization.yaml").write_text(
        yaml.safe_dump({"resources": ["app.yaml"], "components": ["../component"], "configMapGenerator": generator})
    )
    rendered = Rendered(documents=tuple(kustomize(root)))
    config_maps = {each["metadata"]["name"].rpartition("-")[0]: each["data"] for each in rendered.of_kind("ConfigMap")}
    assert config_maps["sts-federation-broker"] == outputs["broker_environment"]
    region = outputs["broker_environment"]["AWS_REGION"]
    assert config_maps["sts-federation-broker-region"] == {"AWS_REGION": region, "AWS_DEFAULT_REGION": region}
