"""Web identity tokens in `run`: build what keeps them fresh, log their events, and remove those of old settings.

It is imported only if a profile has `web_identity_token`, or the publish directory has such tokens of an earlier start.
"""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING

from broker.core.errors import Disposition, PublishError
from broker.core.records import replace
from broker.core.refresher import Call, Wake
from broker.core.timestamps import timestamp
from broker.core.web_identity_keeper import WebIdentityTokenKeeper
from broker.core.web_identity_status import TokenEvent, TokenFailed, TokenLost, TokenPublished, WebIdentityTokenStatuses
from broker.publish.background import BackgroundSink
from broker.publish.token_sink import TokenSink
from broker.runtime import logs
from broker.worker.adapters import WorkerTokenRequests

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.core.collaborators import Companion
    from broker.core.model import Configuration
    from broker.core.refresher import Message
    from broker.core.schedule import RefreshPolicy
    from broker.core.status import Snapshot
    from broker.loop.event_loop import Inbox
    from broker.worker.pool import Workers


class WebIdentityTokens:
    """The web identity tokens of the configured profiles."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._profiles = [each for each in configuration.profiles if each.web_identity_token is not None]
        names = [profile.name for profile in self._profiles]
        self._sink = TokenSink(configuration.publish, names)
        self._statuses = WebIdentityTokenStatuses(names)

    def prepare(self) -> None:
        """Remove the files of tokens that are no longer configured. Log a failure; the next start tries again."""
        try:
            self._sink.prepare()
        except PublishError as error:
            logs.log_message(logging.ERROR, "publish_failed", str(error), reason=error.reason, sink=error.sink)

    def build_companion(self, workers: Workers, inbox: Inbox[Message], policy: RefreshPolicy) -> Companion | None:
        """Return what the main loop drives, None if no profile has a token."""
        if not self._profiles:
            return None
        return WebIdentityTokenKeeper(
            profiles=self._profiles,
            requests=WorkerTokenRequests(workers, self._configuration.sts),
            publisher=BackgroundSink(self._sink, name=self._sink.name, wake=lambda: inbox.put(Wake())),
            record=self._record,
            run_on_loop=lambda function: inbox.put(Call(function)),
            chance=random.random,
            policy=policy,
        )

    def extend(self, take_snapshot: Callable[[], Snapshot]) -> Callable[[], Snapshot]:
        """Return a function that returns the same snapshots, with the status of the tokens."""
        return lambda: replace(take_snapshot(), web_identity_tokens=self._statuses.snapshot())

    def _record(self, event: TokenEvent) -> None:
        self._statuses.record(event)
        log_token_event(event)


def log_token_event(event: TokenEvent) -> None:
    """Write the line for an event."""
    match event:
        case TokenPublished(token=token):
            logs.log_message(
                logging.INFO,
                "web_identity_token_refreshed",
                "Published a new web identity token.",
                profile=token.profile,
                request_id=token.request_id,
                expires_at=timestamp(token.expires_at),
                next_refresh_at=timestamp(event.refresh_at),
            )
        case TokenLost():
            logs.log_message(
                logging.WARNING,
                "published_lost",
                "The web identity token is missing from the publish directory. Publishing it again.",
                profile=event.profile,
            )
        case TokenFailed(error=error):
            is_urgent = isinstance(error, PublishError) or error.disposition is Disposition.SLOW
            logs.log_message(
                logging.ERROR if is_urgent else logging.WARNING,
                "web_identity_token_failed",
                str(error),
                profile=event.profile,
                reason=error.reason,
                error_code=getattr(error, "code", ""),
                http_status=getattr(error, "http_status", None),
                request_id=getattr(error, "request_id", ""),
                failures=event.failures,
                retry_in_seconds=round(event.retry_in.total_seconds(), 1),
            )
