"""Commands that cannot be started, and signals that arrive before the start.

Supervision of real processes is tested with the program itself, in tests/process/test_exec.py.
"""

from __future__ import annotations

import errno
import os
import signal
from typing import TYPE_CHECKING

import pytest

from broker.runtime.process_supervisor import FORWARDED, Child, CommandUnusable

if TYPE_CHECKING:
    from pathlib import Path


def start_and_fail(command: str) -> CommandUnusable:
    """Start a command that cannot be started. Return the error."""
    with pytest.raises(CommandUnusable) as caught:
        Child(lambda: None).start([command], os.environ, mask=())
    return caught.value


class TestUnusableCommand:
    """Exit codes are those of a shell. Messages name the command and what to change."""

    def test_command_not_found_in_path_is_127(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        fault = start_and_fail("no-such-command")
        assert fault.exit_code == 127
        assert str(fault) == (
            f"Cannot run no-such-command: No such file or directory. It is in no directory of PATH ({tmp_path}). "
            "Set its full path, or extend PATH."
        )

    def test_missing_path_is_127(self, tmp_path: Path) -> None:
        fault = start_and_fail(str(tmp_path / "gone"))
        assert fault.exit_code == 127
        assert str(fault).endswith("Set the path that the file has in this container.")

    def test_script_with_a_missing_interpreter_is_127_and_names_the_interpreter(self, tmp_path: Path) -> None:
        script = tmp_path / "script"
        script.write_text("#!/no/such/interpreter\n")
        script.chmod(0o755)
        fault = start_and_fail(str(script))
        assert fault.exit_code == 127
        assert "lacks the interpreter in its first line" in str(fault)

    def test_file_without_execute_permission_is_126(self, tmp_path: Path) -> None:
        (tmp_path / "data").write_text("x")
        fault = start_and_fail(str(tmp_path / "data"))
        assert fault.exit_code == 126
        assert "Permission denied. Make the file executable" in str(fault)

    def test_empty_command_name_is_127(self) -> None:
        """A script passes an empty name if a variable is not set."""
        with pytest.raises(CommandUnusable, match=r"^Cannot run '': No such file or directory[.]") as caught:
            Child(lambda: None).start([""], os.environ, mask=())
        assert caught.value.exit_code == 127

    def test_directory_is_126(self, tmp_path: Path) -> None:
        assert start_and_fail(str(tmp_path)).exit_code == 126

    def test_file_of_an_unknown_format_is_126(self, tmp_path: Path) -> None:
        script = tmp_path / "script"
        script.write_text("echo no first line\n")
        script.chmod(0o755)
        fault = start_and_fail(str(script))
        assert fault.exit_code == 126
        assert "#!/bin/sh" in str(fault)

    def test_arguments_too_long_are_126(self) -> None:
        with pytest.raises(CommandUnusable, match=os.strerror(errno.E2BIG)) as caught:
            Child(lambda: None).start(["true", "x" * 10_000_000], os.environ, mask=())
        assert caught.value.exit_code == 126


class TestSignalBeforeTheCommand:
    """Such a signal ends the broker. The command is never started."""

    @pytest.mark.parametrize("number", sorted(set(FORWARDED) - {signal.SIGWINCH}))
    @pytest.mark.parametrize("from_kernel", [True, False])
    def test_signal_prevents_the_start_and_gives_exit_code_128_plus_its_number(
        self, tmp_path: Path, number: signal.Signals, from_kernel: bool
    ) -> None:
        ends: list[str] = []
        child = Child(lambda: ends.append("end"))
        child.handle_signal(number, from_kernel=from_kernel)
        assert child.exit_code == child.wait() == 128 + number
        child.start(["touch", str(tmp_path / "ran")], os.environ, mask=())
        child.handle_signal(signal.SIGTERM, from_kernel=False)
        assert child.exit_code == 128 + number, "the first signal counts"
        assert ends == ["end"]
        assert not (tmp_path / "ran").exists()

    def test_signal_that_the_parent_ignores_does_not_prevent_the_start(self) -> None:
        """The program nohup ignores SIGHUP, and the command inherits that."""
        child = Child(lambda: None, ignored={signal.SIGHUP})
        child.handle_signal(signal.SIGHUP, from_kernel=False)
        assert child.exit_code is None
        child.handle_signal(signal.SIGTERM, from_kernel=False)
        assert child.exit_code == 128 + signal.SIGTERM

    def test_window_size_change_does_not_prevent_the_start(self) -> None:
        child = Child(lambda: None)
        child.handle_signal(signal.SIGWINCH, from_kernel=True)
        assert child.exit_code is None
