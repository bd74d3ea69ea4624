"""Load the settings in a child process, so that the libraries that check them do not stay in memory.

pydantic, pydantic-settings and the schema are needed once, at the start, and would keep 15 MiB of memory for the life
of the pod (docs/adr/0006-settings-apart.md). The child is forked before the broker starts any thread. It ends before
`load_configuration` returns.
"""

from __future__ import annotations

import os
import pickle
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.core.errors import EXIT_BUG, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

    from broker.core.model import Configuration


@dataclass(frozen=True, slots=True)
class _Crash:
    """The traceback of a bug in the child."""

    traceback: str


def load_configuration(environ: Mapping[str, str]) -> Configuration:
    """Return what `loader.load` returns.

    Raises ConfigurationError for the faults of the settings, and if a signal ended the child process: the kernel does
    that when the container has too little memory. Raises RuntimeError if the child process crashed.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # if the parent process ignores it, no child can be waited for
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _run_child(environ, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status < 0:
        name = signal.Signals(-status).name
        fault = (
            f"the process that checks the settings was ended by {name}, probably because the container has too little "
            "memory: raise its limit (resources.limits.memory); 64Mi is enough"
        )
        raise ConfigurationError((fault,))
    if status != os.EX_OK:
        raise RuntimeError(f"The process that checks the settings ended with status {status}.")
    result: Configuration | tuple[str, ...] | _Crash = pickle.loads(answer)  # noqa: S301 - our own child wrote it
    if isinstance(result, _Crash):
        raise RuntimeError(  # noqa: TRY004 - a crash, whatever its type
            f"The process that checks the settings crashed.\n{result.traceback}"
        )
    if isinstance(result, tuple):
        raise ConfigurationError(result)
    return result


def _run_child(environ: Mapping[str, str], writing: int) -> NoReturn:
    """Write the configuration, its faults or a crash to the pipe, and end this process."""
    status = EXIT_BUG
    try:
        result = _load(environ)
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(result, pipe)
        status = os.EX_OK
    finally:
        os._exit(status)


def _load(environ: Mapping[str, str]) -> Configuration | tuple[str, ...] | _Crash:
    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"  # otherwise pydantic searches all packages for plugins: 10 ms
    try:
        from broker.settings.loader import load  # noqa: PLC0415 - only this process imports pydantic

        return load(environ)
    except ConfigurationError as error:
        return error.faults
    except Exception:  # noqa: BLE001 - the parent process reports it
        import traceback  # noqa: PLC0415

        return _Crash(traceback.format_exc())
