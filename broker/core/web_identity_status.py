"""Events and status of web identity tokens. The keeper emits the events; the status and the log record them.

They are apart from the events and the status of credentials, because readiness does not depend on these tokens
(docs/adr/0029-outbound-token.md). No secret is in the status.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.core.faults import FAILURE, SUCCESS, Fault, count_refresh, update_fault
from broker.core.records import Struct, field, replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime, timedelta

    from broker.core.clock import Instant
    from broker.core.errors import ExchangeError, PublishError
    from broker.core.web_identity_token import WebIdentityToken


class TokenPublished(Struct, frozen=True, kw_only=True, eq=False):
    """Readers have this token. `refresh_at` is when the next refresh is due."""

    at: Instant
    token: WebIdentityToken
    refresh_at: datetime

    @property
    def profile(self) -> str:
        """The profile of the token."""
        return self.token.profile


class TokenFailed(Struct, frozen=True, kw_only=True, eq=False):
    """STS issued no token, or it could not be published. `failures` counts failures in a row."""

    at: Instant
    profile: str
    error: ExchangeError | PublishError
    failures: int
    retry_in: timedelta


class TokenLost(Struct, frozen=True, kw_only=True, eq=False):
    """The published file is gone, and the broker did not remove it."""

    at: Instant
    profile: str


TokenEvent = TokenPublished | TokenFailed | TokenLost


class WebIdentityTokenStatus(Struct, frozen=True, kw_only=True):
    """The current state of the token of one profile. The times are those of the published token."""

    profile: str
    received_at: datetime | None = None
    lapses_at: datetime | None = None
    expires_at: datetime | None = None
    refresh_at: datetime | None = None
    fault: Fault | None = None
    refreshes: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """How many refreshes had each outcome and reason. The reason of a success is ""."""


class WebIdentityTokenStatuses:
    """Keeps the current status of the tokens of these profiles."""

    def __init__(self, profiles: Iterable[str]) -> None:
        self._by_profile = {name: WebIdentityTokenStatus(profile=name) for name in profiles}

    def snapshot(self) -> Sequence[WebIdentityTokenStatus]:
        """Return the current status of every token, which later events do not change."""
        return tuple(self._by_profile.values())

    def record(self, event: TokenEvent) -> None:
        """Update the status."""
        self._by_profile[event.profile] = _apply(self._by_profile[event.profile], event)


def _apply(status: WebIdentityTokenStatus, event: TokenEvent) -> WebIdentityTokenStatus:
    match event:
        case TokenPublished(token=token):
            published = replace(
                status,
                received_at=token.received_at,
                lapses_at=token.lapses_at,
                expires_at=token.expires_at,
                refresh_at=event.refresh_at,
                fault=None,
            )
            return _count_refresh(published, SUCCESS, "")
        case TokenFailed(error=error):
            failed = replace(status, fault=update_fault(status.fault, error, event.at))
            return _count_refresh(failed, FAILURE, error.reason)
        case _:
            return replace(status, received_at=None, lapses_at=None, expires_at=None)


def _count_refresh(status: WebIdentityTokenStatus, outcome: str, reason: str) -> WebIdentityTokenStatus:
    return replace(status, refreshes=count_refresh(status.refreshes, outcome, reason))
