"""Starts a program of the demo as a process of its own.

The process gets only the given environment, no variable of the host. Ctrl-C in the terminal reaches only the demo,
which then ends the process by its pid. Each line of the program's output, and its exit, go to the demo's inbox.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

CHECKOUT = Path(__file__).resolve().parents[2]
_PATIENCE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputLine:
    """A line of a program's output, without the line end."""

    program: str
    line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramExit:
    """A program and its output have ended."""

    program: str
    code: int


class Program:
    """`python -m …` from construction until `stop()`."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        report: Callable[[OutputLine | ProgramExit], None],
    ) -> None:
        self.name = name
        self._report = report
        self._process = subprocess.Popen(  # noqa: S603 - modules of this project, run by this interpreter
            [sys.executable, "-m", *arguments],
            cwd=CHECKOUT,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            process_group=0,
        )
        self._reader = threading.Thread(target=self._read, name=f"lines of {name}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def stop(self) -> None:
        """End the program with SIGTERM, or with SIGKILL after 5 s. On return, all its lines have been reported."""
        self._process.terminate()
        try:
            self._process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._report(OutputLine(program=self.name, line=line.rstrip("\n")))
        self._report(ProgramExit(program=self.name, code=self._process.wait()))
