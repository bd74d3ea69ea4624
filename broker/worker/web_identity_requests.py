"""What the keeper of web identity tokens needs from the workers, in its own terms: domain errors, no job numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broker.worker.adapters import explain_overdue
from broker.worker.pool import Overdue, Workers
from broker.worker.web_identity_job import RequestWebIdentityToken

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from broker.core.errors import ExchangeError
    from broker.core.model import ProfileSpec, SourceSession, StsSpec
    from broker.core.web_identity_token import WebIdentityToken


class WorkerTokenRequests:
    """Requests web identity tokens in workers, the same ones that make exchanges."""

    def __init__(self, workers: Workers, sts: StsSpec) -> None:
        self._workers = workers
        self._sts = sts

    def begin(
        self,
        profile: ProfileSpec,
        session: SourceSession,
        duration: timedelta,
        on_end: Callable[[WebIdentityToken | ExchangeError], None],
    ) -> None:
        """Begin a call. `on_end` gets the token, or the error that STS, the network or the worker caused."""

        def end(result: Any) -> None:  # noqa: ANN401 - of any job
            on_end(explain_overdue(result) if isinstance(result, Overdue) else result)

        job = RequestWebIdentityToken(sts=self._sts, profile=profile, session=session, duration=duration)
        self._workers.submit(job, end)
