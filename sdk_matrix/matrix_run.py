"""Runs the matrix: the simulator, the real broker, and each client with each delivery against its own endpoint.

Sessions are short, so that a run of one or two minutes has several generations. Few clients start at the same time,
because many starting interpreters slow each other down. A client that did not follow is tried again with a new process
at the end.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self

from sandbox.aws.refusal import Refusal
from sandbox.aws.responses import identity_result
from sandbox.aws.sessions import Session
from sandbox.aws.signature import read_signature
from sandbox.simulator import Sandbox
from sdk_matrix.environment import AppEnvironment, driver_environment, read_app_variables
from sdk_matrix.processes import Process, wait_until
from sdk_matrix.recorder import Recorder
from sdk_matrix.verdicts import ACCEPTED, GENERATIONS, Counts, Verdict, count, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sandbox.http.loopback import Request
    from sdk_matrix.clients import Client, Delivery

SESSION_LIFETIME = timedelta(seconds=24)
_MINIMUM_RUN_SECONDS = 3 * SESSION_LIFETIME.total_seconds()
_MAXIMUM_RUN_SECONDS = 7 * SESSION_LIFETIME.total_seconds()
_STARTING_AT_ONCE = 4
_START_SECONDS = 60.0
_FRESH_PROCESS_SECONDS = 40.0


class BrokerStartError(Exception):
    """The broker did not start, so no client can be judged."""


@dataclass(slots=True, kw_only=True)
class Cell:
    """One cell of the table: a client with one delivery, its endpoint and process, and at the end its verdict."""

    client: Client
    delivery: Delivery
    recorder: Recorder
    environment: dict[str, str]
    output: Path
    process: Process | None = None
    version: str = ""
    counts: Counts = field(default_factory=lambda: count((), 0))
    verdict: Verdict | None = None

    @property
    def name(self) -> str:
        """The name in progress messages."""
        return f"{self.client.name}, {self.delivery}"

    @property
    def is_starting(self) -> bool:
        """Whether the process runs but has not printed its version yet."""
        return self.process is not None and self.process.is_running and "version " not in self.process.output()

    @property
    def has_failed(self) -> bool:
        """Whether the process has reported a failed call, or has ended."""
        return self.process is not None and ("failed " in self.process.output() or not self.process.is_running)

    def start(self) -> None:
        """Start a process."""
        self.process = Process(self.client.command, environment=self.environment, output=self.output)

    def update_counts(self) -> Counts:
        """Count the calls so far, and return the counts."""
        assert self.process is not None
        lines = [line.split(maxsplit=1) for line in self.process.output().splitlines()]
        self.version = next((words[1] for words in lines if words[0] == "version"), self.version)
        failed = sum(words[0] == "failed" for words in lines)
        self.counts = count(self.recorder.calls, failed)
        return self.counts

    def stop(self) -> None:
        """Stop the process, if there is one."""
        if self.process is not None:
            self.process.stop()


class MatrixRun:
    """The simulator and a broker that has published credentials, from construction until the end of the `with`."""

    def __init__(self, *, needs_endpoint: bool) -> None:
        with contextlib.ExitStack() as started:
            self._directory = Path(started.enter_context(TemporaryDirectory(prefix="sdk-matrix-")))
            self._scratch = self._directory / "scratch"
            self._scratch.mkdir()
            (self._scratch / "config").touch()
            self._simulator = started.enter_context(Sandbox(session_lifetime=SESSION_LIFETIME))
            self._broker = self._start_broker()
            started.callback(self._broker.stop)
            started.callback(self._broker.terminate)
            self._app_environment = AppEnvironment(
                app_variables=read_app_variables(self._simulator.region),
                published=self._published,
                credentials_url=self._wait_for_broker(needs_endpoint=needs_endpoint),
                scratch=self._scratch,
            )
            self._cells: list[Cell] = []
            started.callback(self._stop_cells)
            self._started = started.pop_all()

    def __enter__(self) -> Self:
        """Return the run, whose broker already runs."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop all processes and servers."""
        self._started.close()

    @property
    def generations(self) -> int:
        """The number of generations that the broker has fetched."""
        return len(self._simulator.sts.calls)

    def run(self, pairs: Iterable[tuple[Client, Delivery]], report: Callable[[str], None]) -> Sequence[Cell]:
        """Run these clients and deliveries until their verdicts are clear. Return the cells with their verdicts."""
        self._cells = [self._make_cell(client, delivery) for client, delivery in pairs]
        began = time.monotonic()
        self._start(self._cells)
        report(f"{len(self._cells)} processes started in {time.monotonic() - began:.0f} s")
        began = time.monotonic()
        time.sleep(_MINIMUM_RUN_SECONDS)
        wait_until(
            lambda: all([cell.update_counts().is_settled for cell in self._cells]),  # noqa: C419 - update every cell
            _MAXIMUM_RUN_SECONDS - _MINIMUM_RUN_SECONDS,
        )
        report(f"{self.generations} generations in {time.monotonic() - began:.0f} s")
        self._end()
        self._judge(report)
        return self._cells

    def _end(self) -> None:
        """Count, then stop the clients. Failures that stopping causes do not count."""
        for cell in self._cells:
            cell.update_counts()
        self._stop_cells()

    def _judge(self, report: Callable[[str], None]) -> None:
        """Set the verdicts. A client that did not follow is tried with a new process first."""
        retried = [cell for cell in self._cells if cell.counts.generations < GENERATIONS]
        errors = {cell.name: cell.process.errors() for cell in retried if cell.process}
        seen = {cell.name: len(cell.recorder.calls) for cell in retried}

        def works(cell: Cell) -> bool:
            return any(call.outcome == ACCEPTED for call in cell.recorder.calls[seen[cell.name] :])

        self._start(retried)
        wait_until(lambda: all(works(cell) or cell.has_failed for cell in retried), _FRESH_PROCESS_SECONDS)
        self._stop_cells()
        for cell in self._cells:
            cell.verdict = judge(cell.counts, fresh_process_works=cell in retried and works(cell))
            if cell.verdict is Verdict.FAILS:
                last = [line for line in errors[cell.name].splitlines() if line.strip()][-3:]
                report("\n  ".join([f"{cell.name} FAILS: {cell.counts}", *last]))

    def _start(self, cells: Iterable[Cell]) -> None:
        starting: list[Cell] = []
        for cell in cells:
            cell.start()
            starting.append(cell)
            wait_until(lambda: sum(each.is_starting for each in starting) < _STARTING_AT_ONCE, _START_SECONDS)
        wait_until(lambda: not any(each.is_starting for each in starting), _START_SECONDS)

    def _stop_cells(self) -> None:
        for cell in self._cells:
            if cell.process is not None:
                cell.process.close_input()
        for cell in self._cells:
            cell.stop()

    def _make_cell(self, client: Client, delivery: Delivery) -> Cell:
        recorder = self._started.enter_context(Recorder(self._identify))
        home = self._directory / f"{client.name}, {delivery}"
        home.mkdir()
        environment = {**driver_environment(home, recorder.url), **self._app_environment.build(client, delivery)}
        return Cell(
            client=client, delivery=delivery, recorder=recorder, environment=environment, output=home / "output"
        )

    def _identify(self, request: Request, at: datetime) -> str:
        """Return the signer. Raises Refusal, as AWS does also for a signature for another Region."""
        signature = read_signature(request)
        if signature is not None and signature.scope.split("/")[1:2] != [self._simulator.region]:
            raise Refusal("SignatureDoesNotMatch", "Credential should be scoped to a valid Region.", 403)
        caller = self._simulator.sts.identify(request, at)
        if not isinstance(caller, Session):
            raise Refusal("InvalidClientTokenId", "The broker did not fetch this session.", 403)
        return identity_result(caller)

    @property
    def _published(self) -> Path:
        return self._directory / "published"

    def _start_broker(self) -> Process:
        token = self._simulator.projected_token(self._directory / "token")
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self._scratch),
            **self._simulator.environment(token),
            "BROKER_PUBLISH_DIRECTORY": str(self._published),
            "BROKER_HEALTH_ADDRESS": "127.0.0.1:0",
            "BROKER_ENDPOINT_ADDRESS": "127.0.0.1:0",
            "BROKER_MINIMUM_INTERVAL_SECONDS": "1",
            "BROKER_LOG_FORMAT": "json",
        }
        return Process((sys.executable, "-m", "broker", "run"), environment=environment, output=self._directory / "log")

    def _wait_for_broker(self, *, needs_endpoint: bool) -> str:
        """Wait until the broker has published credentials. Return the URL of its endpoint, or "" without one."""

        def find_listener() -> dict[str, Any]:
            lines = [json.loads(line) for line in self._broker.errors().splitlines() if line.startswith("{")]
            return next((line for line in lines if line.get("listener") == "credentials"), {})

        def is_up() -> bool:
            is_published = (self._published / "default.json").exists()
            return (is_published and bool(find_listener() or not needs_endpoint)) or not self._broker.is_running

        if not wait_until(is_up, _START_SECONDS) or not self._broker.is_running:
            raise BrokerStartError(f"The broker did not start. Its log:\n{self._broker.errors()}")
        line = find_listener()
        return f"http://{line['host']}:{line['port']}/v1/credentials" if line else ""
