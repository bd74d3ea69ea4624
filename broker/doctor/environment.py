"""What surrounds `sts-broker doctor`: environment, /proc and cgroup, which tests replace.

It imports little, because the settings are loaded before anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from broker.core.clock import Clock, SystemClock
from broker.settings.loader_process import load_configuration

if TYPE_CHECKING:
    from broker.core.model import Configuration

Resolve = Callable[[str, int], list[str]]
"""Gives the addresses of a host. Raises OSError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The environment, both clocks, the kernel's files; `tell` hears what is being looked at.

    `resolve` None: names are resolved as the system does.
    """

    environ: Mapping[str, str]
    clock: Clock = field(default_factory=SystemClock)
    load: Callable[[Mapping[str, str]], Configuration] = load_configuration
    resolve: Resolve | None = None
    proc: str = "/proc"
    cgroup: str = "/sys/fs/cgroup"
    tell: Callable[[str], None] = lambda _: None
