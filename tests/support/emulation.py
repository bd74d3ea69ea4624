"""Runs programs for arm64 on other machines, with QEMU, in a user namespace that has a binfmt_misc of its own.

Since Linux 6.7, each user namespace can have its own list of interpreters. The machine's own list is not changed, and
the namespace's list ends with its processes. Source: https://docs.kernel.org/admin-guide/binfmt-misc.html.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.support.containers import NoContainers

QEMU = "qemu-aarch64-static"
_IDS = "0 0 65536"
# The head of a program for arm64, its mask, and the flag F: the kernel opens the interpreter now, not below a new root.
_MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
_MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
_ENTER = """
read -r _
mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
printf '%s' "$1" > /proc/sys/fs/binfmt_misc/register
shift
exec "$@"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Emulation:
    """Runs commands in a new user namespace each. Its users are those of the machine."""

    qemu: str

    @property
    def _registration(self) -> str:
        return f":qemu-aarch64:M::{_MAGIC}:{_MASK}:{self.qemu}:OCF"

    def run(self, *command: str, timeout: float = 300, environment: dict[str, str] | None = None) -> str:
        """Run a command in which programs for arm64 work. Return its output. Raises NoContainers if it fails."""
        process = subprocess.Popen(
            ["unshare", "--user", "--mount", "sh", "-ec", _ENTER, "sh", self._registration, *command],
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            _map_users(process.pid)
            output, errors = process.communicate("\n", timeout=timeout)
        finally:
            process.kill()
            process.wait()
        if process.returncode != 0:
            raise NoContainers(f"{' '.join(command[:3])} …: {errors[-2000:].strip()}")
        return output


def find_emulation() -> Emulation:
    """Return the emulation of arm64. Raises NoContainers with the reason if it does not work here."""
    missing = [name for name in (QEMU, "buildah", "mmdebstrap") if shutil.which(name) is None]
    if missing:
        raise NoContainers(
            f"not installed: {', '.join(missing)} (on Debian: apt-get install qemu-user-static buildah mmdebstrap)"
        )
    if os.geteuid() != 0:
        raise NoContainers("a namespace with all users needs root")
    emulation = Emulation(qemu=shutil.which(QEMU) or "")
    emulation.run("true")
    return emulation


def _map_users(pid: int) -> None:
    """Give the new namespace of a process all users and groups, once `unshare` has created it."""
    process, own = Path("/proc", str(pid)), Path("/proc/self/ns/user").readlink()
    until = time.monotonic() + 10
    while (process / "ns/user").readlink() == own:
        if time.monotonic() > until:
            raise NoContainers("unshare creates no user namespace")
        time.sleep(0.01)
    try:
        for name in ("uid_map", "gid_map"):
            (process / name).write_text(_IDS)
    except OSError as error:
        raise NoContainers(f"the user namespace cannot have all users: {error}") from error
