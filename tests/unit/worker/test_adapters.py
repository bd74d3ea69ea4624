"""What the main loop and the token sources get from the workers: domain errors that name what to change."""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from broker.core.errors import ConfigurationError, ExchangeUnavailable, RoleDenied, TokenUnavailable, WorkerFailed
from broker.core.model import Secret, StsSpec, TokenRequestSpec
from broker.core.notify_targets import NotifyFailure, SignalTarget
from broker.loop.event_loop import EventLoop
from broker.settings import loader
from broker.worker import jobs
from broker.worker.adapters import (
    SettingsLoad,
    WorkerExchanges,
    decode_token,
    load_configuration,
    notify_target,
    request_token,
)
from broker.worker.pool import Overdue, Workers
from tests.support.fakes import ROLE_ARN, make_credentials, make_jwt, make_profile, make_token
from tests.support.workers import list_descriptors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Python warns of every fork in a process with threads, and pytest's workers have some.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
TARGET = SignalTarget(signal="HUP", pid_file="/none.pid")
MINIMUM = {"AWS_ROLE_ARN": ROLE_ARN, "AWS_REGION": "eu-west-1"}
POLICY = '{"Version":"2012-10-17","Statement":[]}'


class ScriptedWorkers(Workers):
    """Workers that end every job at once with `result`."""

    def __init__(self, result: object) -> None:
        super().__init__(EventLoop())
        self.result = result
        self.submitted: list[tuple[jobs.Job, bool]] = []

    def submit(
        self, job: jobs.Job, on_end: Callable[[Any], None], *, seconds: float = 30, is_apart: bool = False
    ) -> None:
        """End the job."""
        del seconds
        self.submitted.append((job, is_apart))
        on_end(self.result)


class TestSettings:
    """Settings are checked in a worker, with the same result as in this process."""

    def test_configuration_from_the_worker_equals_one_loaded_in_this_process(self, tmp_path: Path) -> None:
        (tmp_path / "broker.yaml").write_text(f"session_policy: '{POLICY}'\nprofiles: [{{name: a}}, {{name: b}}]")
        environ = {**MINIMUM, "BROKER_CONFIG": str(tmp_path / "broker.yaml")}
        assert load_configuration(environ) == loader.load(environ)

    def test_faults_reach_this_process(self) -> None:
        environ = {"AWS_REGION": "\udcff", "BROKER_X": "1"}
        with pytest.raises(ConfigurationError) as expected:
            loader.load(environ)
        with pytest.raises(ConfigurationError) as caught:
            load_configuration(environ)
        assert caught.value.faults == expected.value.faults

    def test_result_longer_than_the_buffer_of_the_socket_arrives(self, tmp_path: Path) -> None:
        profiles = "".join(f"- {{name: p{number}, session_policy: '{POLICY}'}}\n" for number in range(500))
        (tmp_path / "broker.yaml").write_text(f"profiles:\n{profiles}")
        environ = {**MINIMUM, "BROKER_CONFIG": str(tmp_path / "broker.yaml")}
        assert len(load_configuration(environ).profiles) == 500

    def test_crash_is_a_fault_with_its_class_and_place(
        self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """With a JSON log, nothing else may write to standard error."""

        def crash(_: object) -> NoReturn:
            raise ZeroDivisionError(make_jwt())

        monkeypatch.setattr(loader, "load", crash)
        with pytest.raises(ConfigurationError) as caught:
            load_configuration(MINIMUM)
        (fault,) = caught.value.faults
        assert fault.startswith("the settings could not be checked: The worker process")
        assert re.search(r"met a bug: ZeroDivisionError in crash \(test_adapters\.py:\d+\)\. Report it", fault)
        assert capfd.readouterr().err == ""

    def test_killed_worker_is_explained_by_the_memory_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(loader, "load", lambda _: os.kill(os.getpid(), signal.SIGKILL))
        with pytest.raises(ConfigurationError) as caught:
            load_configuration(MINIMUM)
        (fault,) = caught.value.faults
        assert "was ended by SIGKILL" in fault
        assert "(resources.limits.memory)" in fault

    def test_neither_zombie_nor_descriptor_is_left(self) -> None:
        before = list_descriptors()
        load_configuration(MINIMUM)
        assert list_descriptors() <= before
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)

    def test_file_that_is_not_read_in_time_is_named(self) -> None:
        workers = ScriptedWorkers(Overdue(60))
        with pytest.raises(ConfigurationError, match=r"^BROKER_CONFIG: not read within 60 s; check the volume"):
            SettingsLoad(workers, MINIMUM).wait()
        assert workers.submitted == [(jobs.LoadSettings(environ=MINIMUM), True)]


