"""The environment of a client: what the manifests set for an app, and nothing that makes an SDK behave differently.

The variables of the app come from `sts-broker inject`, run on a small pod, so that the matrix cannot set a variable
that our manifests do not set. These are the only others:

- `PATH`, `HOME`, `PYTHONPATH`, and `MATRIX_ENDPOINT` with the address of the recording endpoint: they run the driver.
- `AWS_EC2_METADATA_DISABLED`: keeps SDKs from the instance metadata of the machine that runs the matrix.
- `AWS_CONFIG_FILE` or `AWS_SHARED_CREDENTIALS_FILE`: docs/sdks.md tells users of the files to set it.
- The client's own settings, which are in the table.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from sdk_matrix.clients import Client, Delivery
from sdk_matrix.installs import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "app"}, "spec": {"containers": [{"name": "app"}]}}
_ROLE_ARN = "arn:aws:iam::123456789012:role/app"
_ENDPOINT = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
_TOKEN = "AWS_CONTAINER_AUTHORIZATION_TOKEN"  # noqa: S105 - a name
_TOKEN_FILE = f"{_TOKEN}_FILE"


def read_app_variables(region: str) -> dict[str, str]:
    """Return the variables that `sts-broker inject` sets for an app's container."""
    command = [sys.executable, "-m", "broker", "inject", "-f", "-", "--role-arn", _ROLE_ARN, "--region", region]
    done = subprocess.run(command, check=True, cwd=ROOT, input=json.dumps(_POD), capture_output=True, text=True)
    (container,) = yaml.safe_load(done.stdout)["spec"]["containers"]
    return {variable["name"]: variable["value"] for variable in container["env"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class AppEnvironment:
    """What every client's variables refer to.

    `app_variables` are those of the manifest. `published` is the broker's publish directory, and `credentials_url` the
    URL of its endpoint. `scratch` is a directory with an empty file named `config`.
    """

    app_variables: Mapping[str, str]
    published: Path
    credentials_url: str
    scratch: Path

    def build(self, client: Client, delivery: Delivery) -> dict[str, str]:
        """Return a client's variables for one delivery, without those that run its driver."""
        region = {name: value for name, value in self.app_variables.items() if name not in (_ENDPOINT, _TOKEN_FILE)}
        further = client.further.get(delivery, {})
        settings = {name: value.format(scratch=self.scratch) for name, value in further.items()}
        delivered = self._deliver(client, delivery)
        return {**region, "AWS_EC2_METADATA_DISABLED": "true", **client.environment, **delivered, **settings}

    def _deliver(self, client: Client, delivery: Delivery) -> dict[str, str]:
        token = self.published / "endpoint-token"
        match delivery:
            case Delivery.PROCESS:
                return {"AWS_CONFIG_FILE": str(self.published / "config")}
            case Delivery.STATIC:
                return {"AWS_SHARED_CREDENTIALS_FILE": str(self.published / "credentials")}
            case Delivery.ENDPOINT if client.takes_token:
                return {_ENDPOINT: self.credentials_url, _TOKEN: token.read_text()}
            case Delivery.ENDPOINT:
                return {_ENDPOINT: self.credentials_url, _TOKEN_FILE: str(token)}


def driver_environment(home: Path, endpoint: str) -> dict[str, str]:
    """Return the variables that run a driver. `endpoint` is the URL of its recording endpoint."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "PYTHONPATH": str(ROOT),
        "MATRIX_ENDPOINT": endpoint,
    }
