"""What is heavy to import, at its first use: botocore beside the loop, prometheus_client at the first scrape."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.core.clock import Clock
    from broker.core.model import BoundToken, ProfileSpec, Proof, StsSpec, TemporaryCredentials, TokenRequestSpec
    from broker.core.refresher import Exchanger
    from broker.core.status import Snapshot
    from broker.serving.metrics import MetricsPage


class ExchangeOnDemand:
    """An Exchanger that imports botocore at its first use, beside the loop."""

    def __init__(self, spec: StsSpec, clock: Clock) -> None:
        self._spec = spec
        self._clock = clock
        self._lock = threading.Lock()
        self._exchanger: Exchanger | None = None

    def exchange(self, profile: ProfileSpec, proof: Proof) -> TemporaryCredentials:
        """Return what STS gives for the proof. Raises ExchangeError and nothing else."""
        with self._lock:
            if self._exchanger is None:
                from broker.sts.exchange import StsExchanger  # noqa: PLC0415 - 0.2 s of CPU that no probe should wait for

                self._exchanger = StsExchanger(self._spec, self._clock)
        return self._exchanger.exchange(profile, proof)


def asking(spec: TokenRequestSpec) -> Callable[[str], BoundToken]:
    """Return what asks the Kubernetes API for a token; it imports ssl at its first use, beside the loop."""

    def ask(audience: str) -> BoundToken:
        from broker.tokens import token_request_api  # noqa: PLC0415 - 25 ms of CPU that no probe should wait for

        return token_request_api.ask(spec, audience)

    return ask


class MetricsOnDemand:
    """Renders metrics, importing prometheus_client at the first scrape."""

    def __init__(self, take: Callable[[], Snapshot], clock: Clock) -> None:
        self._take = take
        self._clock = clock
        self._lock = threading.Lock()
        self._page: MetricsPage | None = None

    def __call__(self, accept: str) -> tuple[str, bytes]:
        """Return content type and body of a scrape's answer."""
        with self._lock:
            if self._page is None:
                from broker.serving.metrics import MetricsPage  # noqa: PLC0415 - 1 MiB that only a scraped broker need carry

                self._page = MetricsPage(self._take, self._clock)
        return self._page.render(accept)
