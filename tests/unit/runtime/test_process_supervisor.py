"""What is said of a command that cannot be started, and what a signal does before there is one.

What it does with processes is tested with the real program, in tests/process/test_exec.py.
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


def refused(command: str) -> CommandUnusable:
    """Return why the command cannot be started."""
    with pytest.raises(CommandUnusable) as caught:
        Child(lambda: None).start([command], os.environ, mask=())
    return caught.value


class TestUnusableCommand:
    """The exit codes are those of a shell; the sentence names the command and what to change."""

    def test_name_that_no_directory_of_path_has_is_127(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        fault = refused("no-such-command")
        assert fault.exit_code == 127
        assert str(fault) == (
            f"Cannot run no-such-command: No such file or directory. No directory of PATH has it: {tmp_path}"
        )

    def test_path_that_is_not_there_is_127(self, tmp_path: Path) -> None:
        fault = refused(str(tmp_path / "gone"))
        assert fault.exit_code == 127
        assert str(fault).endswith("Write the path as it is in this container.")

    def test_script_whose_interpreter_is_missing_says_so(self, tmp_path: Path) -> None:
        script = tmp_path / "script"
        script.write_text("#!/no/such/interpreter\n")
        script.chmod(0o755)
        fault = refused(str(script))
        assert fault.exit_code == 127
        assert "interpreter of its first line" in str(fault)

    def test_file_that_is_not_executable_is_126(self, tmp_path: Path) -> None:
        (tmp_path / "data").write_text("x")
        fault = refused(str(tmp_path / "data"))
        assert fault.exit_code == 126
        assert "Permission denied. Make it executable" in str(fault)

    def test_name_that_is_empty_is_127(self) -> None:
        """As of a variable that a script has not set."""
        with pytest.raises(CommandUnusable, match=r"^Cannot run '': No such file or directory[.]") as caught:
            Child(lambda: None).start([""], os.environ, mask=())
        assert caught.value.exit_code == 127

    def test_directory_is_126(self, tmp_path: Path) -> None:
        assert refused(str(tmp_path)).exit_code == 126

    def test_file_of_no_known_kind_is_126(self, tmp_path: Path) -> None:
        script = tmp_path / "script"
        script.write_text("echo no first line\n")
        script.chmod(0o755)
        fault = refused(str(script))
        assert fault.exit_code == 126
        assert "#!/bin/sh" in str(fault)

    def test_arguments_too_long_are_126(self) -> None:
        with pytest.raises(CommandUnusable, match=os.strerror(errno.E2BIG)) as caught:
            Child(lambda: None).start(["true", "x" * 10_000_000], os.environ, mask=())
        assert caught.value.exit_code == 126


class TestSignalBeforeTheCommand:
    """It ends the broker, and the command is never started."""

    @pytest.mark.parametrize("number", sorted(set(FORWARDED) - {signal.SIGWINCH}))
    @pytest.mark.parametrize("from_kernel", [True, False])
    def test_it_is_over_with_128_and_the_number(
        self, tmp_path: Path, number: signal.Signals, from_kernel: bool
    ) -> None:
        told: list[str] = []
        child = Child(lambda: told.append("over"))
        child.take(number, from_kernel=from_kernel)
        assert child.exit_code == child.wait() == 128 + number
        child.start(["touch", str(tmp_path / "ran")], os.environ, mask=())
        child.take(signal.SIGTERM, from_kernel=False)
        assert child.exit_code == 128 + number, "the first counts"
        assert told == ["over"]
        assert not (tmp_path / "ran").exists()

    def test_signal_that_whoever_started_us_ignores_ends_nothing(self) -> None:
        """As with nohup: the command inherits that it is ignored."""
        child = Child(lambda: None, ignored={signal.SIGHUP})
        child.take(signal.SIGHUP, from_kernel=False)
        assert child.exit_code is None
        child.take(signal.SIGTERM, from_kernel=False)
        assert child.exit_code == 128 + signal.SIGTERM

    def test_window_that_changes_its_size_ends_nothing(self) -> None:
        child = Child(lambda: None)
        child.take(signal.SIGWINCH, from_kernel=True)
        assert child.exit_code is None
