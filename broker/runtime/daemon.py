"""The verbs `run` and `once`: build all parts, start them, run the main loop, stop them.

`start` has taken the first steps. Here follow, in this order: the settings, the log, the sockets, the files that need
no credentials, published credentials of an earlier start, the listeners, the loop.
"""

from __future__ import annotations

import logging
import os
import random
import threading
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from broker import __version__
from broker.core.clock import SystemClock
from broker.core.errors import EXIT_BUG, ExchangeUnavailable, PublishError
from broker.core.model import WEB_IDENTITY_TOKEN_RECORD
from broker.core.records import replace
from broker.core.refresher import Refresher, Wake
from broker.core.schedule import RefreshPolicy
from broker.core.status import Status
from broker.loop.event_loop import Inbox
from broker.publish.background import BackgroundSink
from broker.publish.file_sink import SINK, FileSink
from broker.publish.published_state import Origin, read_boot_id
from broker.runtime import listeners, logs
from broker.runtime.loop_clock import LoopClock
from broker.runtime.restoration import restore_published
from broker.runtime.signals import start_signal_thread
from broker.runtime.termination_message import TerminationMessage
from broker.runtime.token_sources import build_token_sources
from broker.serving.answer_counts import AnswerCounts
from broker.serving.credentials_endpoint import CredentialsApplication, ServedCredentials, generate_token
from broker.serving.health import HealthApplication
from broker.serving.metrics import Losses
from broker.serving.process_readings import ProcessReader
from broker.worker.adapters import WorkerExchanges

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from broker.core.clock import Clock
    from broker.core.events import Event
    from broker.core.first_publication import Awaited
    from broker.core.model import Configuration, Secret
    from broker.core.refresher import Message
    from broker.runtime.notifier import Notifier
    from broker.runtime.start import ResidentProcess
    from broker.runtime.web_identity_tokens import WebIdentityTokens
    from broker.serving.listener import Listener

DEADLINE_CHECK_INTERVAL = timedelta(milliseconds=200)
"""How often `once` and `exec` compare the time with their deadline."""


def run(process: ResidentProcess) -> int:
    """Keep the credentials of all profiles fresh until SIGTERM or SIGINT. Return the exit code.

    Raises ConfigurationError.
    """
    inbox: Inbox[Message] = Inbox(process.loop)
    start_signal_thread(inbox, exit_code=os.EX_OK)
    configuration = load_settings(process)
    clock, status = LoopClock(process.loop), Status(configuration.profiles)
    token, served = generate_token(), ServedCredentials()
    sink = _build_sink(configuration, clock, token)
    answers = AnswerCounts(profile.name for profile in configuration.profiles)
    tokens = _find_web_identity_tokens(configuration)
    health = HealthApplication(
        take_snapshot=tokens.extend(status.snapshot) if tokens else status.snapshot,
        read_process=ProcessReader().read,
        clock=clock,
        count_losses=lambda: Losses(
            dropped_log_lines=logs.count_dropped_lines(), failed_workers=process.workers.failures
        ),
        answers=answers.counts,
    )
    credentials = CredentialsApplication(
        configuration=configuration, token=token, served=served, take_snapshot=status.snapshot, clock=clock
    )
    started = (
        listeners.open_health_listener(configuration, health, process.loop),
        listeners.open_credentials_listener(configuration, credentials, process.loop, answers.record),
    )
    _write_initial_files(sink)
    policy = replace(RefreshPolicy(), minimum_interval=configuration.minimum_interval)
    message = TerminationMessage(configuration.termination_message_path, status.snapshot)
    recorders = [status.record, served.record, message.record]
    notifier = _build_notifier(process, configuration, clock, status)
    if notifier is not None:
        recorders.append(notifier.record)
    refresher = build_refresher(process, configuration, recorders, sink, inbox, policy)
    if tokens is not None:
        tokens.prepare()
        refresher.companion = tokens.build_companion(process.workers, inbox, policy)
    skipped = restore_published(sink, refresher)
    if notifier is not None:
        notifier.expect_readers(skipped)
    for listener in started:
        listeners.start(listener)
    _warn_about_rival_sources(process.environ, configuration, started[1])
    code = run_loop(refresher.run, message)
    logs.log_message(logging.INFO, "stopping", "Stopping. Published files remain in place.")
    for listener in started:
        listener.close()
    return code


def once(process: ResidentProcess, *, timeout: timedelta) -> int:
    """Publish one generation of every required profile, then return the exit code.

    Transient faults are retried until `timeout`. A fault that needs an operator ends the wait at once. Raises
    ConfigurationError.
    """
    from broker.core.first_publication import Awaited  # noqa: PLC0415 - `run` does not need it and starts faster without

    inbox: Inbox[Message] = Inbox(process.loop)
    start_signal_thread(inbox, exit_code=ExchangeUnavailable.exit_code)
    configuration = load_settings(process)
    warn_about_web_identity_tokens(configuration)
    clock, status = SystemClock(), Status(configuration.profiles)
    policy = replace(RefreshPolicy(), nap=DEADLINE_CHECK_INTERVAL)
    awaited = Awaited(began=clock.read().monotonic, timeout=timeout, policy=policy)
    sink = _build_sink(configuration, clock)
    message = TerminationMessage(configuration.termination_message_path, status.snapshot)
    refresher = build_refresher(process, configuration, (status.record, message.record), sink, inbox, policy)
    return run_until_published(refresher, awaited, status, clock, message)


