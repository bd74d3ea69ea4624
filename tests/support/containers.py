"""Builds images and runs containers with what the machine has: buildah, podman and runc, in a store of their own.

Rules: the machine's own images and containers are neither seen nor touched; everything is gone at the end; a container
that outlives its test is ended by podman after `LONGEST_SECONDS`. Whoever cannot have containers is told why
(`NoContainers`), after a trivial one was tried, because a kernel that refuses says so only then.
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
"""Programs, and the Debian packages that they are in."""
# runc and cgroupfs are what works inside other containers and without systemd; podman's defaults are crun and systemd.
_CONFIGURATION = """\
[containers]
default_ulimits = ["nofile=10000:10000", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
POD = (
    "--read-only",
    "--read-only-tmpfs=false",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
    "--memory=64m",
    "--memory-swap=64m",
    "--pids-limit=100",
)
"""What deploy/ asks of a cluster for the broker's container, and its memory; seccomp is podman's default."""
SLOW = "--cpus=0.05"
"""50m of CPU, as a namespace's LimitRange may give it."""


class NoContainers(Exception):
    """Containers cannot be built and run here; says why."""


class CommandFailed(Exception):
    """buildah or podman failed; says what it wrote last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Containers:
    """A store with images and containers of its own."""

    store: Path

    @property
    def environment(self) -> dict[str, str]:
        """What buildah and podman are to be started with."""
        return {**os.environ, "CONTAINERS_CONF": str(self.store / "containers.conf")}

    def command(self, program: str, *arguments: str) -> list[str]:
        """Return the command that runs `buildah` or `podman` on this store."""
        options = ["--root", str(self.store / "root"), "--runroot", str(self.store / "run")]
        if program == "podman":
            options += ["--tmpdir", str(self.store / "tmp")]
        return [program, *options, "--storage-driver", "overlay", *arguments]

    def buildah(self, *arguments: str, directory: Path | None = None) -> str:
        """Run buildah to its end. Return what it prints. Raises CommandFailed."""
        return self._run(self.command("buildah", *arguments), directory)

    def podman(self, *arguments: str) -> str:
        """Run podman to its end. Return what it prints. Raises CommandFailed."""
        return self._run(self.command("podman", *arguments), None)

    def run_command(self, image: str, *options: str, arguments: tuple[str, ...] = ()) -> list[str]:
        """Return the command that runs a container in the foreground, and removes it at its end."""
        always = ("--rm", f"--timeout={LONGEST_SECONDS}", "--pull=never")
        return self.command("podman", "run", *always, *options, image, *arguments)

    def pid_of(self, name: str) -> int:
        """Return the process id, on this machine, of a running container's first process; 0 where there is none."""
        with suppress(CommandFailed):
            return int(self.podman("inspect", "--format", "{{.State.Pid}}", name))
        return 0

    @contextmanager
    def files_of(self, image: str) -> Iterator[Path]:
        """Give the directory that has an image's root file system."""
        yield Path(self.podman("image", "mount", image).strip())
        self.podman("image", "umount", image)

    def close(self) -> None:
        """End and remove everything."""
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
    """Give a store; nothing of it is left at the end. Raises NoContainers.

    `in_memory`: where there is room for it, which spares the disk's time.
    """
    if missing := [name for name in _NEEDED if shutil.which(name) is None]:
        packages = " ".join(_NEEDED[name] for name in missing)
        raise NoContainers(f"not installed: {', '.join(missing)} (on Debian: apt-get install {packages})")
    if os.geteuid() != 0:
        raise NoContainers("containers are built and run as root only")
    # Not below pytest's own directory: sockets are made in it, and a socket's path has 107 characters at most.
    roomy = in_memory and MEMORY_BACKED.is_dir() and shutil.disk_usage(MEMORY_BACKED).free > _STORE_BYTES
    tools = Containers(store=Path(tempfile.mkdtemp(prefix="stsb-", dir=MEMORY_BACKED if roomy else None)))
    try:
        (tools.store / "containers.conf").write_text(_CONFIGURATION)
        _try_out(tools)
        yield tools
    finally:
        tools.close()


def _try_out(tools: Containers) -> None:
    """Build and run the smallest container that there is, confined as the broker's is. Raises NoContainers."""
    context = tools.store / "trivial"
    context.mkdir()
    lay_out_program(Path("/bin/true").resolve(), context)
    (context / "Dockerfile").write_text('FROM scratch\nCOPY . /\nRUN ["/usr/bin/true"]\nENTRYPOINT ["/usr/bin/true"]\n')
    try:
        tools.buildah("bud", "--isolation=chroot", "--tag=localhost/trivial", str(context))
        tools._run(tools.run_command("localhost/trivial", "--network=host", *POD, SLOW), None)
    except (CommandFailed, subprocess.TimeoutExpired) as error:
        raise NoContainers(f"a trivial container does not run here: {str(error).splitlines()[-1]}") from error
