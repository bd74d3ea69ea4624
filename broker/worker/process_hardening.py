"""Keep the memory of the process, with the token and the credentials, from core dumps, debuggers and libraries' logs.

Two means against core dumps, because each one leaves a gap. The kernel ignores the limit on their size where
`core_pattern` names a program. The dumpable attribute (PR_SET_DUMPABLE in prctl(2)) covers that, and keeps other
processes of the same user from ptrace(2) and from `mem`, `environ`, `root` and `fd` in /proc/PID; but prctl may be
forbidden. These files then belong to root, so an ordinary user's broker cannot read its own `environ` anymore.

Children inherit both. A program that is executed gets the dumpable attribute back from the kernel, and its limits from
`use_core_limits`: only the soft limit changes, so that `exec` can give its command the limits of its caller.
"""

from __future__ import annotations

import os
import resource
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from broker.core.library_variables import REMOVED
from broker.core.records import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CoreLimits = tuple[int, int]
"""The soft and the hard limit of core dumps, in bytes; -1 means unlimited."""
_PR_SET_DUMPABLE: Final = 4
"""From linux/prctl.h. The standard library has no prctl(2)."""


class Hardening(Struct, frozen=True, kw_only=True):
    """What `harden_process` did: the core limits before, and warnings about what it could not do."""

    core_limits: CoreLimits
    warnings: tuple[str, ...]


def take_environment() -> dict[str, str]:
    """Return a copy of the environment, then remove from this process what libraries must not read.

    Call this before a library is imported, and before `harden_process`, which hides /proc/self/environ. The copy is
    complete: the settings warn about these variables, and the command of `exec` gets them.
    """
    environ = _drop_variable_of_python(os.environ)
    for name in REMOVED:
        os.environ.pop(name, None)
    return environ


def _drop_variable_of_python(environ: Mapping[str, str]) -> dict[str, str]:
    """Return a copy without LC_CTYPE if Python itself has set it, as it does in the C locale (PEP 538)."""
    if "LC_CTYPE" not in environ:
        return dict(environ)
    try:
        with open("/proc/self/environ", "rb") as file:  # noqa: PTH123 - the environment at the start
            is_from_caller = any(entry.startswith(b"LC_CTYPE=") for entry in file.read().split(b"\0"))
    except OSError:
        return dict(environ)
    return {name: value for name, value in environ.items() if name != "LC_CTYPE" or is_from_caller}


def harden_process() -> Hardening:
    """Turn core dumps off, and keep other processes out, for this process and its forks. Call it before any secret."""
    limits = forbid_core_dumps()
    refusal = _forbid_inspection()
    return Hardening(core_limits=limits, warnings=(refusal,) if refusal else ())


def forbid_core_dumps() -> CoreLimits:
    """Set the limit of core dumps to 0, for this process and those that it starts. Return the earlier limits."""
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, before[1]))
    return before


@contextmanager
def use_core_limits(limits: CoreLimits) -> Iterator[None]:
    """Apply these limits inside the block, for a command that is started there, and turn core dumps off at its end."""
    resource.setrlimit(resource.RLIMIT_CORE, limits)
    try:
        yield
    finally:
        forbid_core_dumps()


def _forbid_inspection() -> str:
    """Make the process not dumpable. Return "", or a warning if that is impossible here."""
    try:
        import ctypes  # noqa: PLC0415 - a Python that was built without libffi lacks it

        library = ctypes.CDLL(None, use_errno=True)
        code = library.prctl(_PR_SET_DUMPABLE, *map(ctypes.c_ulong, (0, 0, 0, 0)))
        found = os.strerror(ctypes.get_errno()) if code else ""
    except (ImportError, OSError, AttributeError) as error:
        found = str(error)
    if not found:
        return ""
    return (
        f"The broker could not make its process undumpable (prctl PR_SET_DUMPABLE: {found}). Other processes of its "
        "user may read its memory. Allow prctl in the seccomp profile of the broker's container; RuntimeDefault does."
    )
