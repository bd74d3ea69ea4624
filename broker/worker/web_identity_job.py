"""The job that requests a web identity token. It is imported only if a profile has `web_identity_token`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.core.records import Struct

if TYPE_CHECKING:
    from datetime import timedelta

    from broker.core.model import ProfileSpec, SourceSession, StsSpec


class RequestWebIdentityToken(Struct, frozen=True, kw_only=True):
    """Request a token of this lifetime from STS. The result is the WebIdentityToken."""

    sts: StsSpec
    profile: ProfileSpec
    session: SourceSession
    duration: timedelta
