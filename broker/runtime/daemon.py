"""The verbs `run` and `once`: build all parts, start them, run the main loop, stop them.

Start in this order: block signals, load settings, configure the log, open sockets, write the files that need no
credentials, restore published credentials, start the listeners, run the loop. The first exchange belongs to the loop,
so the listeners answer probes before botocore is imported.
"""

from __future__ import annotations

import errno
import logging
import os
import random
import signal
import threading
from dataclasses import replace
from datetime import timedelta
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING

from broker import __version__
from broker.core.clock import SystemClock
from broker.core.errors import EXIT_BUG, ConfigurationError, PublishError
from broker.core.refresher import Message, Refresher, RefreshNow, Stop, Wake
from broker.core.schedule import RefreshPolicy
from broker.core.status import Status
from broker.publish.file_sink import FileSink
from broker.publish.published_state import Origin, read_boot_id
from broker.runtime import logs
from broker.runtime.lazy_imports import LazyExchanger, LazyMetrics, make_token_request
from broker.runtime.process_hardening import forbid_core_dumps
from broker.runtime.restoration import restore_published
from broker.runtime.termination_message import TerminationMessage
from broker.serving.credentials_endpoint import CredentialsApplication, ServedCredentials, generate_token
from broker.serving.health import HealthApplication
from broker.serving.listener import Listener, open_socket
from broker.settings.loader_process import load_configuration
from broker.tokens.token_file import FileTokenSource

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence

    from broker.core.clock import Clock
    from broker.core.collaborators import TokenSource
    from broker.core.events import Event
    from broker.core.first_publication import Awaited
    from broker.core.model import Configuration, Secret
    from broker.serving.http_messages import Application

DEADLINE_CHECK_INTERVAL = timedelta(milliseconds=200)
"""How often `once` and `exec` compare the time with their deadline."""
_MAXIMUM_READERS = 512
"""Connections to the credentials endpoint. With those of the health listener they stay below the usual limit of 1024
open files."""
_ROLES_ANYWHERE_PORT = 9911
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def run(environ: Mapping[str, str]) -> int:
    """Keep the credentials of all profiles fresh until SIGTERM or SIGINT. Return the exit code.

    Raises ConfigurationError.
    """
    configuration, inbox = _start_process(environ)
    clock, status = SystemClock(), Status(configuration.profiles)
    token, served = generate_token(), ServedCredentials()
    sink = _build_sink(configuration, clock, token)
    health = HealthApplication(
        take_snapshot=status.snapshot, render_metrics=LazyMetrics(status.snapshot, clock), clock=clock
    )
    credentials = CredentialsApplication(
        configuration=configuration, token=token, served=served, take_snapshot=status.snapshot, clock=clock
    )
    listeners = (_open_health_listener(configuration, health), open_credentials_listener(configuration, credentials))
    _write_initial_files(sink)
    policy = replace(RefreshPolicy(), minimum_interval=configuration.minimum_interval)
    message = TerminationMessage(configuration.termination_message_path, status.snapshot)
    recorders = (status.record, served.record, message.record)
    refresher = build_refresher(configuration, recorders, sink, clock, inbox, policy)
    restore_published(sink, refresher)
    for listener in listeners:
        listener.start()
        host, port = listener.address
        logs.log_message(logging.INFO, "listening", "Started a listener.", listener=listener.name, host=host, port=port)
    _warn_about_rival_sources(environ, configuration, listeners[1])
    code = run_loop(refresher.run, message)
    logs.log_message(logging.INFO, "stopping", "Stopping. Published files remain in place.")
    for listener in listeners:
        listener.close()
    return code


def once(environ: Mapping[str, str], *, timeout: timedelta) -> int:
    """Publish one generation of every required profile, then return the exit code.

    Transient faults are retried until `timeout`. A fault that needs an operator ends the wait at once. Raises
    ConfigurationError.
    """
    configuration, inbox = _start_process(environ)
    clock, status = SystemClock(), Status(configuration.profiles)
    from broker.core.first_publication import Awaited  # noqa: PLC0415 - `run` does not need it and starts faster without

    policy = replace(RefreshPolicy(), nap=DEADLINE_CHECK_INTERVAL)
    awaited = Awaited(began=clock.read().monotonic, timeout=timeout, policy=policy)
    sink = _build_sink(configuration, clock)
    message = TerminationMessage(configuration.termination_message_path, status.snapshot)
    refresher = build_refresher(configuration, (status.record, message.record), sink, clock, inbox, policy)
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


