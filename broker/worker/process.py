"""The worker itself: takes jobs from its socket, does each on a thread, and sends back what came of it.

It ends when the resident process closes the socket, whatever it is doing then. What a job needs is imported when the
first such job arrives.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from types import ModuleType
from typing import TYPE_CHECKING, Any

from broker.core.errors import NO_THREAD, BrokerError, WorkerFailed, list_frames
from broker.worker import jobs
from broker.worker.channel import READ_BYTES, Frames, encode

if TYPE_CHECKING:
    import socket

    from broker.core.model import StsSpec
    from broker.sts.exchange import StsExchanger


def serve(connection: socket.socket) -> int:
    """Do the jobs that arrive on the socket, until its other end is closed. Return the exit status."""
    with suppress(ConnectionError):  # the resident process was killed
        _Worker(connection).serve()
    return os.EX_OK


class _Worker:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self._preparing = threading.Lock()
        self._exchangers: dict[StsSpec, StsExchanger] = {}

    def serve(self) -> None:
        frames = Frames()
        while data := self._connection.recv(READ_BYTES):
            for request in frames.receive(data):
                self._begin(request)

    def _begin(self, request: jobs.Request) -> None:
        """Do the job on a thread of its own, because others may follow while it waits for the network."""
        try:
            threading.Thread(target=self._answer, args=(request,), daemon=True).start()
        except RuntimeError:
            self._send(request.number, WorkerFailed(*NO_THREAD))

    def _answer(self, request: jobs.Request) -> None:
        result: Any
        try:
            result = self._do(request.job)
        except BrokerError as error:
            result = error
        except BaseException as error:  # noqa: BLE001 - the resident process reports it
            result = jobs.Crash(kind=type(error).__name__, frames=tuple(list_frames(error)))
        with suppress(ConnectionError):  # the resident process has gone, and `serve` ends this one
            self._send(request.number, result)

    def _send(self, number: int, result: Any) -> None:  # noqa: ANN401 - the result of any job
        frame = encode(jobs.Reply(number=number, result=result))
        with self._sending:
            self._connection.sendall(frame)

    def _do(self, job: jobs.Job) -> object:  # noqa: PLR0911 - one for each kind of job
        """Return the result of the job. Raises BrokerError."""
        match job:
            case jobs.LoadSettings():
                os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"  # pydantic would search all packages for them: 10 ms
                # pydantic-settings imports asyncio for its command line, which nobody uses here: 12 ms, and ssl.
                sys.modules.setdefault("asyncio", ModuleType("asyncio"))
                from broker.settings.loader import load  # noqa: PLC0415 - takes 0.1 s of CPU time

                return load(job.environ)
            case jobs.GetReady():
                with self._preparing:
                    from broker.sts import exchange  # noqa: F401, PLC0415 - takes 0.1 s of CPU time
                    from broker.tokens import decoding  # noqa: F401, PLC0415 - takes 10 ms after that

                return None
            case jobs.DecodeToken():
                from broker.tokens.decoding import parse_token  # noqa: PLC0415 - jwt imports ssl

                return parse_token(job.text.reveal(), origin=job.origin)
            case jobs.RequestToken():
                from broker.tokens import token_request_api  # noqa: PLC0415 - likewise

                return token_request_api.ask(job.spec, job.audience)
            case jobs.Notify():
                from broker.notify.delivery import notify  # noqa: PLC0415 - urllib3 imports ssl

                return notify(job.target)
            case jobs.Exchange():
                return self._find_exchanger(job.sts).exchange(job.profile, job.proof)
            case jobs.RequestWebIdentityToken():
                from broker.sts.web_identity_token import request_token  # noqa: PLC0415 - likewise

                exchanger = self._find_exchanger(job.sts)
                return request_token(exchanger, job.profile, job.session, job.duration)

    def _find_exchanger(self, spec: StsSpec) -> StsExchanger:
        """Return the exchanger for these settings. The settings never change, so there is one."""
        with self._preparing:
            if spec not in self._exchangers:
                from broker.core.clock import SystemClock  # noqa: PLC0415 - not needed to check settings
                from broker.sts.exchange import StsExchanger  # noqa: PLC0415 - takes 0.1 s of CPU time

                self._exchangers[spec] = StsExchanger(spec, SystemClock())
            return self._exchangers[spec]
