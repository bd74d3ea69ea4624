"""The commands and their exit codes. What a command does is tested with its package."""

from __future__ import annotations

import ctypes
import json
import os
import re
import resource
import signal
import subprocess
import sys
import types
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from broker import __version__
from broker.cli import demo_arguments, help_texts, main
from broker.core.errors import PublishError
from broker.core.model import redacted
from tests.support.fakes import AUDIENCE, make_jwt

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGGING_COMMANDS = (["run"], ["once"], ["exec", "--", "true"])
# Python warns of every fork in a process with threads, and pytest's workers have some.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("AWS_", "BROKER_")):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _restore_process() -> Iterator[None]:
    """Undo what commands do to this process, which every program started later would inherit."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    limits = resource.getrlimit(resource.RLIMIT_CORE)
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    resource.setrlimit(resource.RLIMIT_CORE, limits)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(make_jwt(issued_at=datetime.now(UTC)))
    return path


def exit_code_of(arguments: list[str]) -> int | str | None:
    """Return the code with which argparse exits."""
    with pytest.raises(SystemExit) as caught:
        main.main(arguments)
    return caught.value.code


class TestArguments:
    """Help, version, and command lines that are not valid."""

    def test_version_is_printed(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert exit_code_of(["--version"]) == 0
        assert capsys.readouterr().out == f"sts-federation-broker {__version__}\n"

    def test_help_lists_every_command_and_exit_code(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert exit_code_of(["--help"]) == 0
        text = capsys.readouterr().out
        commands = text.split("Settings:")[0]
        assert re.findall(r"^([A-Z].*):$|^ +([a-z]+) {2,}\S", commands, re.MULTILINE) == [
            ("Sidecar commands", ""),
            *(("", name) for name in ("run", "once", "exec", "credentials", "token", "doctor")),
            ("Operator commands", ""),
            *(("", name) for name in ("trust", "issuer", "inject")),
            ("Try it", ""),
            ("", "demo"),
        ]
        codes = text.split("Exit codes:")[1].split("Examples:")[0]
        assert re.findall(r"^ {2,3}(\d+) ", codes, re.MULTILINE) == ["0", "1", "2", "3", "4", "5", "70"]

    @pytest.mark.parametrize("verb", help_texts.VERBS)
    def test_help_of_every_command_has_its_summary_and_description(
        self, capsys: pytest.CaptureFixture[str], verb: str
    ) -> None:
        assert exit_code_of([verb, "--help"]) == 0
        text, expected = capsys.readouterr().out, help_texts.VERBS[verb]
        description = f"{expected.summary[:1].upper()}{expected.summary[1:]}.\n\n{expected.description}"
        for paragraph in description.split("\n\n"):
            assert " ".join(paragraph.split()) in " ".join(text.split())
        assert "Examples:" in text or "Commands:" in text

    @pytest.mark.parametrize("arguments", [[], ["trust"], ["issuer"]])
    def test_missing_command_prints_the_help_and_is_exit_code_2(
        self, capsys: pytest.CaptureFixture[str], arguments: list[str]
    ) -> None:
        assert exit_code_of([*arguments, "--help"]) == 0
        text = capsys.readouterr().out
        assert exit_code_of(arguments) == 2
        captured = capsys.readouterr()
        assert (captured.out, captured.err) == ("", text)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["rnu"], "sts-broker: error: unknown command 'rnu' (did you mean run?)"),
            (["Doctor"], "sts-broker: error: unknown command 'Doctor' (did you mean doctor?)"),
            (["serve"], "sts-broker: error: unknown command 'serve'"),
            (["--fast", "rnu"], "sts-broker: error: unknown command 'rnu' (did you mean run?)"),
            (["--verson"], "sts-broker: error: unknown option --verson (did you mean --version?)"),
            (["trust", "lnit"], "sts-broker trust: error: unknown command 'lnit' (did you mean lint?)"),
            (["issuer", "chekc"], "sts-broker issuer: error: unknown command 'chekc' (did you mean check?)"),
            (["once", "--timout", "3"], "sts-broker once: error: unknown option --timout (did you mean --timeout?)"),
            (["once", "--time=3"], "sts-broker once: error: unknown option --time (did you mean --timeout?)"),
            (["run", "--fast"], "sts-broker run: error: unknown option --fast"),
            (["exec", "--envs", "--", "true"], "sts-broker exec: error: unknown option --envs (did you mean --env?)"),
            (
                ["inject", "-f", "a.yaml", "--role", "x"],
                "sts-broker inject: error: unknown option --role (did you mean --role-arn?)",
            ),
            (
                ["trust", "lint", "--isuer", "x", "-"],
                "sts-broker trust lint: error: unknown option --isuer (did you mean --issuer?)",
            ),
            (["token", "a", "b"], "sts-broker token: error: unexpected argument 'b'"),
        ],
    )
    def test_unknown_name_is_reported_with_the_nearest_one(
        self, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
    ) -> None:
        assert exit_code_of(arguments) == 2
        usage, error = capsys.readouterr().err.rstrip("\n").rsplit("\n", 1)
        assert usage.startswith("usage: sts-broker")
        assert error == message

    def test_token_pasted_as_an_argument_is_not_shown(self, capsys: pytest.CaptureFixture[str]) -> None:
        token = make_jwt()
        assert exit_code_of(["token", "file", token]) == 2
        shown = capsys.readouterr().err
        assert "unexpected argument '<redacted>'" in shown
        assert not any(part in shown for part in token.split("."))

    @pytest.mark.parametrize(
        "arguments",
        [
            [],
            ["serve"],
            ["run", "--fast"],
            ["once", "--time", "3"],
            ["token", "a", "b"],
            ["exec"],
            ["exec", "--env", "--"],
            ["exec", "--fast", "--", "true"],
        ],
    )
    def test_invalid_command_line_is_exit_code_2(
        self, capsys: pytest.CaptureFixture[str], arguments: list[str]
    ) -> None:
        assert exit_code_of(arguments) == 2
        assert "usage: sts-broker" in capsys.readouterr().err

    @pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "1e300", "86401", "soon", ""])
    @pytest.mark.parametrize("option", [["once", "--timeout"], ["exec", "--timeout"], ["demo", "--seconds"]])
    def test_invalid_duration_is_rejected(
        self, capsys: pytest.CaptureFixture[str], option: list[str], value: str
    ) -> None:
        assert exit_code_of([*option[:1], f"{option[1]}={value}"]) == 2
        assert f"expected a number of seconds above 0, up to 86400; found {value!r}" in capsys.readouterr().err


class TestConfigurationFaults:
    """Invalid settings: exit code 2, before anything starts."""

    FAULTY = ("BROKER_LOG_LEVEL", "role_arn (AWS_ROLE_ARN)", "region (AWS_REGION)")

    @pytest.mark.parametrize("arguments", LOGGING_COMMANDS)
    def test_faults_are_listed_one_per_line_with_the_console_format(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str]
    ) -> None:
        monkeypatch.setenv("BROKER_LOG_FORMAT", "console")
        monkeypatch.setenv("BROKER_LOG_LEVEL", "loud")
        assert main.main(arguments) == 2
        first, *faults = capsys.readouterr().err.splitlines()
        assert first == "sts-broker: the configuration has 3 faults:"
        assert [fault.split(":")[0] for fault in faults] == [f"  {name}" for name in self.FAULTY]

    @pytest.mark.parametrize("arguments", LOGGING_COMMANDS)
    @pytest.mark.parametrize("log_format", ["json", "auto", ""])
    def test_faults_are_one_json_line_with_a_json_log(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, log_format: str, arguments: list[str]
    ) -> None:
        """Standard error is not a terminal here, so `auto` is JSON."""
        monkeypatch.setenv("BROKER_LOG_FORMAT", log_format)
        monkeypatch.setenv("BROKER_LOG_LEVEL", "loud")
        assert main.main(arguments) == 2
        line = json.loads(capsys.readouterr().err)
        assert list(line) == ["time", "level", "event", "message", "reason", "faults"]
        assert (line["level"], line["event"], line["reason"]) == ("error", "configuration_invalid", "configuration")
        assert line["message"] == "The configuration has 3 faults."
        assert [fault.split(":")[0] for fault in line["faults"]] == list(self.FAULTY)

    @pytest.mark.parametrize(("log_format", "is_json"), [("json", True), ("console", False)])
    def test_format_of_the_yaml_file_applies_although_the_file_is_faulty(
        self,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
        *,
        log_format: str,
        is_json: bool,
    ) -> None:
        (tmp_path / "broker.yaml").write_text(f"log: {{format: {log_format}}}\nregoin: eu-west-1\n")
        monkeypatch.setenv("BROKER_CONFIG", str(tmp_path / "broker.yaml"))
        assert main.main(["run"]) == 2
        shown = capsys.readouterr().err
        assert shown.startswith("{") is is_json
        assert "regoin: unknown setting (did you mean region?)" in shown

    def test_faults_of_a_command_for_people_are_text_with_a_json_log_too(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BROKER_LOG_FORMAT", "json")
        monkeypatch.setenv("BROKER_CONFIG", "/no/such/file")
        assert main.main(["token"]) == 2
        assert capsys.readouterr().err.startswith("sts-broker: the configuration has 1 fault:\n  BROKER_CONFIG: ")

    @pytest.mark.parametrize(
        "name",
        ["BROKER_CONFIG", "AWS_CA_BUNDLE", "BROKER_SESSION_POLICY_FILE", "BROKER_POLICY_ARNS", "AWS_ROLE_ARN"],
    )
    @pytest.mark.parametrize("log_format", ["json", "console"])
    def test_token_pasted_into_a_variable_is_not_shown(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, log_format: str
    ) -> None:
        monkeypatch.setenv("BROKER_LOG_FORMAT", log_format)
        token = make_jwt()
        monkeypatch.setenv(name, token)
        assert main.main(["run"]) == 2
        shown = capsys.readouterr().err
        assert name.removeprefix("AWS_").removeprefix("BROKER_").lower() in shown.lower()
        assert not any(part in shown for part in token.split("."))

    def test_single_fault_is_counted_in_the_singular(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BROKER_LOG_FORMAT", "console")
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        assert main.main(["run"]) == 2
        assert "sts-broker: the configuration has 1 fault:\n" in capsys.readouterr().err


class TestToken:
    """`sts-broker token`."""

    def test_usable_token_is_exit_code_0(self, capsys: pytest.CaptureFixture[str], token_file: Path) -> None:
        assert main.main(["token", str(token_file)]) == 0
        assert "can be sent to STS" in capsys.readouterr().out

    def test_options_are_passed_on(self, capsys: pytest.CaptureFixture[str], token_file: Path) -> None:
        assert main.main(["token", str(token_file), "--audience", "other", "--json"]) == 3
        assert capsys.readouterr().out.startswith("{")

    def test_environment_names_the_file(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, token_file: Path
    ) -> None:
        monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token_file))
        assert main.main(["token"]) == 0
        assert AUDIENCE in capsys.readouterr().out

    def test_missing_token_is_reported_with_its_reason_and_is_exit_code_3(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        assert main.main(["token", str(tmp_path / "none")]) == 3
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith(f"sts-broker: No token in {tmp_path / 'none'}: No such file or directory")
        assert captured.err.endswith("[token_unavailable]\n")

    def test_reader_that_closes_the_pipe_is_not_an_error(self, token_file: Path) -> None:
        """`sts-broker token | head -1`: output is buffered, so the pipe breaks only when the program exits."""
        reading, writing = os.pipe()
        os.close(reading)
        environ = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        command = [sys.executable, "-m", "broker", "token", str(token_file)]
        process = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, env=environ, check=False)
        os.close(writing)
        assert (process.returncode, process.stderr) == (0, b"")

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
    @pytest.mark.parametrize("arguments", [[], ["--json"]])
    def test_full_disk_behind_standard_output_is_reported(self, token_file: Path, arguments: list[str]) -> None:
        command = [sys.executable, "-m", "broker", "token", str(token_file), *arguments]
        with Path("/dev/full").open("wb") as full:
            process = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
        message = b"sts-broker: standard output cannot be written: No space left on device\n"
        assert (process.returncode, process.stderr) == (5, message)


def test_interrupt_ends_a_command_without_a_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo_arguments, "_demo", interrupted)
    assert main.main(["demo"]) == 130
    assert capsys.readouterr().err == ""


class TestDemo:
    """`sts-broker demo`, which needs the sandbox of a checkout."""

    def test_missing_sandbox_is_reported_with_where_to_get_it(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "sandbox.demo.command", None)
        assert main.main(["demo"]) == 2
        assert "demo needs a checkout of the repository" in capsys.readouterr().err

    def test_exit_code_of_the_demo_is_passed_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen = []

        class Demo(types.ModuleType):
            @staticmethod
            def run(*, seconds: float) -> int:
                seen.append(seconds)
                return 1

        monkeypatch.setitem(sys.modules, "sandbox.demo.command", Demo("sandbox.demo.command"))
        assert main.main(["demo", "--seconds", "2.5"]) == 1
        assert seen == [2.5]


def test_bug_is_exit_code_70_with_a_traceback_that_shows_no_token(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Demo(types.ModuleType):
        @staticmethod
        def run(*, seconds: float) -> NoReturn:
            raise ZeroDivisionError(f"{seconds} {make_jwt()}")

    monkeypatch.setitem(sys.modules, "sandbox.demo.command", Demo("sandbox.demo.command"))
    assert main.main(["demo"]) == 70
    text = capsys.readouterr().err
    assert "ZeroDivisionError: 60.0 <redacted>" in text
    assert text.endswith("sts-broker: this is a bug; please report it with the traceback above\n")
    assert redacted(text) == text


@pytest.mark.parametrize("arguments", LOGGING_COMMANDS)
def test_bug_in_a_command_with_a_json_log_is_a_json_line_with_its_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    def crash(_: object) -> NoReturn:
        raise ZeroDivisionError(make_jwt())

    monkeypatch.setattr("broker.worker.adapters.SettingsLoad.wait", crash)
    assert main.main(arguments) == 70
    line = json.loads(capsys.readouterr().err)
    assert (line["level"], line["event"]) == ("critical", "bug")
    assert "ZeroDivisionError: <redacted>" in line["traceback"]


def test_error_of_a_command_with_a_json_log_is_a_json_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> NoReturn:
        raise PublishError("No space.", "Make room.", sink="files")

    monkeypatch.setattr("broker.worker.adapters.SettingsLoad.wait", fail)
    assert main.main(["exec", "--", "true"]) == 5
    line = json.loads(capsys.readouterr().err)
    assert (line["level"], line["event"], line["reason"]) == ("error", "stopping", "publish_failed")
    assert line["message"] == "No space. Make room."


def test_token_given_instead_of_its_file_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    token = make_jwt()
    assert main.main(["token", token]) == 3
    captured = capsys.readouterr()
    assert not any(part in captured.out + captured.err for part in token.split("."))
