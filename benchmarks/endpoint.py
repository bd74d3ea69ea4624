"""The credentials endpoint: latency and CPU time against Go's net/http, and wrong responses.

The reference is `endpoint_peer`: Go's own HTTP server, which serves the broker's bytes after the same five checks. Both
are asked by the same client (`load`), in turn. Both run on the first core, the client on the last one. CPU time is the
server's own, independent of other load. The client's time is part of the latency.

Wrong and lost responses are counted while generations change every one or two seconds, with a new connection for each
request.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.go_toolchain import NoGo, compile_go
from benchmarks.load import PATH, cores, pin_to_core, send_correct_requests, send_requests
from benchmarks.process_tree import tree_cpu_seconds
from benchmarks.rows import Row, Skipped
from benchmarks.runs import ROOT, BenchmarkError, Served, Workplace, end, request_status

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "endpoint"
_PREFIX = "credentials endpoint,"
_SESSION_SECONDS = 4
_REQUESTS_FOR_CPU = 10_000
_REQUESTS_FOR_LATENCY = 1000
_REQUESTS_FOR_ERRORS = 2000
_MAXIMUM_CPU_US = 667  # 1,500 answers a second on one core
_MAXIMUM_CPU_RATIO = 1.5
_MAXIMUM_P99_MS = 5
_MAXIMUM_P99_RATIO = 1.3
_MILLISECONDS_A_SECOND = 1000
_MICROSECONDS_A_SECOND = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refused:
    """A request that the broker and the peer refuse with the same status."""

    status: int
    method: str = "GET"
    target: str = PATH
    headers: tuple[tuple[str, str], ...] = ()
    token: bool = True


_REFUSED = (
    _Refused(status=403, headers=(("Host", "credentials.example"),)),
    _Refused(status=403, headers=(("X-Forwarded-For", "192.0.2.1"),)),
    _Refused(status=405, method="POST"),
    _Refused(status=401, token=False),
    _Refused(status=404, target=f"{PATH}/other"),
)


def measure(repeats: int) -> Sequence[Row | Skipped]:
    """Return the rows of this subject."""
    with Workplace() as workplace:
        broker = workplace.start_broker(workplace.start_sts())
        broker.wait_for_all_since(0.001)
        broker.wait_for_rest()
        served = broker.served()
        skipped: list[Skipped] = []
        try:
            peer = _start_peer(workplace, served)
        except NoGo as error:
            peer = None
            skipped.append(Skipped(figure=f"{_PREFIX} compared with Go", reason=str(error)))
        for server in filter(None, (served, peer)):
            pin_to_core(server.pid, cores()[0])
        rows = [_measure_latency(served, peer, repeats)]
        for mode, connections in (("new", "new connections"), ("kept", "kept connections")):
            rows += _measure_cpu(mode, connections, served, peer, repeats)
        end(broker.process)
        return [*rows, *skipped, _count_wrong_responses(workplace, repeats)]


def _start_peer(workplace: Workplace, broker: Served) -> Served:
    """Compile and start the peer with the broker's bytes and token. Raises NoGo, and BenchmarkError if they differ."""
    program, body = workplace.path / "endpoint-peer", workplace.path / "endpoint-body"
    compile_go(ROOT / "benchmarks" / "endpoint_peer" / "main.go", program)
    status, content = request_status(broker, PATH)
    body.write_bytes(content)
    peer = workplace.start_server([str(program), str(broker.token), str(body)], broker.token)
    if (status, content) != request_status(peer, PATH):
        raise BenchmarkError("The broker and its peer answer differently.")
    for each in _REFUSED:
        for server in (broker, peer):
            found, _ = request_status(server, each.target, each.method, dict(each.headers), token=each.token)
            if found != each.status:
                raise BenchmarkError(f"Port {server.port} answers {found} instead of {each.status} to {each}")
    return peer


def _measure_latency(broker: Served, peer: Served | None, repeats: int) -> Row:
    def p99(server: Served) -> float:
        seconds: list[float] = sorted(send_correct_requests("paced", _REQUESTS_FOR_LATENCY, server)["seconds"])
        return seconds[int(len(seconds) * 0.99)] * _MILLISECONDS_A_SECOND

    others, samples = [], []
    for _ in range(repeats):
        if peer is not None:
            others.append(p99(peer))
        samples.append(p99(broker))
    return Row(
        figure=f"{_PREFIX} p99 at 200 requests a second",
        unit="ms",
        samples=samples,
        against=others,
        maximum=_MAXIMUM_P99_MS,
        maximum_ratio=_MAXIMUM_P99_RATIO if peer is not None else None,
        places=2,
    )


def _measure_cpu(mode: str, connections: str, broker: Served, peer: Served | None, repeats: int) -> tuple[Row, Row]:
    """Return a row for the CPU time of a response, and one for the responses a second."""
    samples, others = [], []
    for _ in range(repeats):
        if peer is not None:
            others.append(_send_at_full_rate(mode, peer))
        samples.append(_send_at_full_rate(mode, broker))
    cost = Row(
        figure=f"{_PREFIX} CPU for each response, {connections}",
        unit="us",
        samples=[cost for cost, _ in samples],
        against=[cost for cost, _ in others],
        maximum=_MAXIMUM_CPU_US,
        maximum_ratio=_MAXIMUM_CPU_RATIO if peer is not None else None,
        places=0,
    )
    rate = Row(
        figure=f"{_PREFIX} responses a second on one core, {connections}",
        unit="/s",
        samples=[rate for _, rate in samples],
        against=[rate for _, rate in others],
        places=0,
    )
    return cost, rate


def _send_at_full_rate(mode: str, server: Served) -> tuple[float, float]:
    """Return the server's CPU time of a response in microseconds, and the responses a second."""
    before = tree_cpu_seconds(server.pid)
    took = send_correct_requests(mode, _REQUESTS_FOR_CPU, server)["took"]
    spent = tree_cpu_seconds(server.pid) - before
    return spent / _REQUESTS_FOR_CPU * _MICROSECONDS_A_SECOND, _REQUESTS_FOR_CPU / took


def _count_wrong_responses(workplace: Workplace, repeats: int) -> Row:
    endpoint = workplace.start_sts("--lifetime", str(_SESSION_SECONDS), "--hang-up")
    broker = workplace.start_broker(endpoint)
    broker.wait_for_all_since(0.001)
    samples = []
    for _ in range(repeats):
        began, wrong = time.monotonic(), 0
        while time.monotonic() - began < _SESSION_SECONDS:
            wrong += len(send_requests("new", _REQUESTS_FOR_ERRORS, broker.served())["wrong"])
        samples.append(float(wrong))
    figure = f"{_PREFIX} wrong or lost responses while generations change"
    return Row(figure=figure, unit="responses", samples=samples, maximum=0, places=0)
