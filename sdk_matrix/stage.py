"""Runs everything: the sandbox, the real broker in front of it, and each client in each way against its own endpoint.

Rules: sessions are so short that a run of a minute or two sees several; a client's environment is made from nothing
and holds what the way needs, what the client needs, and the address of its endpoint; a few start at a time, because
many interpreters that start at once starve each other; what did not follow is tried with a fresh process at the end.
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

from sandbox.aws.responses import identity_result
from sandbox.aws.refusal import Refusal
from sandbox.aws.sessions import Session
from sandbox.simulator import Sandbox
from sdk_matrix.clients import Client, Way
from sdk_matrix.processes import Process, wait_until
from sdk_matrix.recorder import Recorder
from sdk_matrix.verdicts import ACCEPTED, GENERATIONS, Counts, Verdict, count, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sandbox.http.loopback import Request

SESSION_LIFETIME = timedelta(seconds=24)
_RUN = 3 * SESSION_LIFETIME.total_seconds()
_RUN_AT_MOST = 7 * SESSION_LIFETIME.total_seconds()
_STARTING_AT_ONCE = 4
_START_SECONDS = 60.0
_FRESH_SECONDS = 40.0


class StageError(Exception):
    """The broker did not come up, so that no client can be judged."""


@dataclass(slots=True, kw_only=True)
class Cell:
    """A client in one way: its endpoint, its process, and in the end what is to be said of it."""

    client: Client
    way: Way
    recorder: Recorder
    environment: dict[str, str]
    output: Path
    process: Process | None = None
    version: str = ""
    counts: Counts = field(default_factory=lambda: count((), 0))
    verdict: Verdict | None = None

    @property
    def name(self) -> str:
        """What progress calls it."""
        return f"{self.client.name}, {self.way}"

    @property
    def is_starting(self) -> bool:
        """Whether it has not yet said its version."""
        return self.process is not None and self.process.is_running and "version " not in self.process.output()

    @property
    def has_failed(self) -> bool:
        """Whether its process has said that a call failed, or is over."""
        return self.process is not None and ("failed " in self.process.output() or not self.process.is_running)

    def start(self) -> None:
        """Start a process for it."""
        self.process = Process(self.client.command, environment=self.environment, output=self.output)

    def look(self) -> Counts:
        """Count what it has done so far."""
        assert self.process is not None
        lines = [line.split(maxsplit=1) for line in self.process.output().splitlines()]
        self.version = next((words[1] for words in lines if words[0] == "version"), self.version)
        failed = sum(words[0] == "failed" for words in lines)
        self.counts = count(self.recorder.calls, failed)
        return self.counts

    def stop(self) -> None:
        """End the process, if there is one."""
        if self.process is not None:
            self.process.stop()


class Stage:
    """The sandbox and a broker that has published, from construction until `close()`; a context manager."""

    def __init__(self, *, needs_endpoint: bool) -> None:
        with contextlib.ExitStack() as started:
            self._directory = Path(started.enter_context(TemporaryDirectory(prefix="sdk-matrix-")))
            self._scratch = self._directory / "scratch"
            self._scratch.mkdir()
            (self._scratch / "config").touch()
            self._box = started.enter_context(Sandbox(session_lifetime=SESSION_LIFETIME))
            # The judge of whoever signed a call: sandbox.sts shares it with nobody else.
            self._authority = self._box.sts._authority  # noqa: SLF001
            self._broker = self._start_broker()
            started.callback(self._broker.stop)
            started.callback(self._broker.terminate)
            self._endpoint_url = self._wait_for_broker(needs_endpoint=needs_endpoint)
            self._cells: list[Cell] = []
            started.callback(self._stop_cells)
            self._started = started.pop_all()

    def __enter__(self) -> Self:
        """Return itself: the broker already runs."""
        return self

    def __exit__(self, *_: object) -> None:
        """End everything."""
        self._started.close()

    @property
    def generations(self) -> int:
        """How many generations the broker has fetched."""
        return len(self._box.sts.calls)

    def run(self, pairs: Iterable[tuple[Client, Way]], tell: Callable[[str], None]) -> Sequence[Cell]:
        """Run every client in its ways until all is seen; returns them with their verdicts."""
        self._cells = [self._cell(client, way) for client, way in pairs]
        began = time.monotonic()
        self._start(self._cells)
        tell(f"{len(self._cells)} processes started in {time.monotonic() - began:.0f} s")
        began = time.monotonic()
        time.sleep(_RUN)
        wait_until(lambda: all([cell.look().is_settled for cell in self._cells]), _RUN_AT_MOST - _RUN)  # noqa: C419
        tell(f"{self.generations} generations in {time.monotonic() - began:.0f} s")
        self._end()
        self._judge(tell)
        return self._cells

    def _end(self) -> None:
        """Count, then stop: what a client says while it is being stopped is not held against it."""
        for cell in self._cells:
            cell.look()
        self._stop_cells()

    def _judge(self, tell: Callable[[str], None]) -> None:
        """Give the verdicts; whoever did not follow shows what a fresh process does with its first call."""
        doubtful = [cell for cell in self._cells if cell.counts.generations < GENERATIONS]
        reports = {cell.name: cell.process.errors() for cell in doubtful if cell.process}
        seen = {cell.name: len(cell.recorder.calls) for cell in doubtful}

        def works(cell: Cell) -> bool:
            return any(call.outcome == ACCEPTED for call in cell.recorder.calls[seen[cell.name] :])

        self._start(doubtful)
        wait_until(lambda: all(works(cell) or cell.has_failed for cell in doubtful), _FRESH_SECONDS)
        self._stop_cells()
        for cell in self._cells:
            cell.verdict = judge(cell.counts, fresh_process_works=cell in doubtful and works(cell))
            if cell.verdict is Verdict.FAILS:
                last = [line for line in reports[cell.name].splitlines() if line.strip()][-3:]
                tell("\n  ".join([f"{cell.name} FAILS: {cell.counts}", *last]))

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

    def _cell(self, client: Client, way: Way) -> Cell:
        recorder = self._started.enter_context(Recorder(self._identify))
        home = self._directory / f"{client.name}, {way}"
        home.mkdir()
        further = {name: value.format(scratch=self._scratch) for name, value in client.further.get(way, {}).items()}
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(home),
            "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
            "AWS_REGION": self._box.region,
            "AWS_DEFAULT_REGION": self._box.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "MATRIX_ENDPOINT": recorder.url,
            **client.environment,
            **self._delivery(client, way),
            **further,
        }
        return Cell(client=client, way=way, recorder=recorder, environment=environment, output=home / "output")

    def _identify(self, request: Request, at: datetime) -> str:
        caller = self._authority.caller(request, at)
        if not isinstance(caller, Session):
            raise Refusal("InvalidClientTokenId", "That is no session that the broker fetched.", 403)
        return identity_result(caller)

    def _delivery(self, client: Client, way: Way) -> dict[str, str]:
        """Return what an app in a pod is given to get its credentials in this way."""
        match way:
            case Way.PROCESS:
                return {"AWS_CONFIG_FILE": str(self._published / "config")}
            case Way.STATIC:
                return {"AWS_SHARED_CREDENTIALS_FILE": str(self._published / "credentials")}
        token = self._published / "endpoint-token"
        name = "AWS_CONTAINER_AUTHORIZATION_TOKEN"
        return {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{self._endpoint_url}/v1/credentials",
            **({name: token.read_text()} if client.takes_token else {f"{name}_FILE": str(token)}),
        }

    @property
    def _published(self) -> Path:
        return self._directory / "published"

    def _start_broker(self) -> Process:
        token = self._box.projected_token(self._directory / "token")
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self._scratch),
            **self._box.environment(token),
            "BROKER_PUBLISH_DIRECTORY": str(self._published),
            "BROKER_HEALTH_ADDRESS": "127.0.0.1:0",
            "BROKER_ENDPOINT_ADDRESS": "127.0.0.1:0",
            "BROKER_MINIMUM_INTERVAL_SECONDS": "1",
            "BROKER_LOG_FORMAT": "json",
        }
        return Process((sys.executable, "-m", "broker", "run"), environment=environment, output=self._directory / "log")

    def _wait_for_broker(self, *, needs_endpoint: bool) -> str:
        """Wait until it has published; returns where its endpoint listens."""

        def listening() -> dict[str, Any]:
            lines = [json.loads(line) for line in self._broker.errors().splitlines() if line.startswith("{")]
            return next((line for line in lines if line.get("listener") == "credentials"), {})

        def is_up() -> bool:
            is_published = (self._published / "default.json").exists()
            return (is_published and bool(listening() or not needs_endpoint)) or not self._broker.is_running

        if not wait_until(is_up, _START_SECONDS) or not self._broker.is_running:
            raise StageError(f"the broker did not come up; its log:\n{self._broker.errors()}")
        line = listening()
        return f"http://{line['host']}:{line['port']}" if line else ""
