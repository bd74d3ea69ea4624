"""Runs a broker for long against a failing STS, and checks that its resources stay flat.

`python -m benchmarks.soak --seconds 900 --plot soak.svg` runs `sts-broker run` with 20 profiles against the sandbox's
STS. Sessions last 60 s instead of the 15 minutes that are the minimum of AWS, and tokens 2 minutes, so that 15 minutes
have the refreshes of a day. 5 % of the calls fail: errors of STS, pages of a proxy, resets, and responses that hang or
drip. Errors that need an operator are left out: their backoff is longer than these sessions. Every 5 s, the credentials
of all profiles are checked, a client fetches credentials and metrics, and the resources of all processes of the broker
are read.

It prints a table with a row for each resource, and exits with 1 if one is not flat (see `soak_verdict`), if credentials
expired in a file, or if the broker ended. It needs root, because only root can read the memory and the descriptors of a
process that is not dumpable.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.process_tree import distinct_memory_mib, tree_of
from benchmarks.readings import NotReadable, count_descriptors, count_threads, read_memory
from benchmarks.runs import RUNTIME_PYTHON, BenchmarkError, Broker, Workplace, request_status
from benchmarks.soak_plot import draw
from benchmarks.soak_verdict import WARM_UP_SECONDS, Series, table
from sandbox import Sandbox
from sandbox.aws import faults
from sandbox.host_environment import hide_host_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

_PROFILES = tuple(f"team-{number:02d}" for number in range(20))
_SESSION = timedelta(seconds=60)
_TOKEN = timedelta(minutes=2)
_SAMPLE_SECONDS = 5.0
_FAULT_SHARE = 0.05
_FAULTS: tuple[faults.Fault, ...] = (
    faults.THROTTLING,
    faults.Hang(),
    faults.Reset(),
    faults.INTERNAL_FAILURE,
    faults.HTML_503,
    faults.Spoiled.TRUNCATED_XML,
    faults.Drip(),
    faults.INVALID_IDENTITY_TOKEN,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the soak. Return the exit code."""
    options = _parser().parse_args(arguments)
    if os.geteuid() != 0:
        sys.stderr.write("soak: SKIPPED: reading the memory and the descriptors of all processes needs root\n")
        return 2
    if not RUNTIME_PYTHON.exists():
        sys.stderr.write("soak: .venv-runtime is missing. Run `make soak`, which builds it.\n")
        return 2
    if options.seconds < 2 * WARM_UP_SECONDS:
        sys.stderr.write(f"soak: --seconds must be at least {2 * WARM_UP_SECONDS:.0f}\n")
        return 2
    try:
        soak = Soak()
        soak.run(options.seconds)
    except (BenchmarkError, NotReadable) as error:
        sys.stderr.write(f"soak: {error}\n")
        return 1
    print(table(soak.series), soak.describe(), sep="\n\n")
    if options.plot:
        options.plot.write_text(draw(soak.series))
    return 0 if soak.passed else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=900.0, metavar="N", help="how long to run (default: 900)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write the samples as SVG to this file")
    return parser


class Soak:
    """One run: the samples of each resource, and what else was seen."""

    def __init__(self) -> None:
        self.series = make_series()
        self.expired: list[str] = []
        """The profiles whose published credentials had expired at a sample, with the time."""
        self._calls = 0
        self._faults: Counter[str] = Counter()

    def run(self, seconds: float) -> None:
        """Run for this time. Raises BenchmarkError if the broker ends."""
        with (
            hide_host_settings(),
            tempfile.TemporaryDirectory(prefix="soak-") as directory,
            Sandbox(session_lifetime=_SESSION) as simulator,
            simulator.projected_token(Path(directory) / "token", lifetime=_TOKEN) as token,
            Workplace() as workplace,
        ):
            for name in _PROFILES:
                simulator.create_role(name)
            token.start()
            broker = workplace.start_broker(simulator.sts.url, _PROFILES, token_file=token.path)
            broker.wait_for_all_since(0.001)
            simulator.sts.script(*script_faults(int(seconds) * len(_PROFILES)))
            self._sample_for(seconds, broker)
            calls = simulator.sts.calls
            self._calls, self._faults = len(calls), Counter(call.fault for call in calls if call.fault is not None)

    @property
    def passed(self) -> bool:
        """Whether every resource is flat, and no credentials expired."""
        return not self.expired and all(each.is_flat for each in self.series)

    def describe(self) -> str:
        """Return the lines below the table."""
        expired = f"EXPIRED: {', '.join(self.expired[:5])}" if self.expired else "no credentials expired"
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self._faults.items()))
        return (
            f"{len(self.series[0].samples)} samples; {self._calls} calls of STS, {self._faults.total()} of them failed "
            f"on purpose ({kinds}); {expired}."
        )

    def _sample_for(self, seconds: float, broker: Broker) -> None:
        began = time.monotonic()
        number = 0
        while (at := time.monotonic() - began) < seconds:
            if broker.process.poll() is not None:
                raise BenchmarkError(f"The broker ended. Log: {broker.log.read_text()[-2000:]}")
            for series, value in zip(self.series, _read_resources(broker.process.pid), strict=True):
                series.add(at, value)
            self.expired += _find_expired(broker)
            _behave_like_clients(broker, _PROFILES[number % len(_PROFILES)])
            number += 1
            time.sleep(max(0.0, began + number * _SAMPLE_SECONDS - time.monotonic()))


def make_series() -> tuple[Series, ...]:
    """Return an empty series for each resource, in the order of `_read_resources`."""
    return (
        Series(name="resident memory of the started process", unit="MiB", allowance=1),
        Series(name="memory of all processes, shared pages once", unit="MiB", allowance=2),
        Series(name="file descriptors of the started process", allowance=2),
        Series(name="file descriptors of all processes", allowance=4),
        Series(name="threads of all processes", allowance=2),
        Series(name="processes", allowance=1),
    )


def script_faults(count: int) -> list[faults.Fault | None]:
    """Return the faults of `count` calls: every kind equally often, at random places that are always the same."""
    source = random.Random(1)  # noqa: S311 - not for cryptography
    scripted: list[faults.Fault | None] = [None] * count
    places = sorted(source.sample(range(count), int(count * _FAULT_SHARE)))
    for number, place in enumerate(places):
        scripted[place] = _FAULTS[number % len(_FAULTS)]
    return scripted


def _read_resources(pid: int) -> tuple[float, ...]:
    """Return one value for each series. Raises NotReadable."""
    pids = tree_of(pid)
    return (
        read_memory(pid).resident,
        distinct_memory_mib(pids),
        count_descriptors(pid),
        sum(map(count_descriptors, pids)),
        sum(map(count_threads, pids)),
        len(pids),
    )


def _find_expired(broker: Broker) -> list[str]:
    """Return the profiles whose published credentials have expired."""
    expiries = {name: json.loads((broker.directory / f"{name}.json").read_bytes())["Expiration"] for name in _PROFILES}
    now = datetime.now(UTC)
    return [f"{name} at {expiry}" for name, expiry in expiries.items() if datetime.fromisoformat(expiry) <= now]


def _behave_like_clients(broker: Broker, name: str) -> None:
    """Send requests like a probe, Prometheus and an SDK. Raises BenchmarkError if the SDK gets no credentials."""
    broker.get("/readyz")
    broker.get("/metrics")
    status, body = request_status(broker.served(), f"/v1/credentials/{name}")
    if status != 200:  # noqa: PLR2004 - OK
        raise BenchmarkError(f"The credentials endpoint answered {status} for {name}: {body.decode()}")


if __name__ == "__main__":
    sys.exit(main())
