"""The faults the broker knows, and what its loop does about each.

Two axes. *Where it came from* is the class; *what the loop does* is its `disposition`. A `reason` is a stable word that
appears verbatim in logs, metrics and docs/operations.md::

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
      PublishError                    publish_failed          SOON, exit 5

Every fault carries two sentences: `message`, what was found, and `remedy`, what to change. Neither may hold a secret.
"""

from __future__ import annotations

from enum import Enum, unique
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from datetime import timedelta

EXIT_BUG = 70
"""The exit code for what nobody expected (EX_SOFTWARE)."""

NO_THREAD = (
    "The system lets the broker start no thread.",
    "Raise the pod's limit of processes, or find what in the pod uses it up.",
)
"""Message and remedy, whatever the thread was for."""


@unique
class Disposition(Enum):
    """What the loop does after a fault."""

    SOON = "soon"
    """Passes by itself: try again in seconds."""
    SOON_THEN_SLOW = "soon_then_slow"
    """Passes by itself at times: a few tries in seconds, then as SLOW."""
    SLOW = "slow"
    """An operator must act: try again in minutes (a token's file is looked at every 15 s all the same)."""
    ROTATION = "rotation"
    """Only a new token helps: wait for the kubelet."""


class BrokerError(Exception):
    """A fault the broker expected, explained.

    `message` says what was found and where; `remedy` what to change, or "" where waiting is all there is to do.
    """

    reason: ClassVar[str]
    disposition: ClassVar[Disposition]
    exit_code: ClassVar[int]

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(f"{message} {remedy}".rstrip())
        self.message = message
        self.remedy = remedy


class ConfigurationError(BrokerError):
    """The settings cannot be used; `faults` has a line for each thing to change."""

    reason = "configuration"
    disposition = Disposition.SLOW
    exit_code = 2

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class TokenError(BrokerError):
    """There is no bound token that is fit to be sent."""

    exit_code = 3
    look_in: timedelta | None = None
    """How long nothing else is to be expected, where the source knows."""


class TokenUnavailable(TokenError):
    """No token can be read: absent, empty, unreadable; or the Kubernetes API gave none."""

    reason = "token_unavailable"
    disposition = Disposition.SOON


class TokenAwaited(TokenError):
    """The Kubernetes API has been asked for a token, and has not answered yet."""

    reason = "token_awaited"
    disposition = Disposition.SOON


class TokenRefused(TokenError):
    """The Kubernetes API gives this pod no token: its service account may not ask, or one of the two is gone."""

    reason = "token_refused"
    disposition = Disposition.SLOW


class TokenMalformed(TokenError):
    """What the file holds, or the Kubernetes API gave, is no bound token: too large, no JWT, no `exp`."""

    reason = "token_malformed"
    disposition = Disposition.SOON


class TokenExpired(TokenError):
    """The token's life is over by this node's clock."""

    reason = "token_expired"
    disposition = Disposition.ROTATION


class TokenAudienceMismatch(TokenError):
    """The token was made for another audience than the profile's."""

    reason = "token_audience_mismatch"
    disposition = Disposition.SLOW


class ExchangeError(BrokerError):
    """STS gave no credentials: `code` is its word for it; `http_status`, `request_id` where an answer came."""

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
    """STS, or the way to it, failed: network, 5xx, or STS could not reach the issuer."""

    reason = "exchange_unavailable"
    disposition = Disposition.SOON


class ExchangeThrottled(ExchangeError):
    """STS asked for fewer calls."""

    reason = "exchange_throttled"
    disposition = Disposition.SOON


class TokenRejected(ExchangeError):
    """STS did not accept the token. Often transient: the issuer's keys could not be fetched, or are not yet known."""

    reason = "token_rejected"
    disposition = Disposition.SOON_THEN_SLOW


class RoleDenied(ExchangeError):
    """The role's trust policy does not let this token in, or the role does not exist (yet)."""

    reason = "role_denied"
    disposition = Disposition.SLOW


class RequestInvalid(ExchangeError):
    """STS will never accept this request as it is."""

    reason = "request_invalid"
    disposition = Disposition.SLOW


class ResponseInvalid(ExchangeError):
    """The answer cannot be used: unreadable, fields missing or blank, already expired, another role's."""

    reason = "response_invalid"
    disposition = Disposition.SOON


class SourceUnavailable(ExchangeError):
    """A chained role waits for its source, which has no unexpired credentials: the source's own fault says why."""

    reason = "source_unavailable"
    disposition = Disposition.SOON


class SourceRejected(ExchangeError):
    """STS did not accept the source's credentials: over, revoked, or signed by a clock that is off."""

    reason = "source_rejected"
    disposition = Disposition.SOON_THEN_SLOW


class PublishError(BrokerError):
    """A sink could not take the credentials; `sink` names it, `errno` is the system's number where there is one."""

    reason = "publish_failed"
    disposition = Disposition.SOON
    exit_code = 5

    def __init__(self, message: str, remedy: str = "", *, sink: str, errno: int | None = None) -> None:
        super().__init__(message, remedy)
        self.sink = sink
        self.errno = errno
