"""`sts-broker doctor` on what is beside it in the container: a running broker, and the memory that both share.

Rules: the running broker is asked at its health listener, as a probe asks it, and disturbed by nothing else. Where
memory is short, it is the doctor that goes without: a container that runs out of it is ended as a whole.
"""

from __future__ import annotations

import http.client
import json
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from broker.core.errors import ExchangeError
from broker.core.findings import quoted
from broker.doctor.examiners.node_clock import plausible_skew

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from broker.core.model import Configuration
    from broker.doctor.checks import Sheet

NEEDED_BYTES: Final = 18 * 1024 * 1024
"""What an exchange takes on top of what the doctor has taken by then, and some (docs/adr/0014-doctor.md)."""
_NO_LIMIT: Final = 2**60
"""Version 1 of control groups writes a number near 2**63 where there is none."""
_DROPPABLE: Final = re.compile(r"^(?:active|inactive)_file (\d+)$", re.MULTILINE)
"""Pages of files, which the kernel takes back when it needs them."""
_OF_EXCHANGE: Final = frozenset(kind.reason for kind in ExchangeError.__subclasses__())
_ANSWER_SECONDS: Final = 2.0
_MAXIMUM_LENGTH_READ: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What the running broker says. `status` is its `/status`, None where none answers there."""

    address: str
    status: Mapping[str, Any] | None = None

    @property
    def clock_skew(self) -> timedelta | None:
        """STS's clock less this node's, at the broker's last exchange."""
        return plausible_skew(self.status.get("clock_skew_seconds")) if self.status else None

    @property
    def roles(self) -> dict[str, str]:
        """The role of each profile that it has."""
        listed = self.status.get("profiles", []) if self.status else []
        return {str(each.get("profile")): str(each.get("role_arn")) for each in listed if isinstance(each, dict)}

    def fault_of(self, profile: str) -> Mapping[str, Any] | None:
        """Return the fault that a profile has, None where it has none or is not known."""
        known = self._profile(profile)
        fault = known.get("fault")
        return fault if isinstance(fault, dict) else None

    @staticmethod
    def is_of_exchange(fault: Mapping[str, Any]) -> bool:
        """Say whether the fault is between the broker and STS."""
        return fault.get("reason") in _OF_EXCHANGE

    def serves(self, profile: str) -> bool:
        """Say whether readers of this profile have credentials."""
        return self._profile(profile).get("ready") is True

    def _profile(self, name: str) -> Mapping[str, Any]:
        listed = self.status.get("profiles", []) if self.status else []
        return next((each for each in listed if isinstance(each, dict) and each.get("profile") == name), {})


def ask_broker(configuration: Configuration) -> Beside:
    """Ask the broker that these settings would run, if it does."""
    host = configuration.health_host
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - it binds nothing
    address = f"{host}:{configuration.health_port}"
    if not configuration.health_port:
        return Beside(address=address)
    connection = http.client.HTTPConnection(host, configuration.health_port, timeout=_ANSWER_SECONDS)
    try:
        with suppress(OSError, http.client.HTTPException, ValueError, RecursionError):
            connection.request("GET", "/status")
            response = connection.getresponse()
            status = json.loads(response.read(_MAXIMUM_LENGTH_READ))
            if isinstance(status, dict) and isinstance(status.get("profiles"), list):
                return Beside(address=address, status=status)
    finally:
        connection.close()
    return Beside(address=address)


def examine_broker(beside: Beside, sheet: Sheet, *, roles: Mapping[str, str], cause: str) -> None:
    """Tell what the running broker says; `roles` are those of the settings, `cause` what is wrong, "" for nothing."""
    if beside.address.endswith(":0"):
        sheet.not_checked(("broker",), "It listens at a port that only it knows (BROKER_HEALTH_ADDRESS).")
        return
    if beside.status is None:
        sheet.ok("broker", f"No broker answers at {beside.address}; this looks at what one would meet.")
        return
    if beside.roles != roles:
        theirs = ", ".join(f"{quoted(name)} for {quoted(role)}" for name, role in beside.roles.items()) or "none"
        said = f"The broker at {beside.address} has other profiles than the settings say: {theirs}."
        remedy = "It read them when it started: restart it. Under hostNetwork it may be another pod's."
        sheet.warning("broker", said, remedy)
        return
    if beside.status.get("ready") is True:
        sheet.ok("broker", f"The broker at {beside.address} is ready.")
        return
    faults = [(name, fault) for name in beside.roles if (fault := beside.fault_of(name))]
    told = "; ".join(f"{quoted(name)}: {quoted(str(fault.get('reason')))}" for name, fault in faults)
    said = f"The broker at {beside.address} is not ready{f' ({told})' if told else ''}."
    if cause:
        sheet.follows("broker", said, cause)
    else:
        remedy = "What ails it has passed: it tries again within 5 min by itself, at once on SIGHUP (kill -HUP 1)."
        sheet.warning("broker", said, remedy)


def yield_memory(proc: str) -> None:
    """Ask the kernel to end this process rather than the broker, should memory run out all the same."""
    with suppress(OSError), open(f"{proc}/self/oom_score_adj", "w", encoding="ascii") as file:  # noqa: PTH123 - one way to open in this package
        file.write("1000")


def examine_memory(sheet: Sheet, cgroup: str) -> bool:
    """Say how much of the container's memory is left. Return whether an exchange can be afforded."""
    left = _memory_left(cgroup)
    if left is None:
        sheet.ok("memory", "The container has no limit of memory that can be seen.")
        return True
    told = f"{left / 2**20:.0f} MiB of the container's memory are left"
    if left >= NEEDED_BYTES:
        sheet.ok("memory", f"{told}.")
        return True
    said = f"{told}; an exchange would need {NEEDED_BYTES / 2**20:.0f}, and running out ends the broker too."
    remedy = (
        "For a full look, raise the limit, or run it elsewhere with a copied token: sts-broker doctor --token FILE."
    )
    sheet.warning("memory", f"{said} So what the running broker says of STS is taken.", remedy)
    return False


def _memory_left(cgroup: str) -> int | None:
    """Return what the container may still take, pages that can be dropped included; None: no limit is told."""
    for limit, used, stat in (
        ("memory.max", "memory.current", "memory.stat"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
    ):
        texts = [_text(f"{cgroup}/{name}") for name in (limit, used, stat)]
        if texts[0].strip().isdigit() and texts[1].strip().isdigit():
            dropped = sum(int(number) for number in _DROPPABLE.findall(texts[2]))
            maximum = int(texts[0])
            return None if maximum >= _NO_LIMIT else maximum - int(texts[1]) + dropped
    return None


def _text(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:  # noqa: PTH123 - one way to read in this package
            return file.read()
    except OSError:
        return ""
