"""Examine what shares the container with the doctor: a running broker, and the memory limit.

The running broker is queried at its health listener, as a probe does, and is not disturbed otherwise. If memory is
short, the doctor checks less: a container that runs out of memory is ended as a whole, with the broker in it.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from broker.core.errors import ExchangeError
from broker.core.findings import quoted
from broker.doctor.examiners.node_clock import plausible_skew
from broker.net.http_messages import Answer, Request
from broker.net.https_client import fetch
from broker.net.routes import Route

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from broker.core.model import Configuration
    from broker.doctor.checks import Report

NEEDED_BYTES: Final = 18 * 1024 * 1024
"""What an exchange takes on top of the doctor's own memory at that point, with a margin (docs/adr/0014-doctor.md)."""
WORKER_BYTES: Final = 24 * 1024 * 1024
"""What the worker of a running broker takes, which a refresh may start at any moment."""
_NO_LIMIT: Final = 2**60
"""Version 1 of control groups writes a number near 2**63 if there is no limit."""
_RECLAIMABLE: Final = re.compile(r"^(?:active|inactive)_file (\d+)$", re.MULTILINE)
"""Pages of files, which the kernel takes back when it needs memory."""
_EXCHANGE_REASONS: Final = frozenset(kind.reason for kind in ExchangeError.__subclasses__())
_TIMEOUT_SECONDS: Final = 2.0
_MAXIMUM_LENGTH_READ: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningBroker:
    """What a running broker reports. `status` is its `/status`, None if nothing answers at `address`."""

    address: str
    status: Mapping[str, Any] | None = None

    @property
    def clock_skew(self) -> timedelta | None:
        """STS's clock less this node's, at the broker's last exchange."""
        return plausible_skew(self.status.get("clock_skew_seconds")) if self.status else None

    @property
    def roles(self) -> dict[str, str]:
        """The role of each of its profiles."""
        return {str(each.get("profile")): str(each.get("role_arn")) for each in self._profiles}

    def fault_of(self, name: str) -> Mapping[str, Any] | None:
        """Return the current fault of a profile, None if it has none or the profile is unknown."""
        fault = self._find_profile(name).get("fault")
        return fault if isinstance(fault, dict) else None

    @staticmethod
    def is_exchange_fault(fault: Mapping[str, Any]) -> bool:
        """Return whether the fault comes from the exchange with STS."""
        return fault.get("reason") in _EXCHANGE_REASONS

    def serves(self, name: str) -> bool:
        """Return whether readers of this profile have credentials."""
        return self._find_profile(name).get("ready") is True

    @property
    def _profiles(self) -> list[Mapping[str, Any]]:
        listed = self.status.get("profiles", []) if self.status else []
        return [each for each in listed if isinstance(each, dict)]

    def _find_profile(self, name: str) -> Mapping[str, Any]:
        return next((each for each in self._profiles if each.get("profile") == name), {})


def query_broker(configuration: Configuration) -> RunningBroker:
    """Ask the health listener of the broker that these settings describe, whether or not it runs."""
    host = configuration.health_host
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - it binds nothing
    address = f"{host}:{configuration.health_port}"
    if not configuration.health_port:
        return RunningBroker(address=address)
    url = f"http://{f'[{host}]' if ':' in host else host}:{configuration.health_port}/status"
    request = Request(url=url, maximum_bytes=_MAXIMUM_LENGTH_READ)
    answer = fetch(request, Route(timeout_seconds=_TIMEOUT_SECONDS, allows_http=True))
    with suppress(ValueError, RecursionError):
        status = json.loads(answer.body) if isinstance(answer, Answer) else None
        if isinstance(status, dict) and isinstance(status.get("profiles"), list):
            return RunningBroker(address=address, status=status)
    return RunningBroker(address=address)


def examine_broker(broker: RunningBroker, report: Report, *, roles: Mapping[str, str], cause: str) -> None:
    """Report the state of the running broker.

    `roles` are those of the settings; `cause` is the label of the first cause that was found, or "".
    """
    if broker.address.endswith(":0"):
        found = "The health listener's port is chosen at start (BROKER_HEALTH_ADDRESS), so the doctor can't know it."
        report.not_checked(("broker",), found)
        return
    if broker.status is None:
        found = f"No broker answers at {broker.address}. The other checks show what a broker would meet."
        report.ok("broker", found)
        return
    if broker.roles != roles:
        profiles = ", ".join(f"{quoted(name)} for {quoted(role)}" for name, role in broker.roles.items()) or "none"
        found = f"The broker at {broker.address} runs with other profiles than the settings have: {profiles}."
        remedy = "Restart the broker: it read its settings when it started. With hostNetwork, it may be another pod's."
        report.warning("broker", found, remedy)
        return
    if broker.status.get("ready") is True:
        report.ok("broker", f"The broker at {broker.address} is ready.")
        return
    faults = [(name, fault) for name in broker.roles if (fault := broker.fault_of(name))]
    reasons = "; ".join(f"{quoted(name)}: {quoted(str(fault.get('reason')))}" for name, fault in faults)
    found = f"The broker at {broker.address} is not ready{f' ({reasons})' if reasons else ''}."
    if cause:
        report.follows("broker", found, cause)
    else:
        remedy = "The cause is gone: the broker retries within 5 minutes, or at once after SIGHUP (kill -HUP 1)."
        report.warning("broker", found, remedy)


def examine_memory(report: Report, cgroup: str, *, is_broker_running: bool) -> bool:
    """Report how much of the container's memory is left. Return whether it suffices for an exchange.

    If a broker is running, it must also suffice for the broker's worker.
    """
    left = _read_memory_left(cgroup)
    if left is None:
        report.ok("memory", "No memory limit is visible in this container.")
        return True
    amount = f"{left / 2**20:.0f} MiB of the container's memory are left"
    needed = NEEDED_BYTES + (WORKER_BYTES if is_broker_running else 0)
    if left >= needed:
        report.ok("memory", f"{amount}.")
        return True
    takes = "So the doctor takes what the running broker reports about STS."
    if is_broker_running and left >= WORKER_BYTES:
        found = f"{amount}. The broker's next refresh needs {WORKER_BYTES / 2**20:.0f} MiB of them. {takes}"
        report.ok("memory", found)
        return False
    found = f"{amount}. An exchange needs {needed / 2**20:.0f} MiB, and running out of memory would end the broker too."
    found = f"{found} {takes}"
    remedy = "For a full check, raise the memory limit, or run sts-broker doctor --token FILE elsewhere."
    report.warning("memory", found, remedy)
    return False


def _read_memory_left(cgroup: str) -> int | None:
    """Return the bytes that the container may still take, reclaimable pages included; None without a limit."""
    for limit, used, stat in (
        ("memory.max", "memory.current", "memory.stat"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
    ):
        texts = [_read_text(f"{cgroup}/{name}") for name in (limit, used, stat)]
        if texts[0].strip().isdigit() and texts[1].strip().isdigit():
            reclaimable = sum(int(number) for number in _RECLAIMABLE.findall(texts[2]))
            maximum = int(texts[0])
            return None if maximum >= _NO_LIMIT else maximum - int(texts[1]) + reclaimable
    return None


def _read_text(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:  # noqa: PTH123 - one way to read in this package
            return file.read()
    except OSError:
        return ""
