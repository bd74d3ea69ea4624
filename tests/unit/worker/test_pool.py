"""Jobs in real worker processes, forked and started as new programs: what they return, and what becomes of them.

A worker that is stopped by SIGSTOP stands for one that hangs.
"""

from __future__ import annotations

import errno
import os
import pickle
import re
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from broker.core.errors import TokenMalformed, WorkerFailed
from broker.core.model import BoundToken, Secret
from broker.tokens.decoding import parse_token
from broker.worker import jobs
from broker.worker.pool import IDLE_SECONDS, JOB_SECONDS, Overdue
from tests.support.fakes import make_jwt
from tests.support.workers import Pool, has_ended, list_descriptors

if TYPE_CHECKING:
    from collections.abc import Iterator

# Python warns of every fork in a process with threads, and pytest's workers have some.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def decode(serial: int = 0) -> jobs.DecodeToken:
    return jobs.DecodeToken(text=Secret(make_jwt(serial=serial)), origin="/token")


def is_token(result: object, serial: int = 0) -> bool:
    return bool(result == parse_token(make_jwt(serial=serial), origin="/token"))


def sockets_of(pid: int | str) -> set[str]:
    """Return the sockets that a process holds, by inode."""
    found = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # that of the listing itself
            found.add(str(path.readlink()))
    return {link for link in found if link.startswith("socket:")}


@pytest.fixture
def new_pool() -> Iterator[Pool]:
    pool = Pool()
    yield pool
    pool.close()


@pytest.fixture(params=["forked", "spawned"])
def pool(request: pytest.FixtureRequest, new_pool: Pool) -> Pool:
    new_pool.workers.may_fork = request.param == "forked"
    return new_pool


@pytest.fixture
def forked(new_pool: Pool) -> Pool:
    return new_pool


def stop(pool: Pool) -> int:
    """Let the only worker hang after its first job. Return its pid."""
    assert is_token(pool.do(decode()))
    (pid,) = pool.pids
    os.kill(pid, signal.SIGSTOP)
    return pid


