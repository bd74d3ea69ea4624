"""Examine the programs to notify about new credentials, without notifying them.

A process gets signal 0, which only checks whether it may be signaled. A URL's port gets a connection and no request.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from broker.core.notify_targets import HttpTarget
from broker.doctor.examiners.connection_steps import connect, describe_error, run_bounded
from broker.notify.faults import CannotNotify
from broker.notify.process_signal import check_process

if TYPE_CHECKING:
    from broker.core.model import Configuration
    from broker.core.notify_targets import NotifyTarget
    from broker.doctor.checks import Report


def examine_notify(configuration: Configuration, report: Report) -> None:
    """Warn about each program that could not be notified now."""
    targets = [(profile.name, target) for profile in configuration.profiles for target in profile.notify]
    if not targets:
        report.ok("notify", "No program is notified about new credentials (notify is not set).")
    for profile, target in targets:
        of = f"{profile}, {target.label}" if len(configuration.profiles) > 1 else target.label
        try:
            report.ok("notify", _check(target), of=of)
        except CannotNotify as error:
            report.warning("notify", error.message, error.remedy, of=of)


def _check(target: NotifyTarget) -> str:
    """Return what was found. Raises CannotNotify."""
    if isinstance(target, HttpTarget):
        return _check_url(target)
    pids = check_process(target)
    which = f"process {pids[0]}" if len(pids) == 1 else f"{len(pids)} processes"
    return f"The broker may send SIG{target.signal} to {which}."


def _check_url(target: HttpTarget) -> str:
    from broker.net.routes import target_port  # noqa: PLC0415 - only for URLs
    from broker.net.urls import split  # noqa: PLC0415 - likewise
    from broker.notify.http_request import LISTEN_REMEDY, read_bearer  # noqa: PLC0415 - likewise

    if target.bearer_file:
        read_bearer(target.bearer_file)
    parts = split(target.url)
    assert parts is not None  # the settings have checked it
    port = target_port(parts)
    try:
        run_bounded(partial(connect, [parts.hostname or ""], port))
    except OSError as error:
        raise CannotNotify(f"Nothing can connect to {target.label}: {describe_error(error)}.", LISTEN_REMEDY) from None
    return f"A program listens on port {port} of {parts.hostname}."
