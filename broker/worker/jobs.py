"""What the resident process asks a worker to do, and what it gets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.core.errors import BrokerError
    from broker.core.model import (
        BoundToken,
        Configuration,
        ProfileSpec,
        Proof,
        Secret,
        StsSpec,
        TemporaryCredentials,
        TokenRequestSpec,
    )
    from broker.core.notify_targets import NotifyFailure, NotifyTarget
    from broker.core.web_identity_token import WebIdentityToken
    from broker.worker.web_identity_job import RequestWebIdentityToken

Result: TypeAlias = (
    "Configuration | BoundToken | TemporaryCredentials | WebIdentityToken | NotifyFailure | BrokerError | Crash | None"
)
Job: TypeAlias = "LoadSettings | GetReady | DecodeToken | RequestToken | Exchange | Notify | RequestWebIdentityToken"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSettings:
    """Check the settings. The result is the Configuration."""

    environ: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class GetReady:
    """Import what an exchange needs, because one is going to follow. The result is None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeToken:
    """Decode the token that was read from `origin`, a path. The result is the BoundToken."""

    text: Secret
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestToken:
    """Request a token from the Kubernetes API. The result is the BoundToken."""

    spec: TokenRequestSpec
    audience: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """Call STS. The result is the TemporaryCredentials."""

    sts: StsSpec
    profile: ProfileSpec
    proof: Proof


@dataclass(frozen=True, slots=True, kw_only=True)
class Notify:
    """Notify a program about new credentials. The result is None, or why it could not be notified."""

    target: NotifyTarget


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A job on its way to a worker. `number` identifies it."""

    number: int
    job: Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """A bug: the class of an exception that the worker did not expect, and its frames, innermost last.

    Its text is left out, because it may quote a secret.
    """

    kind: str
    frames: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
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