def _start_process(environ: Mapping[str, str]) -> tuple[Configuration, SimpleQueue[Message]]:
    """Load the settings and start signal handling and the log. Return the settings and the loop's inbox.

    Signals are blocked first, and in every later thread, so that they stay pending until `_start_signal_thread`. Raises
    ConfigurationError.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    forbid_core_dumps()  # before the first secret is read
    configuration = load_configuration(environ)
    inbox: SimpleQueue[Message] = SimpleQueue()
    _start_signal_thread(inbox)
    start_log(configuration)
    return configuration, inbox


def _start_signal_thread(inbox: SimpleQueue[Message]) -> None:
    """Start a thread that turns each signal into a message for the loop.

    Python runs its own signal handlers in the main thread, after that has woken up. A signal that another thread
    receives, or that arrives just before the wait, does not wake it: the loop would react up to 30 s late.
    """

    def forward_signals() -> None:
        while True:
            number = signal.sigwait(_SIGNALS)
            inbox.put(RefreshNow() if number == signal.SIGHUP else Stop())

    threading.Thread(target=forward_signals, name="signals", daemon=True).start()


def start_log(configuration: Configuration) -> None:
    """Configure the log, and write its first lines: version, profiles, and warnings about settings."""
    logs.configure(configuration.log_format, configuration.log_level)
    logs.log_message(
        logging.INFO,
        "starting",
        f"sts-federation-broker {__version__}",
        profiles=[profile.name for profile in configuration.profiles],
        publish_directory=configuration.publish.directory,
    )
    for warning in configuration.warnings:
        logs.log_message(logging.WARNING, "warning", warning)


def _open_health_listener(configuration: Configuration, application: Application) -> Listener:
    """Return the health listener with its socket open. Raises ConfigurationError."""
    address = (configuration.health_host, configuration.health_port)
    return Listener(application, _open_socket("health.address (BROKER_HEALTH_ADDRESS)", *address), name="health")


def open_credentials_listener(configuration: Configuration, application: Application) -> Listener:
    """Return the listener of the credentials endpoint with its socket open. Raises ConfigurationError."""
    address = (configuration.endpoint_host, configuration.endpoint_port)
    listening = _open_socket("endpoint.address (BROKER_ENDPOINT_ADDRESS)", *address)
    return Listener(application, listening, name="credentials", connections=_MAXIMUM_READERS)


def format_url(listener: Listener) -> str:
    """Return the base URL of a listener, `http://HOST:PORT`."""
    host, port = listener.address
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _warn_about_rival_sources(environ: Mapping[str, str], configuration: Configuration, credentials: Listener) -> None:
    """Log the other credential sources in this container, because the app's container probably has them too."""
    # Imported after the listeners have started, because probes wait for those.
    from broker.runtime.rival_credentials import find_rival_sources  # noqa: PLC0415

    endpoint, directory = format_url(credentials), configuration.publish.directory
    for source in find_rival_sources(environ, endpoint=endpoint, directory=directory):
        message = (
            "The broker's container has another source of AWS credentials. If the app's container has it too, SDKs "
            f"there do not use the broker's credentials. {source}"
        )
        logs.log_message(logging.WARNING, "warning", message, credential_source=source.name)


def _open_socket(setting: str, host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises ConfigurationError, which names `setting` as the one to change."""
    try:
        return open_socket(host, port)
    except OSError as error:
        raise ConfigurationError((f"{setting}: {_explain_socket_error(host, port, error)}",)) from None


def _explain_socket_error(host: str, port: int, error: OSError) -> str:
    found = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or "no such address"
    text = f"cannot listen on {host or '*'}:{port}: {found}."
    if error.errno != errno.EADDRINUSE:
        return f"{text} Set an address of this pod, and a port of 1024 or above."
    if port == _ROLES_ANYWHERE_PORT:
        text += " The credential helper of IAM Roles Anywhere uses 9911 by default, too."
    return f"{text} Another process in the pod uses this port. Set a different port."


def _build_sink(configuration: Configuration, clock: Clock, token: Secret | None = None) -> FileSink:
    """Return the sink, which records what it publishes for the next start. `token` is that of the endpoint."""
    origin = Origin(endpoint_url=configuration.sts.endpoint_url, boot=read_boot_id())
    return FileSink(configuration.publish, configuration.profiles, clock, token, origin)


def _write_initial_files(sink: FileSink) -> None:
    """Write the files that readers need before the first credentials. Log a failure; the first publish tries again.

    Until they are written the endpoint refuses every request, because no client can know its token.
    """
    try:
        sink.prepare()
    except PublishError as error:
        logs.log_message(logging.ERROR, "publish_failed", str(error), reason=error.reason, sink=error.sink)


def build_refresher(  # noqa: PLR0913, PLR0917 - connects all parts
    configuration: Configuration,
    recorders: Sequence[Callable[[Event], None]],
    sink: FileSink,
    clock: Clock,
    inbox: SimpleQueue[Message],
    policy: RefreshPolicy,
) -> Refresher:
    """Return the main loop. Each event goes to `recorders`, in their order, and then to the log."""

    def record(event: Event) -> None:
        for recorder in recorders:
            recorder(event)
        logs.log_event(event)

    return Refresher(
        profiles=configuration.profiles,
        tokens=_build_token_sources(configuration, clock, inbox, policy),
        exchanger=LazyExchanger(configuration.sts, clock),
        sink=sink,
        record=record,
        clock=clock,
        inbox=inbox,
        spawn=_run_in_thread,
        chance=random.random,
        policy=policy,
    )


def _build_token_sources(
    configuration: Configuration, clock: Clock, inbox: SimpleQueue[Message], policy: RefreshPolicy
) -> Mapping[str, TokenSource]:
    """Return the token source of each profile, by profile name. Chained roles have none."""
    with_token = [profile for profile in configuration.profiles if profile.chain is None]
    if configuration.token_request is None:
        files = {profile.token_file: FileTokenSource(profile.token_file, clock) for profile in with_token}
        return {profile.name: files[profile.token_file] for profile in with_token}
    from broker.tokens.token_request import RequestedTokenSource  # noqa: PLC0415 - not needed to read a file

    source = RequestedTokenSource(
        ask=make_token_request(configuration.token_request),
        clock=clock,
        spawn=_run_in_thread,
        wake=lambda: inbox.put(Wake()),
        report=lambda error: logs.log_message(logging.WARNING, "token_request_failed", str(error), reason=error.reason),
        chance=random.random,
        policy=policy,
    )
    return dict.fromkeys((profile.name for profile in with_token), source)


def _run_in_thread(task: Callable[[], None]) -> None:
    """Run the task on a daemon thread, so that a hanging call to STS does not delay the end of the process."""
    threading.Thread(target=task, name="exchange", daemon=True).start()


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
