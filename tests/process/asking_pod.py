"""A pod without a volume for STS's token: an API server, and the service account where Kubernetes mounts it.

The place is the real one, in a mount namespace of the broker's own.
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
    """Starts brokers in `pod` that ask `api`."""

    pod: Pod
    api: ApiServer
    wrapper: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Mount the service account, and find out how to lay it over the real place."""
        self.mount()
        for ways in ((), ("--user", "--map-root-user")):
            self.wrapper = ("unshare", *ways, "--mount", "sh", "-c", _MOUNT, str(self.directory))
            probe = subprocess.run([*self.wrapper, "true"], capture_output=True, text=True, check=False)
            if probe.returncode == 0:
                return
        pytest.skip(f"SKIPPED: no right to mount here, so no service account ({probe.stderr.strip()})")

    @property
    def directory(self) -> Path:
        """Where the service account's files really are."""
        return self.pod.root / "serviceaccount"

    def mount(self, *, token: str | None = None, ca: ClusterCa | None = None) -> str:
        """Put the service account's files in place, or other ones. Return its token."""
        text = self.api.mount(self.directory, token=token, ca=ca)
        self.pod.tokens.append(text)
        return text

    def environment(self, **changes: str) -> dict[str, str]:
        """Return what makes a broker ask, over what a pod's broker is given."""
        return {
            "AWS_WEB_IDENTITY_TOKEN_FILE": "",
            "BROKER_TOKEN_SOURCE": "token-request",
            **self.api.environment,
            **changes,
        }

    def start(self, *arguments: str, **changes: str) -> Program:
        """Start `sts-broker run`, or what the arguments say."""
        environment: dict[str, Any] = self.environment(**changes)
        return self.pod.start(*arguments, wrapper=self.wrapper, **environment)

    def run(self, *arguments: str, **changes: str) -> Ended:
        """Run a verb to its end."""
        return self.pod.run(*arguments, wrapper=self.wrapper, **self.environment(**changes))

    def given(self) -> list[str]:
        """Return the fingerprints of the tokens that the API gave, in order."""
        return [call.issued for call in self.api.calls if call.issued]

    def close(self) -> None:
        """End the API, and remember its tokens as what may not be told."""
        self.api.stop()
        self.pod.tokens += self.api.issued_tokens
