"""The errors that the broker expects, and what its main loop does about each of them.

The *class* of an error says where it came from. Its `disposition` says what the loop does next. Its `reason` is a
stable identifier, which appears in logs, metrics and docs/operations.md::

    BrokerError
      ConfigurationError              configuration           exit 2, before anything starts
      TokenError                                              exit 3
        TokenUnavailable              token_unavailable       SOON
        TokenAwaited                  token_awaited           SOON
        TokenRefused                  token_refused           SLOW
        TokenMalformed                token_malformed         SOON
        TokenExpired                  token_expired           ROTATION
        TokenAudienceMismatch         token_audience_mismatch SLOW
      ExchangeError                                           exit 4
        ExchangeUnavailable           exchange_unavailable    SOON
        ExchangeThrottled             exchange_throttled      SOON
        TokenRejected                 token_rejected          SOON_THEN_SLOW
        RoleDenied                    role_denied             SLOW
        RequestInvalid                request_invalid         SLOW
        ResponseInvalid               response_invalid        SOON
        SourceUnavailable             source_unavailable      SOON
        SourceRejected                source_rejected         SOON_THEN_SLOW
        WebIdentityTokenDenied        web_identity_token_denied SLOW
        WorkerFailed                  worker_failed           SOON
      PublishError                    publish_failed          SOON, exit 5

Every error has two parts: `message`, what failed and what was found, and `remedy`, what to change. Neither may contain
a secret.
"""

from __future__ import annotations

from enum import Enum, unique
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from datetime import timedelta

EXIT_BUG = 70
"""The exit code after a bug (EX_SOFTWARE)."""

NO_THREAD = (
    "The system did not allow the broker to start a thread.",
    "Raise the process limit of the pod, or find out which process in the pod uses it up.",
)
"""Message and remedy of the error, whatever the thread was for."""


@unique
class Disposition(Enum):
    """What the main loop does after an error."""

    SOON = "soon"
    """The error may pass without action: retry within seconds."""
    SOON_THEN_SLOW = "soon_then_slow"
    """The error sometimes passes without action: retry a few times within seconds, then as for SLOW."""
    SLOW = "slow"
    """An operator must act: retry within minutes. (A token file is read every 15 s nevertheless.)"""
    ROTATION = "rotation"
    """Only a new token helps: wait for the kubelet."""


class BrokerError(Exception):
    """An error that the broker expects and can explain.

    `message` is what failed and what was found. `remedy` is what to change, or "" if waiting is all there is to do.
    """

    reason: ClassVar[str]
    disposition: ClassVar[Disposition]
    exit_code: ClassVar[int]

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(f"{message} {remedy}".rstrip())
        self.message = message
        self.remedy = remedy


class ConfigurationError(BrokerError):
    """The settings are not valid; `faults` has a line for each thing to change."""

    reason = "configuration"
    disposition = Disposition.SLOW
    exit_code = 2

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class TokenError(BrokerError):
    """There is no token that can be sent to STS."""

    exit_code = 3
    look_in: timedelta | None = None
    """When to read the token again, if the token source knows. None: after the usual backoff."""


class TokenUnavailable(TokenError):
    """No token could be read: the file is missing, empty or unreadable, or the Kubernetes API returned none."""

    reason = "token_unavailable"
    disposition = Disposition.SOON


class TokenAwaited(TokenError):
    """A token was requested from the Kubernetes API, which has not answered yet."""

    reason = "token_awaited"
    disposition = Disposition.SOON


class TokenRefused(TokenError):
    """The Kubernetes API refuses a token: the service account may not request tokens for itself."""

    reason = "token_refused"
    disposition = Disposition.SLOW


class TokenMalformed(TokenError):
    """The token is not a bound token: it is too large, is not a JWT, or has no `exp`."""

    reason = "token_malformed"
    disposition = Disposition.SOON


class TokenExpired(TokenError):
    """The token has expired, by the clock of the node."""

    reason = "token_expired"
    disposition = Disposition.ROTATION


class TokenAudienceMismatch(TokenError):
    """The token's audience is not the audience of the profile."""

    reason = "token_audience_mismatch"
    disposition = Disposition.SLOW


class ExchangeError(BrokerError):
    """STS issued no credentials.

    `code` is the error code of the response, or "". `http_status` and `request_id` are those of the response, if there
    was one.
    """

    exit_code = 4

    def __init__(
        self,
        message: str,
        remedy: str = "",
        *,
        code: str = "",
        http_status: int | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(message, remedy)
        self.code = code
        self.http_status = http_status
        self.request_id = request_id


class ExchangeUnavailable(ExchangeError):
    """STS or the network path to it failed: a network error, a 5xx response, or STS could not reach the issuer."""

    reason = "exchange_unavailable"
    disposition = Disposition.SOON


class ExchangeThrottled(ExchangeError):
    """STS throttled the call."""

    reason = "exchange_throttled"
    disposition = Disposition.SOON


class TokenRejected(ExchangeError):
    """STS rejected the token. Often transient: STS could not fetch the issuer's keys, or not a new key yet."""

    reason = "token_rejected"
    disposition = Disposition.SOON_THEN_SLOW


class RoleDenied(ExchangeError):
    """The role's trust policy does not allow the token, or the role does not exist (yet)."""

    reason = "role_denied"
    disposition = Disposition.SLOW


class RequestInvalid(ExchangeError):
    """The request is not valid, and STS will never accept it unchanged."""

    reason = "request_invalid"
    disposition = Disposition.SLOW


class ResponseInvalid(ExchangeError):
    """The response cannot be used: unreadable, fields missing or empty, already expired, or for another role."""

    reason = "response_invalid"
    disposition = Disposition.SOON


class SourceUnavailable(ExchangeError):
    """A chained role waits because its source profile has no valid credentials; the source's own fault is the cause."""

    reason = "source_unavailable"
    disposition = Disposition.SOON


class SourceRejected(ExchangeError):
    """STS rejected the credentials of the source profile: expired, revoked, or signed by a clock that is wrong."""

    reason = "source_rejected"
    disposition = Disposition.SOON_THEN_SLOW


class WebIdentityTokenDenied(ExchangeError):
    """The role may not request its web identity token, or its account has not enabled such tokens."""

    reason = "web_identity_token_denied"
    disposition = Disposition.SLOW


class WorkerFailed(ExchangeError):
    """The worker process could not be started, or ended before it had an answer."""

    reason = "worker_failed"
    disposition = Disposition.SOON
    stack: str = ""
    """Where it met a bug: its frames, innermost last."""


class PublishError(BrokerError):
    """The credentials could not be written to a sink; `sink` is its name, `errno` the error number if there is one."""

    reason = "publish_failed"
    disposition = Disposition.SOON
    exit_code = 5

    def __init__(self, message: str, remedy: str = "", *, sink: str, errno: int | None = None) -> None:
        super().__init__(message, remedy)
        self.sink = sink
        self.errno = errno


def list_frames(error: BaseException) -> list[str]:
    """Return where an exception was raised, innermost last, as `function (file:line)`. Its text may hold a secret."""
    frames, trace = [], error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        frames.append(f"{code.co_name} ({code.co_filename.rpartition('/')[2]}:{trace.tb_lineno})")
        trace = trace.tb_next
    return frames
