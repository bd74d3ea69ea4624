"""Starts a program of the demo as a user does: a process of its own, with the given environment and nothing else.

Rules: no variable of the host reaches it; Ctrl-C in the terminal is for the demo alone, which then ends it by its pid;
every line it writes, and its end, arrive in the demo's inbox.
It refuses to know what the lines mean.
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
class Said:
    """A line of a program's output, without its end."""

    program: str
    line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A program's output is over, and so is the program."""

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
        tell: Callable[[Said | Ended], None],
    ) -> None:
        self.name = name
        self._tell = tell
        self._process = subprocess.Popen(  # noqa: S603 - our own modules, by the interpreter that runs this one
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
        """End it with SIGTERM, or SIGKILL if it does not listen; all its lines have been told when this returns."""
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
                self._tell(Said(program=self.name, line=line.rstrip("\n")))
        self._tell(Ended(program=self.name, code=self._process.wait()))
