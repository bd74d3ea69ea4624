"""A pod of real containers: a token volume, a publish volume, and the sidecar's image run with the options of deploy/.

Both volumes are directories of this machine, with the modes that the kubelet sets for `fsGroup`. By default, containers
share the machine's network, so that they reach a simulator in this process.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.broker_image import BASE
from tests.support.containers import MEMORY_BACKED, POD
from tests.support.program import Ended, Program, run_to_end

if TYPE_CHECKING:
    from tests.support.containers import Containers

FS_GROUP = 65532
USER = "65532:65532"
TOKEN_DIRECTORY = "/var/run/secrets/sts.amazonaws.com"
PUBLISH_DIRECTORY = "/var/run/aws"
APP_ENVIRONMENT = {
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9911/v1/credentials",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": f"{PUBLISH_DIRECTORY}/endpoint-token",
    "AWS_REGION": "eu-west-1",
}
"""The variables that deploy/ sets for the app's SDK."""


@dataclass(slots=True, kw_only=True)
class ContainerPod:
    """The pod in which tests start containers. `close` stops them."""

    tools: Containers
    image: str
    root: Path
    token_directory: Path
    settings: dict[str, str]
    published: Path = field(init=False)
    _programs: dict[str, Program] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Create the publish directory."""
        self.published = Path(tempfile.mkdtemp(prefix="aws-", dir=MEMORY_BACKED if MEMORY_BACKED.is_dir() else None))
        os.chown(self.published, 0, FS_GROUP)
        self.published.chmod(0o2777)  # 0777 of an emptyDir, and the setgid bit that fsGroup adds

    def options(self, *, user: str = USER, network: str = "host", **changes: str) -> list[str]:
        """Return podman's options for a container of the broker. `changes` replace variables; "" removes one."""
        environment = {
            **self.settings,
            "AWS_WEB_IDENTITY_TOKEN_FILE": f"{TOKEN_DIRECTORY}/token",
            "BROKER_HEALTH_ADDRESS": "127.0.0.1:0",
            "BROKER_ENDPOINT_ADDRESS": "127.0.0.1:0",
            **changes,
        }
        return [
            *POD,
            f"--network={network}",
            f"--user={user}",
            f"--group-add={FS_GROUP}",
            f"--volume={self.token_directory}:{TOKEN_DIRECTORY}:ro",
            f"--volume={self.published}:{PUBLISH_DIRECTORY}",
            *(f"--env={name}={value}" for name, value in environment.items() if value),
        ]

    def start(
        self, *more: str, name: str = "broker", user: str = USER, network: str = "host", **changes: str
    ) -> Program:
        """Start the image with its default command, `sts-broker run`. `more` are further podman options."""
        options = (f"--name={name}", *self.options(user=user, network=network, **changes), *more)
        self._programs[name] = Program(
            environment=self.tools.environment,
            directory=self.root,
            output=self.root / name,
            program=self.tools.run_command(self.image, *options),
        )
        return self._programs[name]

    def run(self, *arguments: str, more: tuple[str, ...] = (), user: str = USER, **changes: str) -> Ended:
        """Run another verb and wait for it."""
        options = (*self.options(user=user, **changes), *more)
        return self._run(self.tools.run_command(self.image, *options, arguments=arguments))

    def app(
        self, *command: str, user: str, groups: tuple[int, ...] = (), network: str = "none", image: str = BASE
    ) -> Ended:
        """Run a command in another container of the pod, which mounts only the published files. Wait for its end."""
        options = [
            *("--read-only", "--cap-drop=all", "--security-opt=no-new-privileges", "--entrypoint="),
            f"--network={network}",
            f"--user={user}",
            *(f"--group-add={group}" for group in groups),
            f"--volume={self.published}:{PUBLISH_DIRECTORY}:ro",
            *(f"--env={name}={value}" for name, value in APP_ENVIRONMENT.items()),
        ]
        return self._run(self.tools.run_command(image, *options, arguments=command))

    def close(self) -> None:
        """Stop what still runs, and remove the files."""
        for name, program in self._programs.items():
            if program.is_running:
                self.tools.podman("rm", "--force", "--ignore", "--time=0", name)
            program.kill()
        shutil.rmtree(self.published, ignore_errors=True)

    def _run(self, command: list[str]) -> Ended:
        return run_to_end(environment=self.tools.environment, directory=self.root, program=command, within=60)
