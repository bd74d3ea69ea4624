"""The composition root: builds everything once, starts it, runs the loop, stops it. Reads from top to bottom.

Order of start: signals (held until there is a loop to tell), settings, log, sockets, the endpoint's token, listeners,
loop. STS is first dealt with by the loop's first exchange, so the listeners answer before botocore is even imported.
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
from queue import SimpleQueue
from typing import TYPE_CHECKING

from broker import __version__
from broker.core.clock import SystemClock
from broker.core.errors import EXIT_BUG, ConfigurationError, PublishError
from broker.core.refresher import Message, Refresher, RefreshNow, Stop, Wake
from broker.core.schedule import RefreshPolicy
from broker.core.status import Status
from broker.publish.file_sink import FileSink
from broker.runtime import logs
from broker.runtime.lazy_imports import ExchangeOnDemand, MetricsOnDemand, asking
from broker.serving.credentials_endpoint import CredentialsApplication, Shelf, new_token
from broker.serving.health import HealthApplication
from broker.serving.listener import Listener, open_socket
from broker.settings.loader_process import load_configuration
from broker.tokens.token_file import FileTokenSource

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence

    from broker.core.clock import Clock
    from broker.core.events import Event
    from broker.core.first_publication import Awaited
    from broker.core.model import Configuration
    from broker.core.refresher import TokenSource
    from broker.serving.http_messages import Application

IMPATIENT_NAP = timedelta(milliseconds=200)
"""How often `once` and `exec` look at their deadline."""
_MAXIMUM_READERS = 512
"""Connections to the credentials endpoint; with the health listener's, fewer descriptors than nodes allow a process."""
_PORT_OF_ROLES_ANYWHERE = 9911
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def run(environ: Mapping[str, str]) -> int:
    """Keep the credentials of all profiles fresh until SIGTERM or SIGINT. Return the exit code.

    Raises ConfigurationError.
    """
    configuration, inbox = _begin(environ)
    clock, status = SystemClock(), Status(configuration.profiles)
    token, shelf = new_token(), Shelf()
    sink = FileSink(configuration.publish, configuration.profiles, clock, token)
    health = HealthApplication(
        take=status.snapshot, render_metrics=MetricsOnDemand(status.snapshot, clock), clock=clock
    )
    credentials = CredentialsApplication(
        configuration=configuration, token=token, shelf=shelf, take=status.snapshot, clock=clock
    )
    listeners = (_health_listener(configuration, health), credentials_listener(configuration, credentials))
    _prepare(sink)
    for listener in listeners:
        listener.start()
        host, port = listener.address
        logs.say(logging.INFO, "listening", "Listening.", listener=listener.name, host=host, port=port)
    _warn_of_rivals(environ, configuration, listeners[1])
    policy = replace(RefreshPolicy(), minimum_interval=configuration.minimum_interval)
    code = turn_until(build_refresher(configuration, (status.record, shelf.record), sink, clock, inbox, policy).run)
    logs.say(logging.INFO, "stopping", "Stopping; published files stay in place.")
    for listener in listeners:
        listener.close()
    return code


def once(environ: Mapping[str, str], *, timeout: timedelta) -> int:
    """Publish one generation of every required profile, then return the exit code.

    What passes by itself is tried again until `timeout`; what an operator must mend ends it at once. Raises
    ConfigurationError.
    """
    configuration, inbox = _begin(environ)
    clock, status = SystemClock(), Status(configuration.profiles)
    from broker.core.first_publication import Awaited  # noqa: PLC0415 - `run` waits for nothing, and starts the sooner

    policy = replace(RefreshPolicy(), nap=IMPATIENT_NAP)
    awaited = Awaited(began=clock.read().monotonic, timeout=timeout, policy=policy)
    sink = FileSink(configuration.publish, configuration.profiles, clock)
    refresher = build_refresher(configuration, (status.record,), sink, clock, inbox, policy)
    return run_until_published(refresher, awaited, status, clock)


def run_until_published(refresher: Refresher, awaited: Awaited, status: Status, clock: Clock) -> int:
    """Run the loop until what is awaited is published, or cannot be. Return the exit code, having logged a fault."""
    code = turn_until(lambda: refresher.run(until=lambda: awaited.is_over(status.snapshot(), clock.read().monotonic)))
    snapshot = status.snapshot()
    error = awaited.fault(snapshot, clock.read().monotonic)
    if code != os.EX_OK or error is None:
        return code
    names = [profile.profile for profile in awaited.unfinished(snapshot)]
    logs.say(logging.ERROR, "stopping", f"Gave up: {error}", profiles=names, reason=error.reason)
    return error.exit_code


