"""The whole simulator: an SDK's own web identity flow, a clean stop, and `python -m sandbox`."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import botocore.session
import pytest

import sandbox
from sandbox import Misbehaviour, Sandbox
from sandbox.__main__ import main

if TYPE_CHECKING:
    from tests.sandbox.sts_client import Exchanger


def test_botocores_own_web_identity_flow_works_with_the_environment(
    simulator: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = simulator.projected_token(tmp_path)
    for name, value in simulator.environment(token).items():
        monkeypatch.setenv(name, value)
    session = botocore.session.Session()
    client = session.create_client("sts", region_name=simulator.region)  # botocore ignores AWS_REGION
    assert client.get_caller_identity()["Arn"].startswith(
        "arn:aws:sts::123456789012:assumed-role/app/botocore-session-"
    )
    client.close()
    assert [call.action for call in simulator.sts.calls] == ["AssumeRoleWithWebIdentity", "GetCallerIdentity"]


@pytest.mark.parametrize(
    ("mode", "code"),
    [
        (Misbehaviour.TRUNCATED, "InvalidIdentityToken"),
        (Misbehaviour.EMPTY, "ValidationError"),
        (Misbehaviour.WRONG_AUDIENCE, "InvalidIdentityToken"),
        (Misbehaviour.FUTURE_NBF, "InvalidIdentityToken"),
    ],
)
def test_faulty_token_is_refused_by_sts(
    simulator: Sandbox, exchanger: Exchanger, tmp_path: Path, mode: Misbehaviour, code: str
) -> None:
    volume = simulator.projected_token(tmp_path, lifetime=timedelta(minutes=10))
    volume.misbehave(mode)
    assert exchanger.refusal(WebIdentityToken=volume.path.read_text()).code == code
    volume.heal()
    assert exchanger.exchange(WebIdentityToken=volume.path.read_text())


def test_projected_token_belongs_to_the_named_service_account(
    simulator: Sandbox, exchanger: Exchanger, tmp_path: Path
) -> None:
    volume = simulator.projected_token(tmp_path, namespace="team", service_account="worker")
    arn = simulator.create_role("worker", subjects=["system:serviceaccount:team:worker"])
    response = exchanger.exchange(RoleArn=arn, WebIdentityToken=volume.path.read_text())
    assert response["SubjectFromWebIdentityToken"] == "system:serviceaccount:team:worker"
    assert simulator.environment(volume, arn)["AWS_ROLE_ARN"] == arn


def test_stopped_simulator_leaves_no_thread_and_can_be_stopped_again() -> None:
    before = set(threading.enumerate())
    simulator = Sandbox()
    simulator.stop()
    simulator.stop()
    assert set(threading.enumerate()) <= before


def test_program_prints_a_working_environment_and_ends_on_sigterm(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "sandbox", "--directory", str(tmp_path), "--session-lifetime", "20"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        exports = {}
        for line in process.stdout:
            if match := re.fullmatch(r"export (\w+)=(\S+)\n", line):
                exports[match[1]] = match[2]
            if "SANDBOX_ISSUER_URL" in exports:
                break
        assert (tmp_path / "token").read_text().count(".") == 2
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=10)
    assert process.returncode == 0
    assert errors.startswith("# token 1 written, expires ")
    assert "Traceback" not in errors
    assert exports["AWS_WEB_IDENTITY_TOKEN_FILE"] == str(tmp_path / "token")
    assert exports["AWS_ENDPOINT_URL_STS"].startswith("http://127.0.0.1:")


def test_help_explains_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    text = capsys.readouterr().out
    assert "--token-lifetime" in text
    assert "80%" in text


def test_lifetime_of_zero_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--token-lifetime", "0"])
    assert "must be more than 0" in capsys.readouterr().err


def test_sandbox_imports_only_the_policy_evaluator_from_the_broker() -> None:
    evaluator = "broker.policy(.(document|conditions|statements|trust_policy|provider_claims))?"
    other = re.compile(rf"^\s*(from|import) (?!{evaluator} )broker\b", re.MULTILINE)
    modules = list(Path(sandbox.__file__).parent.rglob("*.py"))
    assert modules
    for module in modules:
        if module.parent.name != "demo":  # the demo runs both
            assert not other.search(module.read_text()), module
