"""`sts-broker inject` and the policies recognize the sidecar in the README's pod and in every example."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from broker.core.errors import ConfigurationError
from broker.inject.injection import EXIT_LACKING, run
from broker.inject.sidecar import CREDENTIALS_VOLUME, NAME, TOKEN_VOLUME
from broker.inject.sidecar_request import Request
from tests.deploy.rendering import DEPLOY, EXAMPLES, Document, Pod, example, find_template, needs_kubectl
from tests.support.unfit_pods import ANNOTATIONS, ROLE

if TYPE_CHECKING:
    from tests.deploy.api_server import ApiServer

OPTIONS = {"role_arn": ROLE, "region": "eu-west-1"}
DIFFERS = "has a sidecar that differs from what inject would write"
REGULAR = "sts-broker runs as a regular container"
BEFORE_NATIVE_SIDECARS = [name for name in EXAMPLES if name.startswith("before-native-sidecars")]
NATIVE = [name for name in EXAMPLES if name not in (*BEFORE_NATIVE_SIDECARS, "environment-variables", "exec")]


def read_readme_pod() -> str:
    """Return the manifest in the README's section "In a pod", as it is written there."""
    section = (DEPLOY.parent / "README.md").read_text().split("\n## In a pod\n")[1].split("\n## ")[0]
    (manifest, *_) = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    return str(manifest)


def render_example(name: str) -> str:
    return yaml.safe_dump_all(example(name).documents)


def run_inject(text: str, *, check: bool = False, options: dict[str, str] | None = None) -> tuple[int, str]:
    output = io.BytesIO()
    request = Request(options=OPTIONS if options is None else options)
    code = run(["-"], request, check=check, stdin=io.BytesIO(text.encode()), output=output)
    return code, output.getvalue().decode()


def find_pods(text: str) -> list[Document]:
    """Return the specs of the pods in a text."""
    documents = [each for each in yaml.safe_load_all(text) if "containers" in str(each)]
    return [each["spec"] if each["kind"] == "Pod" else find_template(each)["spec"] for each in documents]


def check_nothing_is_duplicated(pod: Document) -> None:
    containers = [*pod["initContainers"], *pod["containers"]]
    assert [each["name"] for each in containers].count(NAME) == 1
    assert pod["initContainers"][0]["name"] == NAME
    lists: list[list[dict[str, Any]]] = [containers, pod["volumes"]]
    for container in containers:
        lists += [container.get("env", []), container.get("volumeMounts", []), container.get("ports", [])]
    for items in lists:
        names = [item["name"] for item in items]
        assert len(set(names)) == len(names)
    assert {CREDENTIALS_VOLUME, TOKEN_VOLUME} <= {volume["name"] for volume in pod["volumes"]}


def check_sidecar_is_recognized(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_inject(text, check=True) == (EXIT_LACKING, "")
    assert capsys.readouterr().err.rstrip().endswith(DIFFERS)
    _, result = run_inject(text)
    (pod,) = find_pods(result)
    check_nothing_is_duplicated(pod)
    assert run_inject(result, check=True) == (0, "")


def test_sidecar_of_the_readme_is_recognized_and_not_duplicated(capsys: pytest.CaptureFixture[str]) -> None:
    check_sidecar_is_recognized(read_readme_pod(), capsys)


def find_losses(before: Any, after: Any, path: str = "") -> list[str]:  # noqa: ANN401 - YAML values
    """Return the paths of values that are no longer there; items of lists are the same if they have the same name."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [loss for key in before for loss in find_losses(before[key], after.get(key), f"{path}.{key}")]
    if isinstance(before, list) and isinstance(after, list) and all("name" in item for item in before):
        named = {item["name"]: item for item in after}
        return [
            loss for item in before for loss in find_losses(item, named.get(item["name"]), f"{path}[{item['name']}]")
        ]
    return [] if before == after else [path]


def test_injection_keeps_every_value_of_the_readme() -> None:
    """The README's sidecar is the smallest one. Injection completes it, for example with resources."""
    before, after = (yaml.safe_load(text) for text in (read_readme_pod(), run_inject(read_readme_pod())[1]))
    assert find_losses(before, after) == []
    assert find_losses(after, before), "it adds something"


def test_annotated_pod_of_the_readme_is_recognized(capsys: pytest.CaptureFixture[str]) -> None:
    pod = yaml.safe_load(read_readme_pod())
    pod["metadata"]["annotations"] = dict(ANNOTATIONS)
    text = yaml.safe_dump(pod, sort_keys=False)
    assert run_inject(text, check=True, options={}) == (EXIT_LACKING, "")
    assert capsys.readouterr().err == f"sts-broker: document 1, Pod app: {DIFFERS}\n"
    assert run_inject(text, options={})[1].count("- name: sts-broker\n") == 1, "the container"


@needs_kubectl
@pytest.mark.parametrize("name", NATIVE)
def test_sidecar_of_an_example_is_recognized_and_not_duplicated(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    check_sidecar_is_recognized(render_example(name), capsys)


@needs_kubectl
@pytest.mark.parametrize("name", BEFORE_NATIVE_SIDECARS)
def test_broker_as_a_regular_container_is_recognized_and_refused(name: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        run_inject(render_example(name))
    (fault,) = caught.value.faults
    assert re.match(rf"document 4, line \d+, Deployment app: {REGULAR}", fault)


class TestAdmission:
    """The policies recognize the same sidecars."""

    @pytest.fixture
    def server(self) -> ApiServer:
        api_server = pytest.importorskip("tests.deploy.api_server")
        result: ApiServer = api_server.ApiServer(documents=api_server.read_policies())
        return result

    def annotate(self, spec: Document) -> Document:
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "annotations": ANNOTATIONS}, "spec": spec}

    def test_pod_of_the_readme_is_admitted_unchanged(self, server: ApiServer) -> None:
        pod = self.annotate(yaml.safe_load(read_readme_pod())["spec"])
        assert server.create(pod) == pod

    @needs_kubectl
    @pytest.mark.parametrize("name", NATIVE)
    def test_pod_of_an_example_is_admitted_unchanged(self, name: str, server: ApiServer) -> None:
        pod = self.annotate(example(name).pod.spec)
        assert server.create(pod) == pod

    @needs_kubectl
    @pytest.mark.parametrize("name", BEFORE_NATIVE_SIDECARS)
    def test_broker_as_a_regular_container_is_refused(self, name: str, server: ApiServer) -> None:
        example_pod: Pod = example(name).pod
        api_server = pytest.importorskip("tests.deploy.api_server")
        with pytest.raises(api_server.Refused) as caught:
            server.create(self.annotate(example_pod.spec))
        (message,) = caught.value.messages
        assert message.startswith(REGULAR)
