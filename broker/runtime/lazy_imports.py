"""Delayed imports of large modules, so that the listeners answer probes before those modules are loaded.

botocore and ssl are imported by the first exchange or TokenRequest, on its own thread.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.core.clock import Clock
    from broker.core.collaborators import Exchanger
    from broker.core.model import BoundToken, ProfileSpec, Proof, StsSpec, TemporaryCredentials, TokenRequestSpec


class LazyExchanger:
    """An Exchanger that imports botocore in its first exchange."""

    def __init__(self, spec: StsSpec, clock: Clock) -> None:
        self._spec = spec
        self._clock = clock
        self._lock = threading.Lock()
        self._exchanger: Exchanger | None = None

    def exchange(self, profile: ProfileSpec, proof: Proof) -> TemporaryCredentials:
        """Return the temporary credentials that STS issues for the proof. Raises ExchangeError and nothing else."""
        with self._lock:
            if self._exchanger is None:
                from broker.sts.exchange import StsExchanger  # noqa: PLC0415 - takes 0.2 s of CPU time

                self._exchanger = StsExchanger(self._spec, self._clock)
        return self._exchanger.exchange(profile, proof)


def make_token_request(spec: TokenRequestSpec) -> Callable[[str], BoundToken]:
    """Return a function that requests a token for an audience from the Kubernetes API.

    It imports ssl in its first call.
    """

    def request_token(audience: str) -> BoundToken:
        from broker.tokens import token_request_api  # noqa: PLC0415 - takes 25 ms of CPU time

        return token_request_api.ask(spec, audience)

    return request_token
