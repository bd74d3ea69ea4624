"""A database whose volumes the new fsGroup would change: a large claim, and a private key that only its user may read.

With an fsGroup, the kubelet changes group and modes of all files at each start, and lets the group read a Secret of
mode 0400. ssh then refuses the key, and PostgreSQL its directory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from tests.support.injecting import OPTIONS, run_inject

if TYPE_CHECKING:
    import pytest

TEXT = """\
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: store}
spec:
  template:
    spec:
      containers:
        - name: store
          image: x
          volumeMounts: [{name: files, mountPath: /srv}, {name: host-key, mountPath: /keys}]
      volumes:
        - name: host-key
          secret: {secretName: k, defaultMode: 0400}
  volumeClaimTemplates: [{metadata: {name: files}}]
"""


def test_claim_and_key_are_named_and_the_claim_is_changed_once(capsys: pytest.CaptureFixture[str]) -> None:
    _, result = run_inject(TEXT, OPTIONS)
    claim, key = capsys.readouterr().err.splitlines()
    assert "gives all files of files that group" in claim
    assert "volume host-key, so mode 0400 becomes 0440" in key
    assert key.startswith("sts-broker: document 1, line 13, ")
    assert all("--no-fs-group" in each and "supplementalGroups: [65532]" in each for each in (claim, key))
    context = yaml.safe_load(result)["spec"]["template"]["spec"]["securityContext"]
    assert context == {"fsGroup": 65532, "fsGroupChangePolicy": "OnRootMismatch"}


def test_without_a_new_group_nothing_changes(capsys: pytest.CaptureFixture[str]) -> None:
    _, result = run_inject(TEXT, OPTIONS, sets_group=False)
    assert capsys.readouterr().err == ""
    assert "fsGroup" not in result
