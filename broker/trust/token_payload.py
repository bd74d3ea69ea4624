"""Read the claims of a token that only AWS's condition keys need, without verifying them.

The resident process never reads them, so they are not among the claims that it decodes.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.core.model import BoundToken


def read_payload(token: BoundToken) -> Mapping[str, Any]:
    """Return all claims of a token that was decoded before, and so has a valid payload."""
    _, payload, *_ = token.raw.reveal().split(".")
    decoded = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return decoded if isinstance(decoded, dict) else {}
