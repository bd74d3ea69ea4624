"""The readings of the process: from the procfs of this machine, and from directories that look like one."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prometheus_client import ProcessCollector
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import CollectorRegistry

from broker.core.status import Status
from broker.serving.metrics import render_metrics
from broker.serving.process_readings import ProcessReader
from tests.support.fakes import EPOCH

STAT = (
    b"4711 (a name) with (more) S 1 4711 4711 0 -1 4194560 1833 0 12 0 250 75 0 0 20 0 3 0 123456 "
    b"41943040 5120 18446744073709551615 1 1 0 0 0 0 0 16781312 17922 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
)


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """Return a procfs with the files that client libraries read."""
    (tmp_path / "stat").write_text("cpu  1 2 3 4\nintr 5\nbtime 1764460800\nprocesses 9\n")
    (tmp_path / "self/fd").mkdir(parents=True)
    for number in range(7):
        (tmp_path / "self/fd" / str(number)).touch()
    (tmp_path / "self/stat").write_bytes(STAT)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    (tmp_path / "self/limits").write_text(
        f"Limit  Soft Limit  Hard Limit  Units\nMax open files  {soft}  {hard}  files\n"
    )
    return tmp_path


def test_readings_are_those_of_prometheus_client(proc: Path) -> None:
    registry = CollectorRegistry()
    ProcessCollector(proc=str(proc), registry=registry)
    page = render_metrics(Status([]).snapshot(), EPOCH, ProcessReader(str(proc)).read()).decode()
    ours = {family.name: family for family in text_string_to_metric_families(page) if family.name.startswith("process")}
    theirs = {family.name: family for family in text_string_to_metric_families(generate_latest(registry).decode())}
    assert len(ours) == 6
    assert ours == theirs


def test_readings_of_this_process_are_plausible() -> None:
    readings = ProcessReader().read()
    assert readings is not None
    assert 2**20 < readings.resident_memory_bytes < readings.virtual_memory_bytes
    assert time.time() - 86400 < readings.started_at_seconds < time.time() + 1
    assert abs(readings.cpu_seconds - time.process_time()) < 1
    assert readings.open_fds == pytest.approx(len(list(Path("/proc/self/fd").iterdir())), abs=3)
    assert readings.maximum_fds == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_start_time_stays_the_same_when_the_clock_is_corrected(proc: Path) -> None:
    """The kernel derives the time of the boot from the wall clock. A changed start time would look like a restart."""
    reader = ProcessReader(str(proc))
    before = reader.read()
    (proc / "stat").write_text("btime 1764460803\n")
    assert reader.read() == before


def test_no_limit_of_open_files_is_infinite(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", lambda _: unlimited)
    readings = ProcessReader(str(proc)).read()
    assert readings is not None
    assert readings.maximum_fds == float("inf")


@pytest.mark.parametrize("missing", ["stat", "self/stat", "self/fd"])
def test_procfs_without_a_file_gives_no_readings(proc: Path, missing: str) -> None:
    (proc / missing).rename(proc / "elsewhere")
    assert ProcessReader(str(proc)).read() is None


def test_procfs_without_a_boot_time_gives_no_readings(proc: Path) -> None:
    (proc / "stat").write_text("cpu  1 2 3 4\n")
    assert ProcessReader(str(proc)).read() is None


def test_process_without_a_free_file_descriptor_gives_no_readings() -> None:
    """The page must have the state even then."""
    code = (
        "import resource\n"
        "from broker.serving.process_readings import ProcessReader\n"
        "reader = ProcessReader()\n"
        "assert reader.read() is not None\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\n"
        "print(reader.read())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "None\n"


def test_process_that_is_not_dumpable_and_not_root_can_read_its_own_files() -> None:
    """Linux gives the procfs files of such a process to root."""
    code = (
        "import ctypes, os\n"
        "from broker.serving.process_readings import ProcessReader\n"
        "if os.getuid() == 0:\n"
        "    os.setgroups([]), os.setgid(65532), os.setuid(65532)\n"
        "assert ctypes.CDLL(None).prctl(4, 0, 0, 0, 0) == 0\n"  # PR_SET_DUMPABLE
        "print(os.stat('/proc/self/stat').st_uid, ProcessReader().read() is not None)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "0 True\n"