def _begin(environ: Mapping[str, str]) -> tuple[Configuration, SimpleQueue[Message]]:
    """Return what was asked for, and the inbox that signals come into. Raises ConfigurationError.

    Signals are blocked first, in every thread to come: they wait, for `_obey_signals`, and none is lost.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    configuration = load_configuration(environ)
    inbox: SimpleQueue[Message] = SimpleQueue()
    _obey_signals(inbox)
    begin_log(configuration)
    return configuration, inbox


def _obey_signals(inbox: SimpleQueue[Message]) -> None:
    """Turn signals into messages, on a thread that does nothing else.

    Python's own handlers run in the main thread once it wakes, and a signal that another thread takes, or that comes
    just before the wait, does not wake it: the loop would end up to a nap late.
    """

    def obey() -> None:
        while True:
            number = signal.sigwait(_SIGNALS)
            inbox.put(RefreshNow() if number == signal.SIGHUP else Stop())

    threading.Thread(target=obey, name="signals", daemon=True).start()


def begin_log(configuration: Configuration) -> None:
    """Send log lines to where they were asked to go, and tell what begins."""
    logs.configure(configuration.log_format, configuration.log_level)
    logs.say(
        logging.INFO,
        "starting",
        f"sts-federation-broker {__version__}",
        profiles=[profile.name for profile in configuration.profiles],
        directory=configuration.publish.directory,
    )
    for warning in configuration.warnings:
        logs.say(logging.WARNING, "warning", warning)


def _health_listener(configuration: Configuration, application: Application) -> Listener:
    """Return the health listener, bound. Raises ConfigurationError."""
    address = (configuration.health_host, configuration.health_port)
    return Listener(application, _bound("BROKER_HEALTH_ADDRESS", *address), name="health")


def credentials_listener(configuration: Configuration, application: Application) -> Listener:
    """Return the listener of the credentials endpoint, bound. Raises ConfigurationError."""
    address = (configuration.endpoint_host, configuration.endpoint_port)
    listening = _bound("BROKER_ENDPOINT_ADDRESS", *address)
    return Listener(application, listening, name="credentials", connections=_MAXIMUM_READERS)


def url_of(listener: Listener) -> str:
    """Return what the URLs of a loopback listener begin with."""
    host, port = listener.address
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _warn_of_rivals(environ: Mapping[str, str], configuration: Configuration, credentials: Listener) -> None:
    """Tell what in this container hides the broker from SDKs: webhooks give the app's container the same."""
    from broker.runtime.rival_credentials import rivals_in_pod  # noqa: PLC0415 - after the listeners, which probes wait for

    for rival in rivals_in_pod(environ, endpoint=url_of(credentials), directory=configuration.publish.directory):
        message = f"In this container, and so probably in the app's, where it hides the broker from SDKs: {rival}"
        logs.say(logging.WARNING, "warning", message, name=rival.name)


def _bound(variable: str, host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises ConfigurationError, which names the variable to change."""
    try:
        return open_socket(host, port)
    except OSError as error:
        raise ConfigurationError((f"{variable}: {_why_no_socket(host, port, error)}",)) from None


def _why_no_socket(host: str, port: int, error: OSError) -> str:
    why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or "no such address"
    text = f"cannot listen on {host or '*'}:{port}: {why}"
    if error.errno == errno.EADDRINUSE:
        text += "; something else in the pod has this port: set another one"
        if port == _PORT_OF_ROLES_ANYWHERE:
            text += " (the credential helper of IAM Roles Anywhere has 9911 too)"
    return text


def _prepare(sink: FileSink) -> None:
    """Write what readers need before the first credentials. Where that fails, the loop's first publish does it again.

    Until then the endpoint refuses everybody, for nobody can know its token.
    """
    try:
        sink.prepare()
    except PublishError as error:
        logs.say(logging.ERROR, "publish_failed", str(error), reason=error.reason, sink=error.sink)


def build_refresher(  # noqa: PLR0913, PLR0917 - everything meets here
    configuration: Configuration,
    recorders: Sequence[Callable[[Event], None]],
    sink: FileSink,
    clock: Clock,
    inbox: SimpleQueue[Message],
    policy: RefreshPolicy,
) -> Refresher:
    """Return the loop. Each event goes to the recorders, in their order, and then to the log."""

    def record(event: Event) -> None:
        for take in recorders:
            take(event)
        logs.tell(event)

    return Refresher(
        profiles=configuration.profiles,
        tokens=_token_sources(configuration, clock, inbox, policy),
        exchanger=ExchangeOnDemand(configuration.sts, clock),
        sink=sink,
        record=record,
        clock=clock,
        inbox=inbox,
        spawn=_beside,
        chance=random.random,
        policy=policy,
    )


def _token_sources(
    configuration: Configuration, clock: Clock, inbox: SimpleQueue[Message], policy: RefreshPolicy
) -> Mapping[str, TokenSource]:
    """Return where each profile has its token from, by its name; chained roles have none."""
    with_token = [profile for profile in configuration.profiles if profile.chain is None]
    if configuration.token_request is None:
        files = {profile.token_file: FileTokenSource(profile.token_file, clock) for profile in with_token}
        return {profile.name: files[profile.token_file] for profile in with_token}
    from broker.tokens.token_request import RequestedTokenSource  # noqa: PLC0415 - most brokers read a file

    source = RequestedTokenSource(
        ask=asking(configuration.token_request),
        clock=clock,
        spawn=_beside,
        wake=lambda: inbox.put(Wake()),
        tell=lambda error: logs.say(logging.WARNING, "token_request_failed", str(error), reason=error.reason),
        chance=random.random,
        policy=policy,
    )
    return dict.fromkeys((profile.name for profile in with_token), source)


def _beside(task: Callable[[], None]) -> None:
    """Run the task on a thread that does not keep the process alive: STS may hang when it is time to go."""
    threading.Thread(target=task, name="exchange", daemon=True).start()


def turn_until(turns: Callable[[], None]) -> int:
    """Run the loop. Return the exit code: 0, or 70 after a bug, whose traceback is logged."""
    try:
        turns()
    except Exception:
        logging.getLogger("broker").critical(
            "A bug ended the broker; published files stay in place. Please report it with this traceback.",
            exc_info=True,
            extra={"event": "bug"},
        )
        return EXIT_BUG
    return os.EX_OK
