"""The composition root: builds everything once, starts it, runs the loop, stops it. Reads from top to bottom.

Order of start: signals (so that PID 1 can be ended from the first moment), settings, log, health listener, loop. STS is
first dealt with by the loop's first exchange, so the listener answers before botocore is even imported.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import threading
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from queue import SimpleQueue
from typing import TYPE_CHECKING

from broker import __version__, logs
from broker.apart import load_configuration
from broker.clock import SystemClock
from broker.endpoints import HealthApplication, Listener, open_socket
from broker.errors import EXIT_BUG, BrokerError, ConfigurationError, Disposition, ExchangeUnavailable, TokenError
from broker.publish import FileSink
from broker.refresher import Exchanger, Message, Refresher, RefreshNow, Stop
from broker.schedule import RefreshPolicy
from broker.status import Status
from broker.token_source import FileTokenSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType

    from broker.clock import Clock
    from broker.events import Event
    from broker.metrics import MetricsPage
    from broker.model import BoundToken, Configuration, ProfileSpec, StsSpec, TemporaryCredentials
    from broker.status import Snapshot

_IMPATIENT_NAP = timedelta(milliseconds=200)
"""How often `once` looks at its deadline."""


def run(environ: Mapping[str, str]) -> int:
    """Keep the credentials of all profiles fresh until SIGTERM or SIGINT. Return the exit code.

    Raises ConfigurationError.
    """
    inbox: SimpleQueue[Message] = SimpleQueue()
    _obey_signals(inbox)
    configuration = load_configuration(environ)
    clock, status = SystemClock(), Status(configuration.profiles)
    _begin_log(configuration)
    with _signals_left_to_this_thread():
        listener = _listener(configuration, status, clock)
        listener.start()
    host, port = listener.address
    logs.say(logging.INFO, "listening", "Health listener is up.", host=host, port=port)
    policy = replace(RefreshPolicy(), minimum_interval=configuration.minimum_interval)
    code = _turn_until(_refresher(configuration, status, clock, inbox, policy).run)
    logs.say(logging.INFO, "stopping", "Stopping; published files stay in place.")
    listener.close()
    return code


def once(environ: Mapping[str, str], *, timeout: timedelta) -> int:
    """Publish one generation of every required profile, then return the exit code.

    What passes by itself is tried again until `timeout`; what an operator must mend ends it at once. Raises
    ConfigurationError.
    """
    inbox: SimpleQueue[Message] = SimpleQueue()
    _obey_signals(inbox)
    configuration = load_configuration(environ)
    clock, status = SystemClock(), Status(configuration.profiles)
    _begin_log(configuration)
    policy = replace(RefreshPolicy(), nap=_IMPATIENT_NAP)
    deadline = clock.read().monotonic + timeout

    def over() -> bool:
        expired = clock.read().monotonic >= deadline
        return _unfinished(status.snapshot()) == () or expired or _hopeless(status.snapshot(), policy) is not None

    code = _turn_until(lambda: _refresher(configuration, status, clock, inbox, policy).run(until=over))
    unfinished = _unfinished(status.snapshot())
    if code != 0 or not unfinished:
        return code
    error = _hopeless(status.snapshot(), policy) or _first_fault(status.snapshot())
    if error is None and clock.read().monotonic < deadline:
        error = ExchangeUnavailable("A signal came before the answer of STS.")
    elif error is None:
        error = ExchangeUnavailable(
            f"STS had not answered after {timeout.total_seconds():g} s.",
            "Give --timeout more seconds, or look at what stands between the pod and STS: proxy, firewall, mesh.",
        )
    logs.say(logging.ERROR, "stopping", f"Gave up: {error}", profiles=list(unfinished), reason=error.reason)
    return error.exit_code


class ExchangeOnDemand:
    """An Exchanger that imports botocore at its first use, beside the loop."""

    def __init__(self, spec: StsSpec, clock: Clock) -> None:
        self._spec = spec
        self._clock = clock
        self._lock = threading.Lock()
        self._exchanger: Exchanger | None = None

    def exchange(self, profile: ProfileSpec, token: BoundToken) -> TemporaryCredentials:
        """Return what STS gives for the token. Raises ExchangeError and nothing else."""
        with self._lock:
            if self._exchanger is None:
                from broker.exchange import StsExchanger  # noqa: PLC0415 - 0.2 s of CPU that no probe should wait for

                self._exchanger = StsExchanger(self._spec, self._clock)
        return self._exchanger.exchange(profile, token)


class MetricsOnDemand:
    """Renders metrics, importing prometheus_client at the first scrape."""

    def __init__(self, take: Callable[[], Snapshot], clock: Clock) -> None:
        self._take = take
        self._clock = clock
        self._lock = threading.Lock()
        self._page: MetricsPage | None = None

    def __call__(self, accept: str) -> tuple[str, bytes]:
        """Return content type and body of a scrape's answer."""
        with self._lock:
            if self._page is None:
                from broker.metrics import MetricsPage  # noqa: PLC0415 - 1 MiB that only a scraped broker need carry

                self._page = MetricsPage(self._take, self._clock)
        return self._page.render(accept)


