"""Pods that request the proxy of a service mesh, and what keeps the proxy from blocking the broker."""

from __future__ import annotations

import pytest

from broker.inject.injection import inject
from broker.inject.outcome import Outcome
from broker.inject.service_mesh import MESHES, find_mesh_warnings, has_port
from broker.inject.sidecar_request import Request

POD = """\
apiVersion: v1
kind: Pod
metadata:
  x: &common {tier: web}
  labels:
    <<: *common
    sidecar.istio.io/inject: "true"
spec: {containers: [{name: app, image: x}]}
"""
REQUESTS = {
    "sidecar.istio.io/inject": "true",
    "istio.io/rev": "canary",
    "linkerd.io/inject": "ingress",
    "consul.hashicorp.com/connect-inject": "true",
    "kuma.io/sidecar-injection": "enabled",
}
NATIVE = [name for mesh in MESHES for name in mesh.native]
SKIPS = [name for mesh in MESHES for name in mesh.skips]


@pytest.mark.parametrize(("name", "value"), REQUESTS.items())
def test_request_of_a_proxy_is_named_with_what_helps(name: str, value: str) -> None:
    ((source, warning),) = find_mesh_warnings({"other": "x", name: value})
    assert source == name
    assert warning.startswith(f"{name} requests the proxy of ")
    assert any(f'{skip}: "443"' in warning for skip in SKIPS)


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("value", ["false", "disabled", ""])
def test_proxy_that_is_turned_off_is_fine(name: str, value: str) -> None:
    if name != "istio.io/rev" or not value:  # a revision can have any name
        assert list(find_mesh_warnings({name: value})) == []


def test_label_next_to_merged_labels_is_found_with_its_line() -> None:
    outcome = Outcome()
    inject(POD, Request(options={"role_arn": "arn:aws:iam::123456789012:role/app", "region": "eu-west-1"}), outcome)
    assert outcome.faults == []
    (warning,) = outcome.warnings
    assert warning.startswith("document 1, line 7, Pod (unnamed): sidecar.istio.io/inject requests")


def test_revision_with_the_proxy_turned_off_is_fine() -> None:
    assert list(find_mesh_warnings({"istio.io/rev": "canary", "sidecar.istio.io/inject": "false"})) == []


@pytest.mark.parametrize(
    "remedy",
    [*((name, "true") for name in NATIVE), *((name, value) for name in SKIPS for value in ("443", "80,400-500"))],
)
def test_remedy_of_one_mesh_silences_only_its_own_warning(remedy: tuple[str, str]) -> None:
    warned = [source for source, _ in find_mesh_warnings({**REQUESTS, remedy[0]: remedy[1]})]
    owner = next(mesh for mesh in MESHES if remedy[0] in (*mesh.native, *mesh.skips))
    assert not set(warned) & owner.requests.keys()
    assert len(warned) == len(MESHES) - 1


@pytest.mark.parametrize("name", [*NATIVE, *SKIPS])
@pytest.mark.parametrize("value", ["false", "4430", "", "44-3"])
def test_other_value_of_a_remedy_does_not_help(name: str, value: str) -> None:
    assert len(list(find_mesh_warnings({**REQUESTS, name: value}))) == len(MESHES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *(("443", True), ("80, 443", True), ("440-450", True), ("443-443", True), ("*", True)),
        *(("", False), ("44", False), ("444-450", False), ("450-440", False), ("x", False), ("443x", False)),
    ],
)
def test_port_is_found_in_lists_and_ranges(text: str, expected: bool) -> None:
    assert has_port(text, 443) is expected
