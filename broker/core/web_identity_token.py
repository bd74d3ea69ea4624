"""Web identity tokens: JWTs that STS signs for a role, with which an app proves its role to services outside AWS.

STS issues them by GetWebIdentityToken. They are not the bound tokens that the broker sends to STS. This module is
imported only if a profile has `web_identity_token`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.core.records import Struct

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from broker.core.model import Secret


class WebIdentityToken(Struct, frozen=True, kw_only=True):
    """A token that STS issued for a profile.

    `received_at` is on the clock of the node. `expires_at` is the expiry in the response. `lifetime` is by the clock of
    STS, so that a wrong clock of the node does not change when the token is refreshed.
    """

    profile: str
    raw: Secret
    received_at: datetime
    expires_at: datetime
    lifetime: timedelta
    request_id: str = ""

    @property
    def lapses_at(self) -> datetime:
        """When the token expires, on the clock of the node."""
        return self.received_at + self.lifetime
