"""What `sts-broker doctor` runs in: variables, clocks, /proc and cgroup. Tests replace each of them.

This module imports little, because the settings are loaded before anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from broker.core.clock import Clock, SystemClock
from broker.worker.adapters import load_configuration
from broker.worker.process_hardening import harden_process

if TYPE_CHECKING:
    from broker.core.model import Configuration

Resolve = Callable[[str, int], list[str]]
"""Returns the addresses of a host and port. Raises OSError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The environment variables, the clock, and the directories of the kernel's files.

    `announce` is called with each step that may take a while. `resolve` None means the system's name resolution.
    `harden` keeps the token out of core dumps and from other processes.
    """

    environ: Mapping[str, str]
    clock: Clock = field(default_factory=SystemClock)
    load: Callable[[Mapping[str, str]], Configuration] = load_configuration
    resolve: Resolve | None = None
    proc: str = "/proc"
    cgroup: str = "/sys/fs/cgroup"
    announce: Callable[[str], None] = lambda _: None
    harden: Callable[[], object] = harden_process
