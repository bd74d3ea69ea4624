"""What the main loop and the token sources need from the workers, in their own terms: domain errors, no job numbers."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

from broker.core.errors import ConfigurationError, ExchangeUnavailable, TokenError, TokenUnavailable, WorkerFailed
from broker.core.notify_targets import NotifyFailure
from broker.loop.event_loop import EventLoop
from broker.worker import jobs
from broker.worker.pool import Overdue, Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta

    from broker.core.errors import ExchangeError
    from broker.core.model import (
        BoundToken,
        Configuration,
        ProfileSpec,
        Proof,
        Secret,
        SourceSession,
        StsSpec,
        TemporaryCredentials,
        TokenRequestSpec,
    )
    from broker.core.notify_targets import NotifyTarget
    from broker.core.web_identity_token import WebIdentityToken

_SETTINGS_SECONDS = 60.0
_DECODING_SECONDS = 10.0
_NOTIFY_SECONDS = 10.0
"""Twice the limit of the request itself: only a file on a volume that hangs takes longer."""
_PATH_REMEDY = "Check the network path from the pod: proxy, firewall, NetworkPolicy, service mesh."
_CPU_REMEDY = "Raise the container's CPU limit (resources.limits.cpu): the worker process gets too little time."


class WorkerExchanges:
    """Exchanges in workers."""

    def __init__(self, workers: Workers, sts: StsSpec) -> None:
        self._workers = workers
        self._sts = sts

    def begin(
        self, profile: ProfileSpec, proof: Proof, on_end: Callable[[TemporaryCredentials | ExchangeError], None]
    ) -> None:
        """Begin an exchange. `on_end` gets the credentials, or the error that STS, the network or the worker caused."""
        job = jobs.Exchange(sts=self._sts, profile=profile, proof=proof)
        self._workers.submit(job, lambda result: on_end(_to_sts_result(result)))


class WorkerTokenRequests:
    """Requests web identity tokens in workers, the same ones that make exchanges."""

    def __init__(self, workers: Workers, sts: StsSpec) -> None:
        self._workers = workers
        self._sts = sts

    def begin(
        self,
        profile: ProfileSpec,
        session: SourceSession,
        duration: timedelta,
        on_end: Callable[[WebIdentityToken | ExchangeError], None],
    ) -> None:
        """Begin a call. `on_end` gets the token, or the error that STS, the network or the worker caused."""
        job = jobs.RequestWebIdentityToken(sts=self._sts, profile=profile, session=session, duration=duration)
        self._workers.submit(job, lambda result: on_end(_to_sts_result(result)))


def _to_sts_result(result: Any) -> Any:  # noqa: ANN401 - of any job
    """Return the result of a call to STS, or the error for one that was stopped."""
    if isinstance(result, Overdue):
        return ExchangeUnavailable(f"STS sent no complete response within {result.seconds:.0f} s.", _PATH_REMEDY)
    return result


class SettingsLoad:
    """The settings, while a worker checks them."""

    def __init__(self, workers: Workers, environ: Mapping[str, str]) -> None:
        self._workers = workers
        self._results: list[Any] = []
        job = jobs.LoadSettings(environ=dict(environ))
        workers.submit(job, self._results.append, seconds=_SETTINGS_SECONDS, is_apart=True)

    def wait(self) -> Configuration:
        """Return the configuration that the environment describes.

        Raises ConfigurationError for the faults of the settings, and if the worker could not check them.
        """
        self._workers.serve_until(lambda: bool(self._results))
        result = self._results[0]
        if isinstance(result, Overdue):
            raise ConfigurationError(
                (f"BROKER_CONFIG: not read within {result.seconds:.0f} s; check the volume of that file",)
            )
        if isinstance(result, WorkerFailed):
            raise ConfigurationError((f"the settings could not be checked: {result}",))
        if isinstance(result, ConfigurationError):
            raise result
        configuration: Configuration = result
        return configuration


def load_configuration(environ: Mapping[str, str]) -> Configuration:
    """Return the configuration that the environment describes, checked in a worker of its own.

    For commands that need the settings once, and nothing else of a worker. Raises ConfigurationError.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # if the parent process ignores it, no child can be waited for
    loop = EventLoop()
    workers = Workers(loop)
    try:
        return SettingsLoad(workers, environ).wait()
    finally:
        workers.wait_for_ends()
        workers.close()
        loop.close()


def decode_token(
    workers: Workers, text: Secret, origin: str, on_end: Callable[[BoundToken | TokenError], None]
) -> None:
    """Decode the token that was read from `origin`. `on_end` gets TokenUnavailable if the worker failed."""
    job = jobs.DecodeToken(text=text, origin=origin)
    workers.submit(
        job, lambda result: on_end(_to_token_result(result, "The token", _CPU_REMEDY)), seconds=_DECODING_SECONDS
    )


def request_token(
    workers: Workers, spec: TokenRequestSpec, audience: str, on_end: Callable[[BoundToken | TokenError], None]
) -> None:
    """Request a token from the Kubernetes API. `on_end` gets TokenUnavailable if the worker failed."""
    job = jobs.RequestToken(spec=spec, audience=audience)
    workers.submit(job, lambda result: on_end(_to_token_result(result, "The Kubernetes API's answer", _PATH_REMEDY)))


def notify_target(workers: Workers, target: NotifyTarget, on_end: Callable[[NotifyFailure | None], None]) -> None:
    """Notify a program about new credentials. `on_end` gets None, or why it could not be notified."""

    def end(result: Any) -> None:  # noqa: ANN401 - of any job
        if isinstance(result, Overdue):
            message = f"Notifying {target.label} took more than {result.seconds:.0f} s."
            result = NotifyFailure(message=message, remedy="Check the volume of pid_file and bearer_file.")
        if isinstance(result, WorkerFailed):
            result = NotifyFailure(message=result.message, remedy=result.remedy)
        on_end(result)

    workers.submit(jobs.Notify(target=target), end, seconds=_NOTIFY_SECONDS)


def _to_token_result(result: Any, what: str, overdue_remedy: str) -> BoundToken | TokenError:  # noqa: ANN401 - any job
    if isinstance(result, Overdue):
        return TokenUnavailable(f"{what} was not there within {result.seconds:.0f} s.", overdue_remedy)
    if isinstance(result, WorkerFailed):
        return TokenUnavailable(result.message, result.remedy)
    token: BoundToken | TokenError = result
    return token
