"""A pod in a service mesh, whose proxy blocks the network until it has started.

With the CNI plugins of Istio and Linkerd, init containers cannot connect to anything while the proxy is a regular
container. `inject` warns, and the remedy of a refused connection to STS names the mesh.
"""

from __future__ import annotations

import pytest

from broker.core.model import StsSpec
from broker.net.http_messages import Failure, NoAnswer
from broker.sts.connection_faults import explain_failure
from tests.support.injecting import OPTIONS, run_inject

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  template:
    metadata:
      %s:
        %s
    spec:
      containers: [{name: web, image: x}]
"""


@pytest.mark.parametrize(
    ("kind", "entry", "remedy"),
    [
        ("labels", 'sidecar.istio.io/inject: "true"', 'traffic.sidecar.istio.io/excludeOutboundPorts: "443"'),
        ("annotations", 'sidecar.istio.io/inject: "true"', 'sidecar.istio.io/nativeSidecar: "true"'),
        ("annotations", "linkerd.io/inject: enabled", 'config.linkerd.io/skip-outbound-ports: "443"'),
    ],
)
def test_mesh_is_named_with_what_helps(kind: str, entry: str, remedy: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = DEPLOYMENT % (kind, entry)
    run_inject(text, OPTIONS)
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith("sts-broker: document 1, line 8, Deployment shop: ")
    assert remedy in warning


def test_refused_connection_to_sts_names_the_mesh() -> None:
    answer = NoAnswer(failure=Failure.CONNECTION, found="Connection refused")
    explanation = explain_failure(answer, "https://sts.eu-west-1.amazonaws.com", StsSpec())
    assert "In a service mesh" in explanation.remedy
    assert "native sidecar" in explanation.remedy
