"""Loads the settings in a child process, so that what it takes to check them is not kept for ever.

pydantic and the schema are needed for a tenth of a second of a pod's life and would hold 9 MiB for the rest of it
(docs/adr/0006-settings-apart.md). The child is forked before there is any thread, does nothing but that, and is reaped
before this returns.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from typing import TYPE_CHECKING

from broker.core.errors import EXIT_BUG, ConfigurationError
from broker.core.model import redacted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.core.model import Configuration


def load_configuration(environ: Mapping[str, str]) -> Configuration:
    """Return what `settings.load` returns. Raises ConfigurationError, or RuntimeError where the child died."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # who started us may ignore it: then no child can be waited for
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _in_child(environ, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status != 0:
        raise RuntimeError(f"the process that checks the settings ended with status {status}")
    result: Configuration | tuple[str, ...] = pickle.loads(answer)  # noqa: S301 - our own child wrote it
    if isinstance(result, tuple):
        raise ConfigurationError(result)
    return result


def _in_child(environ: Mapping[str, str], writing: int) -> None:
    """Write the configuration, or the tuple of its faults, into the pipe and end this process."""
    status = EXIT_BUG
    try:
        os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"  # it would look for some in every package, 10 ms of CPU
        from broker.settings.loader import load  # noqa: PLC0415 - here, and in no other process

        result: Configuration | tuple[str, ...]
        try:
            result = load(environ)
        except ConfigurationError as error:
            result = error.faults
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(result, pipe)
        status = 0
    except Exception:  # noqa: BLE001 - to be told here, for the parent has no traceback
        import traceback  # noqa: PLC0415

        sys.stderr.write(redacted(traceback.format_exc()))
    finally:
        os._exit(status)
