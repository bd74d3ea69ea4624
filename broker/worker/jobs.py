"""What the resident process asks a worker to do, and what it gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from broker.core.records import Struct, Unprinted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from broker.core.errors import BrokerError
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
    from broker.core.notify_targets import NotifyFailure, NotifyTarget
    from broker.core.web_identity_token import WebIdentityToken

Result: TypeAlias = (
    "Configuration | BoundToken | TemporaryCredentials | WebIdentityToken | NotifyFailure | BrokerError | Crash | None"
)
Job: TypeAlias = "LoadSettings | GetReady | DecodeToken | RequestToken | Exchange | Notify | RequestWebIdentityToken"


class LoadSettings(Unprinted, frozen=True, kw_only=True):
    """Check the settings. The result is the Configuration."""

    environ: Mapping[str, str]


class GetReady(Struct, frozen=True, kw_only=True):
    """Import what an exchange needs, because one is going to follow. The result is None."""


class DecodeToken(Struct, frozen=True, kw_only=True):
    """Decode the token that was read from `origin`, a path. The result is the BoundToken."""

    text: Secret
    origin: str


class RequestToken(Struct, frozen=True, kw_only=True):
    """Request a token from the Kubernetes API. The result is the BoundToken."""

    spec: TokenRequestSpec
    audience: str


class Exchange(Struct, frozen=True, kw_only=True):
    """Call STS. The result is the TemporaryCredentials."""

    sts: StsSpec
    profile: ProfileSpec
    proof: Proof


class RequestWebIdentityToken(Struct, frozen=True, kw_only=True):
    """Request a token of this lifetime from STS. The result is the WebIdentityToken."""

    sts: StsSpec
    profile: ProfileSpec
    session: SourceSession
    duration: timedelta


class Notify(Struct, frozen=True, kw_only=True):
    """Notify a program about new credentials. The result is None, or why it could not be notified."""

    target: NotifyTarget


class Request(Struct, frozen=True, kw_only=True):
    """A job on its way to a worker. `number` identifies it."""

    number: int
    job: Job


class Crash(Struct, frozen=True, kw_only=True):
    """A bug: the class of an exception that the worker did not expect, and its frames, innermost last.

    Its text is left out, because it may quote a secret.
    """

    kind: str
    frames: tuple[str, ...]


class Reply(Struct, frozen=True, kw_only=True):
    """The result of the job with this number, the error that it raised, or a bug."""

    number: int
    result: (
        Configuration
        | BoundToken
        | TemporaryCredentials
        | WebIdentityToken
        | NotifyFailure
        | BrokerError
        | Crash
        | None
    )
