"""Service accounts that EKS's webhook acts on, in the same manifests as the pods that use them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from broker.inject.injection import run
from broker.inject.sidecar_request import Request

if TYPE_CHECKING:
    from pathlib import Path

ACCOUNT = """\
apiVersion: v1
kind: ServiceAccount
metadata:
  name: app
  annotations: {eks.amazonaws.com/role-arn: "arn:aws:iam::123456789012:role/app"}
"""
POD = """\
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  serviceAccountName: app
  containers: [{name: web, image: x}, {name: log, image: y}]
"""


def find_warnings(texts: list[str], directory: Path, capsys: pytest.CaptureFixture[str], *containers: str) -> list[str]:
    files = [directory / f"{number}.yaml" for number in range(len(texts))]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text)
    options = {"role_arn": "arn:aws:iam::123456789012:role/app", "region": "eu-west-1"}
    request = Request(options=options, containers=containers)
    run([str(file) for file in files], request, check=False, stdin=io.BytesIO(), output=io.BytesIO())
    return capsys.readouterr().err.splitlines()


@pytest.mark.parametrize("texts", [[f"{ACCOUNT}---\n{POD}"], [f"{POD}---\n{ACCOUNT}"], [ACCOUNT, POD], [POD, ACCOUNT]])
def test_account_before_or_after_its_pod_is_named(
    texts: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (warning,) = find_warnings(texts, tmp_path, capsys)
    assert "Pod p: service account app (" in warning
    assert warning.endswith('annotate the pod with eks.amazonaws.com/skip-containers: "web,log"')


@pytest.mark.parametrize(("kind", "kind_of_item"), [("List", "kind: ServiceAccount, "), ("ServiceAccountList", "")])
def test_account_in_a_list_is_named_with_the_line_of_the_pod(
    kind: str, kind_of_item: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The items of a typed list have no kind, as the Kubernetes API sends them."""
    account = f"{{{kind_of_item}metadata: {{name: app, annotations: {{eks.amazonaws.com/role-arn: x}}}}}}"
    text = f"apiVersion: v1\nkind: {kind}\nitems: [{account}]\n---\n{POD}"
    (warning,) = find_warnings([text], tmp_path, capsys)
    assert warning.startswith("sts-broker: document 2, line 9, Pod p: service account app (document 1) has annotation")


def test_account_without_a_name_in_the_pod_is_the_default_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pod = POD.replace("  serviceAccountName: app\n", "")
    assert find_warnings([f"{ACCOUNT}---\n{pod}"], tmp_path, capsys) == []
    (warning,) = find_warnings([f"{ACCOUNT.replace('name: app', 'name: default')}---\n{pod}"], tmp_path, capsys)
    assert "service account default" in warning


def test_account_of_another_namespace_is_fine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    account = ACCOUNT.replace("  name: app\n", "  name: app\n  namespace: one\n")
    pods = [POD.replace("{name: p}", f"{{name: p, namespace: {name}}}") for name in ("one", "two")]
    assert len(find_warnings([f"{account}---\n{pods[0]}"], tmp_path, capsys)) == 1
    assert find_warnings([f"{account}---\n{pods[1]}"], tmp_path, capsys) == []
    assert len(find_warnings([f"{account}---\n{POD}"], tmp_path, capsys)) == 1, "kubectl's namespace may be the same"


def test_only_containers_that_the_webhook_changes_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    skip = "annotations: {eks.amazonaws.com/skip-containers: 'web, other'}"
    pod = POD.replace("{name: p}", f"{{name: p, {skip}}}")
    (warning,) = find_warnings([f"{ACCOUNT}---\n{pod}"], tmp_path, capsys)
    assert warning.endswith('skip-containers: "log"')
    assert find_warnings([f"{ACCOUNT}---\n{pod}"], tmp_path, capsys, "web") == []
    empty = POD.replace("image: x", 'image: x, env: [{name: AWS_WEB_IDENTITY_TOKEN_FILE, value: ""}]')
    (warning,) = find_warnings([f"{ACCOUNT}---\n{empty}"], tmp_path, capsys)
    assert warning.endswith('skip-containers: "log"')


def test_account_without_the_annotation_is_fine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    account = ACCOUNT.replace("role-arn", "audience")
    assert find_warnings([f"{account}---\n{POD}"], tmp_path, capsys) == []
