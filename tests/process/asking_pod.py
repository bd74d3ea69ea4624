"""A pod without a projected token for STS: an API server, and the service account where Kubernetes mounts it.

The path is the real one, in a mount namespace that only the broker has.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from broker.core.model import SERVICE_ACCOUNT_DIRECTORY

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.cluster.api_server import ApiServer
    from sandbox.cluster.cluster_ca import ClusterCa
    from tests.process.pod import Pod
    from tests.support.program import Ended, Program

_MOUNT = f"""
mount -t tmpfs -o size=64k tmpfs /var/run &&
mkdir -p {SERVICE_ACCOUNT_DIRECTORY} && mount --bind "$0" {SERVICE_ACCOUNT_DIRECTORY} && exec "$@"
"""


@dataclass(slots=True, kw_only=True)
class AskingPod:
    """Starts brokers in `pod` that request their tokens from `api`."""

    pod: Pod
    api: ApiServer
    wrapper: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Write the service account's files, and find out how to mount them at the real path."""
        self.mount()
        for ways in ((), ("--user", "--map-root-user")):
            self.wrapper = ("unshare", *ways, "--mount", "sh", "-c", _MOUNT, str(self.directory))
            probe = subprocess.run([*self.wrapper, "true"], capture_output=True, text=True, check=False)
            if probe.returncode == 0:
                return
        pytest.skip(f"SKIPPED: no right to mount here, so no service account ({probe.stderr.strip()})")

    @property
    def directory(self) -> Path:
        """The directory of the service account's files."""
        return self.pod.root / "serviceaccount"

    def mount(self, *, token: str | None = None, ca: ClusterCa | None = None) -> str:
        """Write the service account's files, or replace them. Return its token."""
        text = self.api.mount(self.directory, token=token, ca=ca)
        self.pod.tokens.append(text)
        return text

    def environment(self, **changes: str) -> dict[str, str]:
        """Return the variables that make a broker request tokens, with changes to the pod's environment."""
        return {
            "AWS_WEB_IDENTITY_TOKEN_FILE": "",
            "BROKER_TOKEN_SOURCE": "token-request",
            **self.api.environment,
            **changes,
        }

    def start(self, *arguments: str, **changes: str) -> Program:
        """Start `sts-broker run`, or another verb."""
        environment: dict[str, Any] = self.environment(**changes)
        return self.pod.start(*arguments, wrapper=self.wrapper, **environment)

    def run(self, *arguments: str, **changes: str) -> Ended:
        """Run a verb to its end."""
        return self.pod.run(*arguments, wrapper=self.wrapper, **self.environment(**changes))

    def given(self) -> list[str]:
        """Return the fingerprints of the tokens that the API issued, in order."""
        return [call.issued for call in self.api.calls if call.issued]

    def close(self) -> None:
        """Stop the API, and add its tokens to those that must not be in any output."""
        self.api.stop()
        self.pod.tokens += self.api.issued_tokens
