"""Annotated pod templates of kinds outside of Kubernetes' own groups: they get the sidecar, or the check fails."""

from __future__ import annotations

import pytest

from tests.support.injecting import OPTIONS, inject_text, run_inject

ROLLOUT = """\
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: checkout}
spec:
  selector: {matchLabels: {app: checkout}}
  strategy: {blueGreen: {activeService: checkout}}
  template:
    metadata:
      labels: {app: checkout}
      annotations:
        sts-broker/role-arn: arn:aws:iam::123456789012:role/checkout
        sts-broker/region: eu-central-1
    spec:
      containers:
        - {name: api, image: registry.example/api}
"""
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: front}
spec:
  selector: {matchLabels: {app: front}}
  template:
    metadata: {labels: {app: front}}
    spec: {containers: [{name: front, image: registry.example/front}]}
"""


def test_check_of_an_annotated_rollout_without_sidecar_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_inject(ROLLOUT, {}, check=True) == (1, "")
    assert capsys.readouterr().err == "sts-broker: document 1, Rollout checkout: lacks the sidecar\n"


def test_annotated_rollout_gets_the_sidecar_with_its_role() -> None:
    result = inject_text(ROLLOUT, {})
    assert "restartPolicy: Always" in result
    assert result.count("role/checkout") == 2


def test_role_for_all_pods_reaches_the_rollout_too() -> None:
    result = inject_text(f"{DEPLOYMENT}---\n{ROLLOUT}")
    assert result.count("sts-federation-broker:") == 2


@pytest.mark.parametrize("kind", ["Rollout", "Workflow"])
def test_annotation_in_a_place_without_pod_template_never_passes(kind: str) -> None:
    text = ROLLOUT.replace("kind: Rollout", f"kind: {kind}").replace("      containers:", "      jobs:")
    for check in (False, True):
        with pytest.raises(Exception, match="sts-broker/role-arn is not in the metadata of a pod"):
            run_inject(text, {}, check=check)
        with pytest.raises(Exception, match="sts-broker/region is not in the metadata of a pod"):
            run_inject(text, OPTIONS, check=check)
