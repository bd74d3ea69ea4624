"""Where the tokens of each profile come from: a file, or the Kubernetes API."""

from __future__ import annotations

import logging
import random
from functools import partial
from typing import TYPE_CHECKING

from broker.core.refresher import Wake
from broker.runtime import logs
from broker.tokens.token_file import FileTokenSource
from broker.worker.adapters import decode_token, request_token

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.core.clock import Clock
    from broker.core.collaborators import TokenSource
    from broker.core.model import Configuration
    from broker.core.refresher import Message
    from broker.core.schedule import RefreshPolicy
    from broker.loop.event_loop import Inbox
    from broker.runtime.start import ResidentProcess


def build_token_sources(
    process: ResidentProcess,
    configuration: Configuration,
    clock: Clock,
    inbox: Inbox[Message],
    policy: RefreshPolicy,
) -> Mapping[str, TokenSource]:
    """Return the token source of each profile, by profile name. Chained roles have none."""
    with_token = [profile for profile in configuration.profiles if profile.chain is None]

    def wake() -> None:
        inbox.put(Wake())

    if configuration.token_request is None:
        decode = partial(decode_token, process.workers)
        paths = dict.fromkeys(profile.token_file for profile in with_token)
        files = {path: FileTokenSource(path, clock, decode=decode, wake=wake) for path in paths}
        return {profile.name: files[profile.token_file] for profile in with_token}
    from broker.tokens.token_request import RequestedTokenSource  # noqa: PLC0415 - not needed to read a file

    source = RequestedTokenSource(
        ask=partial(request_token, process.workers, configuration.token_request),
        clock=clock,
        wake=wake,
        report=lambda error: logs.log_message(logging.WARNING, "token_request_failed", str(error), reason=error.reason),
        chance=random.random,
        policy=policy,
    )
    return dict.fromkeys((profile.name for profile in with_token), source)