class TestExchanges:
    """Exchanges in workers."""

    def exchange(self, result: object) -> object:
        """Return what an exchange ends with, if the job ends with `result`."""
        workers, ends = ScriptedWorkers(result), list[object]()
        sts, profile, proof = StsSpec(endpoint_url="https://sts.example"), make_profile(), make_token()
        WorkerExchanges(workers, sts).begin(profile, proof, ends.append)
        assert workers.submitted == [(jobs.Exchange(sts=sts, profile=profile, proof=proof), False)]
        (end,) = ends
        return end

    @pytest.mark.parametrize("result", [make_credentials(), RoleDenied("No."), WorkerFailed("Ended.", "Report it.")])
    def test_result_is_passed_on(self, result: object) -> None:
        assert self.exchange(result) is result

    def test_overdue_exchange_is_explained_by_the_network_path(self) -> None:
        error = self.exchange(Overdue(30))
        assert isinstance(error, ExchangeUnavailable)
        assert error.message == "STS sent no complete response within 30 s."
        assert "network path" in error.remedy


class TestTokens:
    """Tokens from workers."""

    def ends(self, result: object) -> list[object]:
        """Return what both kinds of token jobs end with."""
        workers, ends = ScriptedWorkers(result), list[object]()
        spec = TokenRequestSpec(host="10.0.0.1", port=443)
        decode_token(workers, Secret("x"), "/token", ends.append)
        request_token(workers, spec, "sts", ends.append)
        assert [job for job, _ in workers.submitted] == [
            jobs.DecodeToken(text=Secret("x"), origin="/token"),
            jobs.RequestToken(spec=spec, audience="sts"),
        ]
        return ends

    @pytest.mark.parametrize("result", [make_token(), TokenUnavailable("No.")])
    def test_result_is_passed_on(self, result: object) -> None:
        assert self.ends(result) == [result, result]

    def test_overdue_job_is_an_unavailable_token(self) -> None:
        decoded, requested = self.ends(Overdue(10))
        assert isinstance(decoded, TokenUnavailable)
        assert isinstance(requested, TokenUnavailable)
        assert decoded.message == "The token was not there within 10 s."
        assert requested.message == "The Kubernetes API's answer was not there within 10 s."
        assert decoded.remedy.startswith("Raise the container's CPU limit")
        assert requested.remedy.startswith("Check the network path")

    def test_failed_worker_is_an_unavailable_token_with_its_remedy(self) -> None:
        for error in self.ends(WorkerFailed("Ended.", "Report it.")):
            assert isinstance(error, TokenUnavailable)
            assert (error.message, error.remedy) == ("Ended.", "Report it.")


class TestNotifications:
    """Notifications in workers."""

    def notify(self, result: object) -> NotifyFailure | None:
        """Return what a notification ends with, if the job ends with `result`."""
        workers, ends = ScriptedWorkers(result), list[NotifyFailure | None]()
        notify_target(workers, TARGET, ends.append)
        assert workers.submitted == [(jobs.Notify(target=TARGET), False)]
        (end,) = ends
        return end

    @pytest.mark.parametrize("result", [None, NotifyFailure(message="It hangs.", remedy="Find out why.")])
    def test_result_of_the_worker_is_passed_on(self, result: NotifyFailure | None) -> None:
        assert self.notify(result) == result

    def test_overdue_notification_names_the_files(self) -> None:
        assert str(self.notify(Overdue(10))) == (
            "Notifying pid_file:/none.pid took more than 10 s. Check the volume of pid_file and bearer_file."
        )

    def test_failure_of_the_worker_is_that_of_the_notification(self) -> None:
        assert self.notify(WorkerFailed("It ended.", "Report it.")) == NotifyFailure(
            message="It ended.", remedy="Report it."
        )

    def test_failure_arrives_from_a_real_worker(self) -> None:
        loop = EventLoop()
        workers, ends = Workers(loop), list[NotifyFailure | None]()
        notify_target(workers, TARGET, ends.append)
        workers.serve_until(lambda: bool(ends))
        workers.close()
        loop.close()
        assert str(ends[0]).startswith("Cannot read the pid_file /none.pid: No such file or directory.")
