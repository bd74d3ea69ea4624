"""Pods for Windows nodes, for which there is no image: `inject` refuses them with the reason.

Seen with other injectors: a Linux container in such a pod keeps it from running, and the API server refuses Linux
security contexts if `spec.os.name` is `windows`.
"""

from __future__ import annotations

import pytest

from broker.core.errors import ConfigurationError
from tests.support.injecting import OPTIONS, run_inject

FIELDS = {
    "the name of the system": "os: {name: windows}\n  securityContext: {windowsOptions: {runAsUserName: app}}",
    "the old label": "nodeSelector: {beta.kubernetes.io/os: windows}",
    "the label, with others": "nodeSelector: {disk: ssd, kubernetes.io/os: windows}",
    "only options": "securityContext: {windowsOptions: {hostProcess: true}}",
}


@pytest.mark.parametrize("name", FIELDS)
def test_windows_pod_is_refused_with_the_reason(name: str) -> None:
    text = (
        f"apiVersion: v1\nkind: Pod\nmetadata: {{name: win}}\nspec:\n  {FIELDS[name]}\n  containers: [{{name: web}}]\n"
    )
    with pytest.raises(ConfigurationError) as caught:
        run_inject(text, OPTIONS)
    (fault,) = caught.value.faults
    assert fault.startswith("document 1, line 5, Pod win: the pod is for Windows, and there is no image for Windows")
