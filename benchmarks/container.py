"""The sidecar's image, run as in a pod: time to first credentials with little CPU, image size, and memory.

The image is built from this tree on a base made from this machine's Python. Where containers cannot be built or run,
the rows are SKIPPED with the reason.

- Time: with a limit of 50m CPU, and a request to `/readyz` every second, as from a startup probe. It is measured from
  the call of podman, whose own time is included, to the rename of the last file.
- Memory: with a limit of 64 MiB, through 1,000 refreshes, each with a rotated token, with one `doctor` during the
  second half, and one scrape at the end. The image's files are removed from the page cache before the start, as on a
  node that has just booted. So they are charged to the container. There are three figures:

  - The peak of the container's cgroup is the kernel's own. It counts cached pages of files, which the kernel drops when
    it needs room, so it may reach the limit.
  - The peak of the processes is the largest sum of the PSS of all processes in the container: broker, workers and
    doctor. It is sampled all the time. It counts neither kernel memory nor the published files.
  - The last figure is what remains in the cgroup at the end, without cached pages of files.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from benchmarks.process_tree import sum_memory
from benchmarks.rows import Row, Skipped
from benchmarks.runs import ROOT, BenchmarkError, Broker, Workplace, end, role_arn
from tests.support.broker_image import build, copy_tree, make_base
from tests.support.containers import POD, SLOW, Containers, NoContainers, containers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NAME = "container"
_FIRST = "first credentials with 50m of CPU"
_SIZE = "image, uncompressed"
_PEAK = "memory peak of the container during 1,000 refreshes and a `doctor`, limit 64 MiB"
_PROCESSES = "memory peak of its processes, workers and `doctor` included (sum of PSS)"
_NOT_CACHE = "memory of the container afterwards, without page cache"
_USER = 65532
_MAXIMUM_SECONDS = 15
_MAXIMUM_MB = 110
_MAXIMUM_MIB = 64
_MAXIMUM_PROCESSES_MIB = 56
_MAXIMUM_NOT_CACHE_MIB = 40
_REFRESHES = 1000
_PATIENCE_SECONDS = 1800
"""Longer than the containers of tests may live."""
_SAMPLE_SECONDS = 0.01
_BYTES_A_MB = 1_000_000
_BYTES_A_MIB = 1 << 20
_CGROUPS = Path("/sys/fs/cgroup")
_PEAK_FILES = ("memory.peak", "memory.max_usage_in_bytes")
_USAGE_FILES = ("memory.current", "memory.usage_in_bytes")
"""The files' names in the two versions of cgroups."""