def _obey_signals(inbox: SimpleQueue[Message]) -> None:
    """Turn signals into messages. SimpleQueue.put may be called from a handler."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        inbox.put(Stop())

    def refresh(_signal: int, _frame: FrameType | None) -> None:
        inbox.put(RefreshNow())

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGHUP, refresh)


@contextmanager
def _signals_left_to_this_thread() -> Iterator[None]:
    """Let threads that start meanwhile take no signal: only here does one end the loop's wait.

    Of two that come at once the kernel may give both to another thread, and the handlers would run a nap later.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_log(configuration: Configuration) -> None:
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


def _listener(configuration: Configuration, status: Status, clock: Clock) -> Listener:
    """Return the health listener, bound. Raises ConfigurationError."""
    try:
        listening = open_socket(configuration.health_host, configuration.health_port)
    except OSError as error:
        address = f"{configuration.health_host or '*'}:{configuration.health_port}"
        fault = f"BROKER_HEALTH_ADDRESS: cannot listen on {address}: {error.strerror or 'no such address'}"
        raise ConfigurationError((fault,)) from None
    render = MetricsOnDemand(status.snapshot, clock)
    return Listener(HealthApplication(take=status.snapshot, render_metrics=render, clock=clock), listening)


def _refresher(
    configuration: Configuration, status: Status, clock: Clock, inbox: SimpleQueue[Message], policy: RefreshPolicy
) -> Refresher:
    profiles = configuration.profiles
    sources = {profile.token_file: FileTokenSource(profile.token_file, clock) for profile in profiles}

    def record(event: Event) -> None:
        status.record(event)
        logs.tell(event)

    return Refresher(
        profiles=profiles,
        tokens={profile.name: sources[profile.token_file] for profile in profiles},
        exchanger=ExchangeOnDemand(configuration.sts, clock),
        sink=FileSink(configuration.publish, profiles, clock),
        record=record,
        clock=clock,
        inbox=inbox,
        spawn=_beside,
        chance=random.random,
        policy=policy,
    )


def _beside(task: Callable[[], None]) -> None:
    """Run the task on a thread that does not keep the process alive: STS may hang when it is time to go."""
    with _signals_left_to_this_thread():
        threading.Thread(target=task, name="exchange", daemon=True).start()


def _turn_until(turns: Callable[[], None]) -> int:
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


def _unfinished(snapshot: Snapshot) -> tuple[str, ...]:
    """Return the required profiles that have nothing published."""
    return tuple(
        profile.profile for profile in snapshot.profiles if profile.required and not profile.published_generation
    )


def _hopeless(snapshot: Snapshot, policy: RefreshPolicy) -> BrokerError | None:
    """Return a required profile's fault that waiting will not mend."""
    for profile in snapshot.profiles:
        fault = profile.fault
        if fault is None or not profile.required or profile.published_generation:
            continue
        disposition = fault.error.disposition
        tried_enough = disposition is Disposition.SOON_THEN_SLOW and fault.count > policy.soon_attempts
        if disposition is Disposition.SLOW or tried_enough:
            return fault.error
    return None


def _first_fault(snapshot: Snapshot) -> BrokerError | None:
    """Return the fault of a profile that is not finished, one of the token first."""
    faults = [
        profile.fault.error
        for profile in snapshot.profiles
        if profile.required and not profile.published_generation and profile.fault is not None
    ]
    return min(faults, key=lambda error: not isinstance(error, TokenError), default=None)
