"""A Helm chart with a service account for EKS's webhook and the workload that gets the sidecar.

In the cluster, the webhook gives the app variables that SDKs prefer to the endpoint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.injecting import run_inject

if TYPE_CHECKING:
    import pytest

OPTIONS = {"role_arn": "arn:aws:iam::123456789012:role/shop", "region": "eu-west-1"}
TEXT = """\
kind: Deployment
apiVersion: apps/v1
metadata: {name: shop, namespace: web}
spec:
  template:
    spec:
      serviceAccountName: shop
      containers: [{name: cart, image: x}]
---
kind: ServiceAccount
apiVersion: v1
metadata:
  name: shop
  namespace: web
  annotations:
    eks.amazonaws.com/role-arn: arn:aws:iam::123456789012:role/shop
"""


def test_warning_names_the_containers_that_the_webhook_must_skip(capsys: pytest.CaptureFixture[str]) -> None:
    run_inject(TEXT, OPTIONS)
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith("sts-broker: document 1, line 7, Deployment web/shop: service account shop (document 2)")
    assert 'eks.amazonaws.com/skip-containers: "cart"' in warning
