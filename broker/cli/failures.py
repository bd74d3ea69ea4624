"""Report why a command failed, and choose its exit code.

`run`, `once` and `exec` write a log. Their failures have the format of that log, so that everything on standard error
is JSON if the log is: with `log.format` json, or `auto` and a standard error that is not a terminal. The format is that
of the environment, or of the YAML file, even if the other settings cannot be used. All other commands are for people,
and report failures as text. So do errors of the command line itself, which are found before the settings are read.

They also write the failure to the container's termination message.

No report waits longer than a second for standard error, and none changes the exit code. A container whose log nobody
reads must end, too.
"""

from __future__ import annotations

import errno
import logging
import os
import sys
from typing import TYPE_CHECKING

from broker.core.errors import EXIT_BUG, BrokerError, ConfigurationError, PublishError
from broker.core.model import redacted

if TYPE_CHECKING:
    from collections.abc import Mapping

_OUTPUT_IS_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def report_failure(error: Exception, environ: Mapping[str, str], *, writes_log: bool) -> int:
    """Report what ended a command. Return the exit code. `writes_log` is whether the command writes a log."""
    if isinstance(error, BrokenPipeError):  # the reader of standard output closed it, as `head` does
        _discard_output()
        return os.EX_OK
    if isinstance(error, OSError) and error.errno in _OUTPUT_IS_FULL:
        _discard_output()
        complain(f"standard output cannot be written: {error.strerror}")
        return PublishError.exit_code
    if writes_log:
        _write_termination_message(error, environ)
    if not writes_log or not _report_in_log(error, environ):
        _report_as_text(error)
    return error.exit_code if isinstance(error, BrokerError) else EXIT_BUG


def complain(sentence: str) -> None:
    """Write a sentence for people to standard error, without anything that looks like a token."""
    _write_text(f"sts-broker: {sentence}")


def _write_text(text: str) -> None:
    from broker.runtime.log_writer import write_line  # noqa: PLC0415 - most commands report no failure

    write_line(redacted(text))


def _write_termination_message(error: Exception, environ: Mapping[str, str]) -> None:
    from broker.runtime import termination_message  # noqa: PLC0415 - most commands do not need it
    from broker.settings.early_settings import read_termination_message_path  # noqa: PLC0415 - likewise

    path = read_termination_message_path(environ)
    termination_message.write_message(path, termination_message.describe_error(error))


def _report_in_log(error: Exception, environ: Mapping[str, str]) -> bool:
    """Write the error as a JSON log line. Return False, and write nothing, if the log is not JSON."""
    from broker.runtime import logs  # noqa: PLC0415 - most commands do not need it
    from broker.runtime.log_formats import is_json  # noqa: PLC0415 - likewise
    from broker.settings.early_settings import read_log_format  # noqa: PLC0415 - likewise

    if not is_json(read_log_format(environ), sys.stderr):
        return False
    logs.configure("json", "info")
    if isinstance(error, ConfigurationError):
        logs.log_message(
            logging.ERROR,
            "configuration_invalid",
            f"The {_count_faults(error)}.",
            reason=error.reason,
            faults=list(error.faults),
        )
    elif isinstance(error, BrokerError):
        logs.log_message(logging.ERROR, "stopping", str(error), reason=error.reason)
    else:
        message = "A bug ended the broker. Please report it with this traceback."
        logging.getLogger("broker").critical(message, exc_info=error, extra={"event": "bug"})
    logs.flush()
    return True


def _report_as_text(error: Exception) -> None:
    if isinstance(error, ConfigurationError):
        complain("\n  ".join((f"the {_count_faults(error)}:", *error.faults)))
    elif isinstance(error, BrokerError):
        complain(f"{error} [{error.reason}]")
    else:
        import traceback  # noqa: PLC0415 - rarely needed

        _write_text("".join(traceback.format_exception(error)).rstrip("\n"))
        complain("this is a bug; please report it with the traceback above")


def _count_faults(error: ConfigurationError) -> str:
    return f"configuration has {len(error.faults)} fault{'s' if len(error.faults) > 1 else ''}"


def _discard_output() -> None:
    """Discard what Python would flush at its end, where a failure could no longer be reported."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