def run_until_published(
    refresher: Refresher, awaited: Awaited, status: Status, clock: Clock, message: TerminationMessage
) -> int:
    """Run the loop until the awaited profiles are published or cannot be. Log a fault, and return its exit code."""
    loop = partial(refresher.run, until=lambda: awaited.is_over(status.snapshot(), clock.read().monotonic))
    code = run_loop(loop, message)
    snapshot = status.snapshot()
    error = awaited.fault(snapshot, clock.read().monotonic)
    if code != os.EX_OK or error is None:
        return code
    names = [profile.profile for profile in awaited.unfinished(snapshot)]
    logs.log_message(logging.ERROR, "stopping", f"Gave up: {error}", profiles=names, reason=error.reason)
    message.record_end(error)
    return error.exit_code


def load_settings(process: ResidentProcess) -> Configuration:
    """Return the settings, and start the log as they say. Raises ConfigurationError."""
    configuration = process.settings.wait()
    start_log(configuration, process.hardening.warnings)
    return configuration


def start_log(configuration: Configuration, warnings: Sequence[str]) -> None:
    """Configure the log, and write its first lines: version, profiles, `warnings`, and warnings about settings."""
    logs.configure(configuration.log_format, configuration.log_level)
    threading.excepthook = logs.log_bug_of_thread
    logs.log_message(
        logging.INFO,
        "starting",
        f"sts-federation-broker {__version__}",
        profiles=[profile.name for profile in configuration.profiles],
        publish_directory=configuration.publish.directory,
    )
    for warning in (*warnings, *configuration.warnings):
        logs.log_message(logging.WARNING, "warning", warning)


def warn_about_web_identity_tokens(configuration: Configuration) -> None:
    """Log a warning if a profile has a web identity token, for the verbs that publish none."""
    if any(profile.web_identity_token is not None for profile in configuration.profiles):
        message = "web_identity_token is set but not used. Only `sts-broker run` publishes web identity tokens."
        logs.log_message(logging.WARNING, "warning", message)


def _warn_about_rival_sources(environ: Mapping[str, str], configuration: Configuration, credentials: Listener) -> None:
    """Log the other credential sources in this container, because the app's container probably has them too."""
    # Imported after the listeners have started, because probes wait for those.
    from broker.runtime.rival_credentials import find_rival_sources  # noqa: PLC0415

    endpoint, directory = listeners.format_url(credentials), configuration.publish.directory
    for source in find_rival_sources(environ, endpoint=endpoint, directory=directory):
        message = (
            "The broker's container has another source of AWS credentials. If the app's container has it too, SDKs "
            f"there do not use the broker's credentials. {source}"
        )
        logs.log_message(logging.WARNING, "warning", message, credential_source=source.name)


def _build_sink(configuration: Configuration, clock: Clock, token: Secret | None = None) -> FileSink:
    """Return the sink, which records what it publishes for the next start. `token` is that of the endpoint."""
    origin = Origin(endpoint_url=configuration.sts.endpoint_url, boot=read_boot_id())
    return FileSink(configuration.publish, configuration.profiles, clock, token, origin)


def _build_notifier(
    process: ResidentProcess, configuration: Configuration, clock: Clock, status: Status
) -> Notifier | None:
    """Return what notifies programs about new credentials; None if no profile has any."""
    if not any(profile.notify for profile in configuration.profiles):
        return None
    from broker.runtime.notifier import Notifier  # noqa: PLC0415 - most pods do not need it

    return Notifier(configuration.profiles, process.loop, process.workers, clock, status.record)


def _find_web_identity_tokens(configuration: Configuration) -> WebIdentityTokens | None:
    """Return the tokens of the profiles, None if there are none, not even files of an earlier start."""
    record = f"{configuration.publish.directory}/{WEB_IDENTITY_TOKEN_RECORD}"
    if not (any(each.web_identity_token for each in configuration.profiles) or os.path.lexists(record)):
        return None
    # Imported here, because most pods have no such tokens.
    from broker.runtime.web_identity_tokens import WebIdentityTokens  # noqa: PLC0415

    return WebIdentityTokens(configuration)


def _write_initial_files(sink: FileSink) -> None:
    """Write the files that readers need before the first credentials. Log a failure; the first publish tries again.

    Until they are written the endpoint refuses every request, because no client can know its token.
    """
    try:
        sink.prepare()
    except PublishError as error:
        logs.log_message(logging.ERROR, "publish_failed", str(error), reason=error.reason, sink=error.sink)


def build_refresher(  # noqa: PLR0913, PLR0917 - connects all parts
    process: ResidentProcess,
    configuration: Configuration,
    recorders: Sequence[Callable[[Event], None]],
    sink: FileSink,
    inbox: Inbox[Message],
    policy: RefreshPolicy,
) -> Refresher:
    """Return the main loop. Each event goes to `recorders`, in their order, and then to the log."""

    def record(event: Event) -> None:
        for recorder in recorders:
            recorder(event)
        logs.log_event(event)

    clock = LoopClock(process.loop)
    return Refresher(
        profiles=configuration.profiles,
        tokens=build_token_sources(process, configuration, clock, inbox, policy),
        exchanges=WorkerExchanges(process.workers, configuration.sts),
        publisher=BackgroundSink(sink, name=SINK, wake=lambda: inbox.put(Wake())),
        record=record,
        clock=clock,
        inbox=inbox,
        chance=random.random,
        policy=policy,
    )


def run_loop(loop: Callable[[], None], message: TerminationMessage) -> int:
    """Run the main loop. Return the exit code: 0, or 70 after a bug, which is logged with its traceback."""
    try:
        loop()
    except Exception as error:
        message.record_end(error)
        logging.getLogger("broker").critical(
            "The broker stopped because of a bug. Published files remain in place. Report the bug with this traceback.",
            exc_info=True,
            extra={"event": "bug"},
        )
        return EXIT_BUG
    return os.EX_OK
