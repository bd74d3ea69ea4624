"""The setting `token_source`: a file, or the Kubernetes API at the address that Kubernetes sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.core.errors import ConfigurationError
from broker.core.model import SERVICE_ACCOUNT_DIRECTORY, TokenRequestSpec
from broker.settings.loader import load
from tests.support.fakes import ROLE_ARN

if TYPE_CHECKING:
    from pathlib import Path

ROLE = {"AWS_ROLE_ARN": ROLE_ARN, "AWS_REGION": "eu-west-1"}
POD = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}
ASKING = {**ROLE, **POD, "BROKER_TOKEN_SOURCE": "token-request"}


def test_default_source_is_the_file_in_a_pod_too() -> None:
    assert load({**ROLE, **POD}).token_request is None
    assert load({**ROLE, "BROKER_TOKEN_SOURCE": "file"}).token_request is None


@pytest.mark.parametrize("host", ["10.96.0.1", "fd00::1", "kubernetes.default.svc"])
def test_api_address_comes_from_the_variables_of_kubernetes(host: str) -> None:
    found = load({**ASKING, "KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": "6443"}).token_request
    assert found == TokenRequestSpec(host=host, port=6443, directory=SERVICE_ACCOUNT_DIRECTORY)


def test_yaml_file_can_set_the_source(tmp_path: Path) -> None:
    file = tmp_path / "broker.yaml"
    file.write_text("token_source: token-request\n")
    assert load({**ROLE, **POD, "BROKER_CONFIG": str(file)}).token_request is not None


def test_unknown_source_is_a_fault() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load({**ASKING, "BROKER_TOKEN_SOURCE": "secret"})
    (fault,) = caught.value.faults
    assert fault.startswith("BROKER_TOKEN_SOURCE: ")
    assert "'file' or 'token-request'" in fault


@pytest.mark.parametrize(
    ("host", "port"),
    [
        *(("", ""), ("10.96.0.1", ""), ("", "443"), ("a b", "443"), ("x" * 300, "443"), ("[::1]", "443")),
        *(("10.96.0.1", port) for port in ("0", "65536", "٤٤٣", "tcp://10.96.0.1:443")),
    ],
)
def test_missing_or_invalid_api_address_is_a_fault(host: str, port: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load({**ASKING, "KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port, "AWS_REGION": ""})
    region_fault, fault = caught.value.faults
    assert region_fault.startswith("region (AWS_REGION): not set")
    assert fault.startswith(
        "token_source (BROKER_TOKEN_SOURCE): token-request needs KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT"
    )
    assert repr(host[:100]) in fault
    assert repr(port[:100]) in fault


def test_token_file_that_is_not_used_gives_a_warning(tmp_path: Path) -> None:
    """The webhook of EKS sets the path and mounts the volume. Then the file is the better source."""
    (warning,) = load({**ASKING, "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/token"}).warnings
    assert "AWS_WEB_IDENTITY_TOKEN_FILE" in warning
    assert "is set but not used" in warning
    file = tmp_path / "broker.yaml"
    file.write_text("profiles:\n  - {name: a}\n  - {name: b, web_identity_token_file: /token}\n")
    assert load({**ASKING, "BROKER_CONFIG": str(file)}).warnings == (warning,)


def test_empty_token_file_gives_no_warning() -> None:
    assert load({**ASKING, "AWS_WEB_IDENTITY_TOKEN_FILE": ""}).warnings == ()
    assert load({**ROLE, "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/token"}).warnings == ()
