"""The verbs and their exit codes; what a verb then does is tested where it is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import types
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from broker import __version__
from broker.cli import help_texts, main
from broker.core.model import redacted
from tests.support.fakes import AUDIENCE, make_jwt

if TYPE_CHECKING:
    from collections.abc import Iterator

forks = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("AWS_", "BROKER_")):
            monkeypatch.delenv(name)


@pytest.fixture
def _signals_as_they_were() -> Iterator[None]:
    """Undo what the verbs do to this thread's signals, which every program that is started would inherit."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(make_jwt(issued_at=datetime.now(UTC)))
    return path


def ended(arguments: list[str]) -> int | str | None:
    """Return the code with which argparse ends."""
    with pytest.raises(SystemExit) as caught:
        main.main(arguments)
    return caught.value.code


class TestArguments:
    """What argparse answers by itself."""

    def test_version(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert ended(["--version"]) == 0
        assert capsys.readouterr().out == f"sts-federation-broker {__version__}\n"

    def test_help_names_every_verb_and_exit_code(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert ended(["--help"]) == 0
        text = capsys.readouterr().out
        for word in (
            "run",
            "once",
            "credentials",
            "token",
            "trust",
            "demo",
            "2 configuration",
            "3 token",
            "4 exchange",
            "5 publish",
            "70 a bug",
        ):
            assert word in text

    @pytest.mark.parametrize("verb", help_texts.VERBS)
    def test_every_verb_explains_itself(self, capsys: pytest.CaptureFixture[str], verb: str) -> None:
        assert ended([verb, "--help"]) == 0
        assert len(capsys.readouterr().out) > 200

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
    def test_what_is_not_understood_is_exit_code_2(
        self, capsys: pytest.CaptureFixture[str], arguments: list[str]
    ) -> None:
        assert ended(arguments) == 2
        assert "usage: sts-broker" in capsys.readouterr().err

    @pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "1e300", "86401", "soon", ""])
    @pytest.mark.parametrize("option", [["once", "--timeout"], ["exec", "--timeout"], ["demo", "--seconds"]])
    def test_time_that_is_none_is_refused(
        self, capsys: pytest.CaptureFixture[str], option: list[str], value: str
    ) -> None:
        assert ended([*option[:1], f"{option[1]}={value}"]) == 2
        assert f"{value}: write a number of seconds from above 0 to 86400" in capsys.readouterr().err


@forks
@pytest.mark.usefixtures("_signals_as_they_were")
class TestConfigurationFaults:
    """Exit code 2, before anything starts."""

    @pytest.mark.parametrize("verb", ["run", "once"])
    def test_faults_are_listed_one_a_line(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, verb: str
    ) -> None:
        monkeypatch.setenv("BROKER_LOG_LEVEL", "loud")
        assert main.main([verb]) == 2
        first, *faults = capsys.readouterr().err.splitlines()
        assert first == "sts-broker: the configuration has 3 faults:"
        assert [fault.split(":")[0] for fault in faults] == ["  BROKER_LOG_LEVEL", "  no role", "  no Region"]

    @pytest.mark.parametrize(
        "name",
        ["BROKER_CONFIG", "AWS_CA_BUNDLE", "BROKER_SESSION_POLICY_FILE", "BROKER_POLICY_ARNS", "AWS_ROLE_ARN"],
    )
    def test_token_pasted_into_a_variable_is_not_shown(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        token = make_jwt()
        monkeypatch.setenv(name, token)
        assert main.main(["run"]) == 2
        shown = capsys.readouterr().err
        assert name.removeprefix("AWS_").removeprefix("BROKER_").lower() in shown.lower()
        assert not any(part in shown for part in token.split("."))

    def test_single_fault_is_no_plural(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        assert main.main(["run"]) == 2
        assert "sts-broker: the configuration has 1 fault:\n" in capsys.readouterr().err


class TestToken:
    """`sts-broker token`."""

    def test_fit_token_is_0(self, capsys: pytest.CaptureFixture[str], token_file: Path) -> None:
        assert main.main(["token", str(token_file)]) == 0
        assert "fit to be sent" in capsys.readouterr().out

    def test_options_are_handed_on(self, capsys: pytest.CaptureFixture[str], token_file: Path) -> None:
        assert main.main(["token", str(token_file), "--audience", "other", "--json"]) == 3
        assert capsys.readouterr().out.startswith("{")

    def test_environment_names_the_file(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, token_file: Path
    ) -> None:
        monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token_file))
        assert main.main(["token"]) == 0
        assert AUDIENCE in capsys.readouterr().out

    def test_missing_token_is_told_with_its_reason_and_is_3(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        assert main.main(["token", str(tmp_path / "none")]) == 3
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith(f"sts-broker: No token in {tmp_path / 'none'}: No such file or directory")
        assert captured.err.endswith("[token_unavailable]\n")

    def test_reader_who_leaves_early_is_no_fault(self, token_file: Path) -> None:
        """`sts-broker token | head -1`: output is buffered, so that the pipe breaks only as the program ends."""
        reading, writing = os.pipe()
        os.close(reading)
        environ = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        command = [sys.executable, "-m", "broker", "token", str(token_file)]
        process = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, env=environ, check=False)
        os.close(writing)
        assert (process.returncode, process.stderr) == (0, b"")

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
    @pytest.mark.parametrize("arguments", [[], ["--json"]])
    def test_full_disk_behind_standard_output_is_told(self, token_file: Path, arguments: list[str]) -> None:
        command = [sys.executable, "-m", "broker", "token", str(token_file), *arguments]
        with Path("/dev/full").open("wb") as full:
            process = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
        told = b"sts-broker: standard output cannot be written: No space left on device\n"
        assert (process.returncode, process.stderr) == (5, told)


def test_interrupt_ends_a_verb_without_a_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "_demo", interrupted)
    assert main.main(["demo"]) == 130
    assert capsys.readouterr().err == ""


class TestDemo:
    """`sts-broker demo` is the sandbox's; without a checkout there is none."""

    def test_without_the_sandbox_it_says_where_to_get_it(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "sandbox.demo.command", None)
        assert main.main(["demo"]) == 2
        assert "needs the sandbox of a checkout" in capsys.readouterr().err

    def test_its_exit_code_is_handed_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_token_given_in_place_of_its_file_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    token = make_jwt()
    assert main.main(["token", token]) == 3
    captured = capsys.readouterr()
    assert not any(part in captured.out + captured.err for part in token.split("."))
