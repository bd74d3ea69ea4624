"""A namespace whose quota requires limits of CPU: option and annotation give the sidecar one.

Many injectors had no such option at first, and their pods were refused with "must specify limits.cpu".
"""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.support.injecting import run_inject

ROLE = "arn:aws:iam::123456789012:role/app"
QUANTITIES = {"cpu-request": "50m", "cpu-limit": "200m", "memory-request": "32Mi", "memory-limit": "96Mi"}
POD = """\
apiVersion: v1
kind: Pod
metadata: {name: app, annotations: %s}
spec:
  containers:
    - {name: web, image: x, resources: {requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 2, memory: 2Gi}}}
"""


def inject(annotations: dict[str, str], options: dict[str, str]) -> dict[str, Any]:
    _, result = run_inject(POD % (annotations or "{}"), options)
    sidecar: dict[str, Any] = yaml.safe_load(result)["spec"]["initContainers"][0]
    return sidecar


@pytest.mark.parametrize("name", QUANTITIES)
def test_each_quantity_can_be_set_by_option_and_by_annotation(name: str) -> None:
    required = {"role_arn": ROLE, "region": "eu-west-1"}
    by_option = inject({}, {**required, name.replace("-", "_"): QUANTITIES[name]})
    by_annotation = inject({f"sts-broker/{name}": QUANTITIES[name]}, required)
    assert by_option == by_annotation
    resource, _, bound = name.partition("-")
    assert by_option["resources"][f"{bound}s"][resource] == QUANTITIES[name]


def test_all_quantities_fill_what_a_quota_can_require() -> None:
    annotations = {f"sts-broker/{name}": value for name, value in QUANTITIES.items()}
    sidecar = inject(annotations, {"role_arn": ROLE, "region": "eu-west-1"})
    assert sidecar["resources"] == {
        "requests": {"cpu": "50m", "memory": "32Mi"},
        "limits": {"cpu": "200m", "memory": "96Mi"},
    }
