"""`token_source`: a file, or the Kubernetes API where Kubernetes says that it is."""

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


def test_file_is_the_source_in_a_pod_too() -> None:
    assert load({**ROLE, **POD}).token_request is None
    assert load({**ROLE, "BROKER_TOKEN_SOURCE": "file"}).token_request is None


@pytest.mark.parametrize("host", ["10.96.0.1", "fd00::1", "kubernetes.default.svc"])
def test_api_is_where_kubernetes_says(host: str) -> None:
    found = load({**ASKING, "KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": "6443"}).token_request
    assert found == TokenRequestSpec(host=host, port=6443, directory=SERVICE_ACCOUNT_DIRECTORY)


def test_yaml_file_may_say_it(tmp_path: Path) -> None:
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
def test_outside_of_a_pod_there_is_nobody_to_ask(host: str, port: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load({**ASKING, "KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port, "AWS_REGION": ""})
    no_region, fault = caught.value.faults
    assert no_region.startswith("no Region")
    assert fault.startswith(
        "token_source (BROKER_TOKEN_SOURCE): token-request needs KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT"
    )
    assert repr(host[:100]) in fault
    assert repr(port[:100]) in fault


def test_path_of_a_file_that_is_not_looked_at_is_warned_of(tmp_path: Path) -> None:
    """EKS's webhook sets it, where there is the volume too: then the volume is the better source."""
    (warning,) = load({**ASKING, "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/token"}).warnings
    assert "AWS_WEB_IDENTITY_TOKEN_FILE" in warning
    assert "not looked at" in warning
    file = tmp_path / "broker.yaml"
    file.write_text("profiles:\n  - {name: a}\n  - {name: b, web_identity_token_file: /token}\n")
    assert load({**ASKING, "BROKER_CONFIG": str(file)}).warnings == (warning,)


def test_path_that_is_set_to_nothing_is_not_warned_of() -> None:
    assert load({**ASKING, "AWS_WEB_IDENTITY_TOKEN_FILE": ""}).warnings == ()
    assert load({**ROLE, "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/token"}).warnings == ()