def measure(repeats: int) -> Sequence[Row | Skipped]:
    """Return the rows of this subject."""
    try:
        with containers() as tools, tempfile.TemporaryDirectory(prefix="broker-bench-") as directory:
            make_base(tools)
            image = build(tools, "measured", copy_tree(ROOT, Path(directory, "tree")), target="sidecar")
            size = int(tools.podman("image", "inspect", "--format", "{{.Size}}", image)) / _BYTES_A_MB
            return [
                _first_credentials(tools, image, repeats),
                Row(figure=_SIZE, unit="MB", samples=[size], maximum=_MAXIMUM_MB),
                *_memory(tools, image, max(1, repeats // 3)),
            ]
    except NoContainers as error:
        return [Skipped(figure=figure, reason=str(error)) for figure in (_FIRST, _SIZE, _PEAK, _PROCESSES, _NOT_CACHE)]


def _first_credentials(tools: Containers, image: str, repeats: int) -> Row:
    samples = []
    with Workplace() as workplace:
        sts = workplace.start_sts()
        for _ in range(repeats):
            began = time.time()
            with _running(tools, image, workplace, sts, SLOW) as broker:
                _probe_until_ready(broker)
                samples.append(broker.wait_for_all_since(began) - began)
    return Row(figure=_FIRST, unit="s", samples=samples, maximum=_MAXIMUM_SECONDS)


def _memory(tools: Containers, image: str, repeats: int) -> Sequence[Row]:
    peaks, processes, others = [], [], []
    with Workplace() as workplace:
        sts = workplace.start_sts()
        for _ in range(repeats):
            with tools.files_of(image) as files:
                _drop_page_cache(files)
            with _running(tools, image, workplace, sts) as broker:
                group = _memory_cgroup(_wait_for_pid(tools))
                with _PeakOfProcesses(group) as peak:
                    _live(tools, workplace, broker)
                processes.append(peak.mib)
                peaks.append(_read_number(group, _PEAK_FILES) / _BYTES_A_MIB)
                others.append((_read_number(group, _USAGE_FILES) - _read_cached_bytes(group)) / _BYTES_A_MIB)
    return [
        Row(figure=_PEAK, unit="MiB", samples=peaks, maximum=_MAXIMUM_MIB),
        Row(figure=_PROCESSES, unit="MiB", samples=processes, maximum=_MAXIMUM_PROCESSES_MIB),
        Row(figure=_NOT_CACHE, unit="MiB", samples=others, maximum=_MAXIMUM_NOT_CACHE_MIB),
    ]


def _live(tools: Containers, workplace: Workplace, broker: Broker) -> None:
    """Refresh the broker, run one doctor meanwhile, and scrape it. Raises BenchmarkError."""
    broker.wait_for_all_since(0.001)
    for _ in range(_REFRESHES // 2):
        workplace.rotate_token()
        broker.refresh()
    command = tools.command("podman", "exec", NAME, "sts-broker", "doctor", "--json")
    with subprocess.Popen(command, env=tools.environment, stdout=subprocess.PIPE) as doctor:
        for _ in range(_REFRESHES // 2):
            workplace.rotate_token()
            broker.refresh()
        output, _ = doctor.communicate(timeout=_PATIENCE_SECONDS)
    _check_doctor(output)
    broker.get("/readyz")
    broker.get("/metrics")


def _check_doctor(output: bytes) -> None:
    """Raise BenchmarkError if the doctor was killed. It leaves the memory of an exchange to the broker's worker."""
    try:
        json.loads(output)["checks"]
    except ValueError:
        raise BenchmarkError("The doctor printed no report. It may have been killed for its memory.") from None


class _PeakOfProcesses:
    """Samples the sum of the PSS of all processes in a cgroup, and keeps the largest. A context manager."""

    def __init__(self, group: Path) -> None:
        self.mib = 0.0
        self._processes = group / "cgroup.procs"
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(_SAMPLE_SECONDS):
            pids = [int(line) for line in self._processes.read_text().split()]
            self.mib = max(self.mib, sum_memory(pids).proportional)


@contextmanager
def _running(tools: Containers, image: str, workplace: Workplace, sts: str, *options: str) -> Iterator[Broker]:
    """Run the image with podman in the foreground, which forwards signals to the broker."""
    workplace.path.chmod(0o755)  # the broker runs as another user
    directory = Path(tempfile.mkdtemp(dir=workplace.path))
    os.chown(directory, 0, _USER)
    directory.chmod(0o2777)
    environment = {
        "AWS_REGION": "eu-west-1",
        "AWS_ROLE_ARN": role_arn("app"),
        "AWS_ENDPOINT_URL_STS": sts,
        "AWS_WEB_IDENTITY_TOKEN_FILE": f"/token/{workplace.token_file.name}",
        "BROKER_MINIMUM_INTERVAL_SECONDS": "1",
        "BROKER_HEALTH_ADDRESS": "127.0.0.1:0",
        "BROKER_ENDPOINT_ADDRESS": "127.0.0.1:0",
        "BROKER_LOG_FORMAT": "json",
    }
    volumes = (f"--volume={workplace.path}:/token:ro", f"--volume={directory}:/var/run/aws")
    variables = (f"--env={name}={value}" for name, value in environment.items())
    limits = (*POD, f"--timeout={_PATIENCE_SECONDS}", *options)
    command = tools.run_command(image, *limits, f"--name={NAME}", "--network=host", *volumes, *variables)
    log = directory.with_name(f"{directory.name}.log")
    with log.open("wb") as stream:
        process = subprocess.Popen(command, env=tools.environment, stderr=stream)
    try:
        yield Broker(process=process, log=log, directory=directory, names=("default",))
    finally:
        tools.podman("rm", "--force", "--ignore", "--time=0", NAME)
        end(process)


def _probe_until_ready(broker: Broker) -> None:
    """Request /readyz every second until it succeeds. Raises BenchmarkError."""
    for _ in range(2 * _MAXIMUM_SECONDS):
        time.sleep(1)
        if '"listening"' in broker.log.read_text() and broker.get("/readyz").startswith(b"ready"):
            return
    raise BenchmarkError(f"No credentials within {2 * _MAXIMUM_SECONDS} s. Log: {broker.log.read_text()[-2000:]}")


def _drop_page_cache(files: Path) -> None:
    """Remove these files from the page cache."""
    os.sync()  # dirty pages cannot be dropped, and an overlay does not sync the files of its layers
    for path in files.rglob("*"):
        if path.is_file() and not path.is_symlink():
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def _wait_for_pid(tools: Containers) -> int:
    """Return the process id of the container's first process. Raises BenchmarkError."""
    for _ in range(_MAXIMUM_SECONDS):
        if pid := tools.pid_of(NAME):
            return pid
        time.sleep(1)
    raise BenchmarkError("The container did not start.")


def _memory_cgroup(pid: int) -> Path:
    """Return the directory of a process's memory cgroup. Raises BenchmarkError."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, group = line.split(":", 2)
        directory = _CGROUPS / controllers / group.removeprefix("/")
        if controllers in ("", "memory") and any((directory / name).is_file() for name in _PEAK_FILES):
            return directory
    raise BenchmarkError("The kernel does not report the memory peak of a cgroup.")


def _read_number(group: Path, names: Sequence[str]) -> int:
    (path,) = (group / name for name in names if (group / name).is_file())
    return int(path.read_text())


def _read_cached_bytes(group: Path) -> int:
    """Return the page cache of a cgroup. It excludes the published files, which are in memory only."""
    counts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    return sum(int(counts[name]) for name in ("inactive_file", "active_file"))
