"""Builds images and runs containers with buildah, podman and runc, in a store of their own.

The machine's own images and containers are not used or changed. Everything is removed at the end. podman ends a
container that outlives its test after `LONGEST_SECONDS`. Where containers don't work, `NoContainers` gives the reason.
A trivial container is run first to find out, because some kernels refuse only then.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.stand_in_base import lay_out_program

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_SECONDS = 300
MEMORY_BACKED = Path("/dev/shm")
_STORE_BYTES = 2 << 30
_NEEDED = {
    "buildah": "buildah",
    "podman": "podman",
    "runc": "runc",
    "conmon": "conmon",
    "nsenter": "util-linux",
    "strip": "binutils",
}
"""Programs, and the Debian packages that contain them."""
# runc and cgroupfs work inside other containers and without systemd. podman's defaults, crun and systemd, don't.
_CONFIGURATION = """\
[containers]
default_ulimits = ["nofile=10000:10000", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
CONFINED = (
    "--read-only",
    "--read-only-tmpfs=false",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
    "--pids-limit=100",
)
"""The security context of the broker's container in deploy/. seccomp is on by default in podman."""
POD = (*CONFINED, "--memory=64m", "--memory-swap=64m")
"""The same with the container's memory limit."""
SLOW = "--cpus=0.05"
"""50m of CPU, a limit that a namespace's LimitRange may set."""


class NoContainers(Exception):
    """Containers cannot be built and run on this machine, with the reason."""


class CommandFailed(Exception):
    """buildah or podman failed. The message has the end of its output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Containers:
    """A separate store of images and containers."""

    store: Path

    @property
    def environment(self) -> dict[str, str]:
        """The environment for buildah and podman."""
        return {**os.environ, "CONTAINERS_CONF": str(self.store / "containers.conf")}

    def command(self, program: str, *arguments: str) -> list[str]:
        """Return the command that runs `buildah` or `podman` on this store."""
        options = ["--root", str(self.store / "root"), "--runroot", str(self.store / "run")]
        if program == "podman":
            options += ["--tmpdir", str(self.store / "tmp")]
        return [program, *options, "--storage-driver", "overlay", *arguments]

    def buildah(self, *arguments: str, directory: Path | None = None) -> str:
        """Run buildah and wait for it. Return its output. Raises CommandFailed."""
        return self._run(self.command("buildah", *arguments), directory)

    def podman(self, *arguments: str) -> str:
        """Run podman and wait for it. Return its output. Raises CommandFailed."""
        return self._run(self.command("podman", *arguments), None)

    def run_command(self, image: str, *options: str, arguments: tuple[str, ...] = ()) -> list[str]:
        """Return the command that runs a container in the foreground and removes it when it ends."""
        always = ("--rm", f"--timeout={LONGEST_SECONDS}", "--pull=never")
        return self.command("podman", "run", *always, *options, image, *arguments)

    def pid_of(self, name: str) -> int:
        """Return the process id, on this machine, of a running container's first process; 0 if there is none."""
        with suppress(CommandFailed):
            return int(self.podman("inspect", "--format", "{{.State.Pid}}", name))
        return 0

    @contextmanager
    def files_of(self, image: str) -> Iterator[Path]:
        """Mount an image's root file system. Yields its directory."""
        yield Path(self.podman("image", "mount", image).strip())
        self.podman("image", "umount", image)

    def close(self) -> None:
        """Stop and remove everything."""
        for program, *arguments in (
            ("podman", "rm", "--all", "--force", "--depend", "--time=0"),
            ("buildah", "rm", "--all"),
        ):
            with suppress(CommandFailed):
                self._run(self.command(program, *arguments), None)
        with suppress(CommandFailed):
            self.podman("image", "umount", "--all", "--force")
        subprocess.run(["umount", str(self.store / "root/overlay")], check=False, capture_output=True)
        shutil.rmtree(self.store, ignore_errors=True)

    def _run(self, command: list[str], directory: Path | None) -> str:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, env=self.environment, cwd=directory, timeout=300
        )
        if done.returncode != 0:
            raise CommandFailed(f"{' '.join(command[:1] + command[7:10])} …: {done.stderr[-3000:].strip()}")
        return done.stdout


@contextmanager
def containers(*, in_memory: bool = False) -> Iterator[Containers]:
    """Create a store, and remove it at the end. Raises NoContainers.

    With `in_memory`, the store is in memory if there is room. That is faster than a disk.
    """
    if missing := [name for name in _NEEDED if shutil.which(name) is None]:
        packages = " ".join(_NEEDED[name] for name in missing)
        raise NoContainers(f"not installed: {', '.join(missing)} (on Debian: apt-get install {packages})")
    if os.geteuid() != 0:
        raise NoContainers("building and running containers needs root")
    # Not below pytest's directory: podman creates sockets here, and a socket's path has at most 107 characters.
    roomy = in_memory and MEMORY_BACKED.is_dir() and shutil.disk_usage(MEMORY_BACKED).free > _STORE_BYTES
    tools = Containers(store=Path(tempfile.mkdtemp(prefix="stsb-", dir=MEMORY_BACKED if roomy else None)))
    try:
        (tools.store / "containers.conf").write_text(_CONFIGURATION)
        _run_trivial_container(tools)
        yield tools
    finally:
        tools.close()


def _run_trivial_container(tools: Containers) -> None:
    """Build and run a minimal container, confined like the broker's. Raises NoContainers."""
    context = tools.store / "trivial"
    context.mkdir()
    lay_out_program(Path("/bin/true").resolve(), context)
    (context / "Dockerfile").write_text('FROM scratch\nCOPY . /\nRUN ["/usr/bin/true"]\nENTRYPOINT ["/usr/bin/true"]\n')
    try:
        tools.buildah("bud", "--isolation=chroot", "--tag=localhost/trivial", str(context))
        tools._run(tools.run_command("localhost/trivial", "--network=host", *POD, SLOW), None)
    except (CommandFailed, subprocess.TimeoutExpired) as error:
        raise NoContainers(f"a trivial container does not run here: {str(error).splitlines()[-1]}") from error