class TestResults:
    """Every job ends with one result."""

    def test_result_of_a_job_is_returned(self, pool: Pool) -> None:
        assert is_token(pool.do(decode()))
        assert pool.workers.failures == 0

    def test_error_of_a_job_is_returned(self, pool: Pool) -> None:
        error = pool.do(jobs.DecodeToken(text=Secret("nonsense"), origin="/token"))
        assert isinstance(error, TokenMalformed)
        assert error.message.startswith("The token in /token is not a JWT")
        assert pool.workers.failures == 0

    def test_jobs_at_once_are_done_by_one_worker_and_each_gets_its_own_result(self, pool: Pool) -> None:
        results = [pool.submit(decode(serial)) for serial in range(20)]
        assert len(pool.pids) == 1
        pool.serve(lambda: all(results))
        assert all(is_token(result, serial) for serial, (result,) in enumerate(results))

    def test_later_job_is_done_by_the_same_worker(self, pool: Pool) -> None:
        pool.do(decode())
        before = pool.pids
        pool.do(decode(1))
        assert pool.pids == before
        assert len(before) == 1

    def test_job_apart_gets_a_worker_of_its_own_which_ends_with_it(self, pool: Pool) -> None:
        pool.do(decode())
        (shared,) = pool.pids
        results = pool.submit(decode(1), is_apart=True)
        (apart,) = set(pool.pids) - {shared}
        pool.serve(lambda: bool(results) and has_ended(apart))
        assert is_token(results[0], 1)
        assert pool.pids == [shared]

    def test_job_apart_is_not_given_to_a_shared_worker_nor_the_other_way_round(self, pool: Pool) -> None:
        apart, shared = pool.submit(decode(), is_apart=True), pool.submit(decode(1))
        assert len(pool.pids) == 2
        pool.serve(lambda: bool(apart and shared))

    def test_job_that_is_submitted_by_the_end_of_another_is_done(self, pool: Pool) -> None:
        later: list[object] = []
        pool.workers.submit(decode(), lambda _: pool.workers.submit(decode(1), later.append))
        pool.serve(lambda: bool(later))
        assert is_token(later[0], 1)

    def test_job_larger_than_the_buffer_of_the_socket_arrives(self, pool: Pool) -> None:
        stop(pool)
        long = "x" * 4_000_000
        results = pool.submit(jobs.DecodeToken(text=Secret(long), origin="/token"))
        pool.loop.turn(0.05)
        os.kill(pool.pids[0], signal.SIGCONT)
        pool.serve(lambda: bool(results))
        assert "(4,000,000 characters)" in str(results[0])

    def test_signals_to_the_group_do_not_end_a_worker(self, pool: Pool) -> None:
        """A terminal sends Ctrl-C to all processes. The resident process decides."""
        pool.do(decode())
        (pid,) = pool.pids
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
            os.kill(pid, number)
        assert is_token(pool.do(decode(1)), 1)
        assert pool.pids == [pid]

    def test_bug_in_a_worker_is_a_failed_job_without_its_secrets(
        self, forked: Pool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def crash(text: str, **_: object) -> NoReturn:
            raise ZeroDivisionError(text)

        monkeypatch.setattr("broker.tokens.decoding.parse_token", crash)
        error = forked.do(decode())
        assert isinstance(error, WorkerFailed)
        assert re.search(r"met a bug: ZeroDivisionError in crash \(test_pool\.py:\d+\)\.$", error.message)
        assert re.search(r"^_answer \(process\.py:\d+\) > .* > crash \(", error.stack)

    def test_worker_without_threads_is_a_failed_job(self, forked: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(_: threading.Thread) -> NoReturn:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", refuse)
        error = forked.do(decode())
        assert isinstance(error, WorkerFailed)
        assert "start a thread" in error.message


class TestDeadlines:
    """A job that hangs is stopped by killing its worker."""

    def test_overdue_job_ends_and_the_others_are_done_by_a_new_worker(self, pool: Pool) -> None:
        hanging = stop(pool)
        overdue, other = pool.submit(decode(1), seconds=5), pool.submit(decode(2), seconds=30)
        pool.advance(4)
        assert (overdue, other, has_ended(hanging)) == ([], [], False)
        pool.advance(1.1)
        assert overdue == [Overdue(5)]
        pool.serve(lambda: bool(other) and has_ended(hanging))
        assert is_token(other[0], 2)
        assert pool.pids != [hanging]
        assert (len(overdue), len(other)) == (1, 1)
        assert pool.workers.failures == 0, "the network hung, not the worker"

    def test_default_deadline_is_that_of_the_pool(self, pool: Pool) -> None:
        stop(pool)
        results = pool.submit(decode(1))
        pool.advance(JOB_SECONDS - 1)
        assert results == []
        pool.advance(1.1)
        assert results == [Overdue(JOB_SECONDS)]

    def test_job_that_is_repeated_keeps_its_deadline(self, pool: Pool) -> None:
        stop(pool)
        pool.submit(decode(1), seconds=5)
        other = pool.submit(decode(2), seconds=8)
        pool.advance(5.1)
        (second,) = pool.pids
        os.kill(second, signal.SIGSTOP)
        pool.advance(3)
        assert other == [Overdue(8)] or is_token(other[0], 2)  # it may have been quicker than the signal

    def test_deadline_is_a_time_at_which_the_loop_looks(self, pool: Pool) -> None:
        stop(pool)
        results = pool.submit(decode(1), seconds=0.05)
        began = time.monotonic()
        pool.loop.turn(20)
        while not results and time.monotonic() < began + 10:
            pool.loop.turn(20)
        assert results == [Overdue(0.05)]
        assert time.monotonic() - began < 10


class TestEnds:
    """Workers end, and leave nothing behind."""

    def test_worker_that_is_killed_during_a_job_is_explained_by_memory(self, pool: Pool) -> None:
        pid = stop(pool)
        first, second = pool.submit(decode(1)), pool.submit(decode(2))
        os.kill(pid, signal.SIGKILL)
        pool.serve(lambda: bool(first and second))
        for error in (first[0], second[0]):
            assert isinstance(error, WorkerFailed)
            assert "was ended by SIGKILL, probably because memory ran out" in error.message
            assert "resources.limits.memory" in error.remedy
        assert pool.workers.failures == 1
        assert has_ended(pid)
        assert is_token(pool.do(decode(3)), 3)

    def test_worker_that_is_killed_between_jobs_is_no_failure(self, pool: Pool) -> None:
        pool.do(decode())
        (pid,) = pool.pids
        os.kill(pid, signal.SIGKILL)
        pool.serve(lambda: has_ended(pid))
        assert is_token(pool.do(decode(1)), 1)
        assert pool.workers.failures == 0

    def test_idle_worker_ends_after_its_time_and_the_next_job_gets_a_new_one(self, pool: Pool) -> None:
        pool.do(decode())
        (pid,) = pool.pids
        pool.advance(IDLE_SECONDS - 1)
        assert pool.pids == [pid]
        assert is_token(pool.do(decode(1)), 1)
        pool.advance(IDLE_SECONDS - 1)
        assert pool.pids == [pid], "the time counts from its last job"
        pool.advance(1.1)
        assert pool.pids == []
        pool.serve(lambda: has_ended(pid))
        assert is_token(pool.do(decode(2)), 2)
        assert pool.pids != [pid]

    def test_idle_worker_that_does_not_end_is_killed(self, pool: Pool) -> None:
        pid = stop(pool)
        pool.advance(IDLE_SECONDS + 0.1)
        assert not has_ended(pid)
        pool.advance(1.1)
        pool.serve(lambda: has_ended(pid))

    def test_worker_ends_with_its_socket_whatever_it_is_doing(
        self, forked: Pool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As when the resident process is killed."""
        monkeypatch.setattr("broker.tokens.decoding.parse_token", lambda *_, **__: time.sleep(300))
        results = forked.submit(decode())
        (pid,) = forked.pids
        forked.workers.close()
        began = time.monotonic()
        os.waitpid(pid, 0)
        assert time.monotonic() - began < 100
        assert results == []

    def test_no_descriptor_and_no_zombie_is_left(self, pool: Pool) -> None:
        before = list_descriptors()
        pool.do(decode())
        (shared,) = pool.pids
        apart = pool.submit(decode(), is_apart=True)
        pool.serve(lambda: bool(apart))
        pool.advance(IDLE_SECONDS + 0.1)
        pool.serve(lambda: all(map(has_ended, pool.started)))
        assert {shared} < pool.started
        assert list_descriptors() <= before

    @pytest.mark.parametrize(("first_forks", "second_forks"), [(True, True), (True, False), (False, False)])
    def test_worker_has_its_own_socket_and_no_copy_of_anothers(
        self, new_pool: Pool, first_forks: bool, second_forks: bool
    ) -> None:
        """A copy would keep the other one from noticing its end."""
        if os.geteuid() != 0 and not (first_forks and second_forks):
            pytest.skip("the kernel shows the files of a worker that is a new program to root only")
        strange = sockets_of("self")
        new_pool.workers.may_fork = first_forks
        new_pool.do(decode())
        (first,) = new_pool.pids
        new_pool.workers.may_fork = second_forks
        new_pool.submit(decode(), is_apart=True)
        (second,) = set(new_pool.pids) - {first}
        end = time.monotonic() + 10
        while len(sockets_of(second) - strange) > 1 and time.monotonic() < end:
            time.sleep(0.001)  # it is starting
        ours = sockets_of("self") - strange
        theirs = [sockets_of(pid) - strange for pid in (first, second)]
        assert [len(each) for each in (ours, *theirs)] == [2, 1, 1]
        assert not theirs[0] & theirs[1]
        assert not ours & (theirs[0] | theirs[1])

    def test_worker_that_sends_a_foreign_value_is_killed_and_its_jobs_fail(
        self, forked: Pool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        content = pickle.dumps(os.getpid)
        frame = len(content).to_bytes(4, "big") + content
        monkeypatch.setattr("broker.worker.process.encode", lambda _: frame)
        results = forked.submit(decode())
        (pid,) = forked.pids
        forked.serve(lambda: bool(results) and has_ended(pid))
        (error,) = results
        assert isinstance(error, WorkerFailed)
        assert "sent no result of the broker, but posix.getpid" in error.message
        assert forked.workers.failures == 1

    @pytest.mark.parametrize("reply", [jobs.Reply(number=99, result=None), jobs.GetReady()])
    def test_worker_that_answers_what_was_not_asked_is_killed(
        self, forked: Pool, monkeypatch: pytest.MonkeyPatch, reply: object
    ) -> None:
        from broker.worker.channel import encode  # noqa: PLC0415 - before it is replaced

        frame = encode(reply)
        monkeypatch.setattr("broker.worker.process.encode", lambda _: frame)
        error = forked.do(decode())
        assert isinstance(error, WorkerFailed)
        assert f"but {type(reply).__name__}" in error.message


class TestStartFailures:
    """A worker that cannot be started is a failed job."""

    def test_system_that_allows_no_process_is_explained_by_the_process_limit(
        self, pool: Pool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object, **__: object) -> NoReturn:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

        before = list_descriptors()
        with monkeypatch.context() as patch:
            patch.setattr(os, "fork", refuse)
            patch.setattr(os, "posix_spawn", refuse)
            results = pool.submit(decode())
        (error,) = results
        assert isinstance(error, WorkerFailed)
        assert "Resource temporarily unavailable" in error.message
        assert "process limit (pids)" in error.remedy
        assert list_descriptors() <= before
        assert pool.workers.failures == 1
        assert is_token(pool.do(decode())), "the next attempt succeeds"

    def test_process_without_descriptors_is_a_failed_job(self, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> NoReturn:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        with monkeypatch.context() as patch:
            patch.setattr("socket.socketpair", refuse)
            (error,) = pool.submit(decode())
        assert isinstance(error, WorkerFailed)
        assert "Too many open files" in error.message
        assert isinstance(pool.do(decode()), BoundToken)

    @pytest.mark.parametrize(("content", "found"), [(None, "No such file or directory"), (b"\0", "Exec format error")])
    def test_interpreter_that_cannot_be_run_is_a_failed_job(
        self, new_pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, found: str
    ) -> None:
        program = tmp_path / "python"
        if content is not None:
            program.write_bytes(content)
            program.chmod(0o755)
        new_pool.workers.may_fork = False
        monkeypatch.setattr(sys, "executable", str(program))
        (error,) = new_pool.submit(decode())
        assert isinstance(error, WorkerFailed)
        assert found in error.message

    def test_interpreter_that_fails_at_once_is_a_failed_job(
        self, new_pool: Pool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        new_pool.workers.may_fork = False
        monkeypatch.setattr(sys, "executable", "/bin/false")
        error = new_pool.do(decode())
        assert isinstance(error, WorkerFailed)
        assert "ended with status 1 before it had an answer" in error.message
        assert new_pool.workers.failures == 1
