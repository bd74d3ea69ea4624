"""`sts-broker demo` as a person meets it: in a pipe, on a terminal, interrupted, and when something goes wrong."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox.demo.drawing import Window, lives
from sandbox.demo.stage import Pace
from sandbox.demo.story import Life
from tests.process.leaks import Canaries
from tests.support.program import children_of, command, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

pytestmark = pytest.mark.process

CHECKOUT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 40.0
HOSTILE = {
    "AWS_PROFILE": "a-profile-of-the-host",
    "AWS_ACCESS_KEY_ID": "AKIAOFTHEHOST",
    "AWS_SECRET_ACCESS_KEY": "of-the-host",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
}
# Runs the demo with a script for the box's STS, then tells what it left behind, and which secrets there were.
DRIVER = """
import json, sys, threading
from pathlib import Path
from sandbox.aws import faults
from sandbox.demo import command as demo
seconds, prepare, report = sys.argv[1:]
boxes, tokens = [], []
def prepared(box):
    boxes.append(box)
    mint = box.issuer.mint
    def remember(**options):
        tokens.append(mint(**options))
        return tokens[-1]
    box.issuer.mint = remember
    exec(prepare)
code = demo.run(seconds=float(seconds), prepare=prepared)
sessions = boxes[0].sts._authority._sessions.values()
secrets = tokens + [text for one in sessions for text in (one.secret_access_key, one.session_token)]
names = [thread.name for thread in threading.enumerate()]
Path(report).write_text(json.dumps({"secrets": secrets, "threads": names}))
sys.exit(code)
"""
# Makes its standard input the controlling terminal, so that Ctrl-C in it is a signal.
ON_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)


@dataclass(frozen=True, slots=True)
class Host:
    """Where a demo runs: its environment has a temporary directory of its own."""

    root: Path

    def environment(self, **more: str) -> dict[str, str]:
        """Return what the shell of a person would hand on."""
        return {"PATH": os.environ["PATH"], "HOME": str(self.root), "TMPDIR": str(self.temporary), **HOSTILE, **more}

    @property
    def temporary(self) -> Path:
        """Where the demo makes its directory."""
        return self.root / "tmp"

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `sts-broker demo` with its output in a pipe."""
        return self.start_command(command("demo", *arguments))

    def start_command(self, line: Sequence[str]) -> subprocess.Popen[str]:
        """Start a command with its output in a pipe."""
        return subprocess.Popen(
            line,
            env=self.environment(),
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def drive(self, seconds: float, prepare: str = "") -> tuple[int, str, dict[str, list[str]]]:
        """Run the demo with a script for its box. Return exit code, output and the driver's report."""
        report = self.root / "report.json"
        line = [sys.executable, "-W", "error", "-c", DRIVER, str(seconds), prepare, str(report)]
        code, output = ended(self.start_command(line))
        return code, output, json.loads(report.read_text())


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """Let what is started take Ctrl-C, even where the tests run in a shell's background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """Make a host on which every demo has tidied up in the end."""
    made = Host(tmp_path)
    made.temporary.mkdir()
    yield made
    assert list(made.temporary.iterdir()) == []


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=PATIENCE_SECONDS)
    return process.returncode, output


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def descendants(process: subprocess.Popen[str]) -> list[int]:
    """Return broker and app, once both run."""
    return eventually(lambda: children if len(children := children_of(process.pid)) == 2 else [], within=20)


def test_ten_seconds_in_a_pipe_show_every_actor_and_end_well(host: Host) -> None:
    code, output = ended(host.start("--seconds", "10"))
    assert code == 0, output
    for line in (
        r" +0\.\d  demo +tokens live 10 s, credentials 8 s; in a cluster an hour each",
        r" +0\.\d  kubelet  projected token 1 \([0-9a-f]{12}\), lives 10 s",
        r" +\d+\.\d  kubelet  rotated: token 2 \([0-9a-f]{12}\), lives 10 s",
        r" +\d+\.\d  STS      token [0-9a-f]{12}: gave a session, request [0-9a-f-]{36}",
        r" +\d+\.\d  broker   published generation 1: \d\.\d s to live, next refresh in \d\.\d s",
        r" +\d+\.\d  broker   published generation 2: .*",
        r" +\d+\.\d  app      call \d+ is signed by generation 2, key ASIA\.\.\.[A-Z0-9]{4}, 0 failed",
        r"  kubelet  \d rotations? of a token that lives 10 s",
        r"  app      \d+ calls, 0 failed",
        r"           arn:aws:sts::123456789012:assumed-role/app/demo\.app-7d9c5b6f8-x2x7k",
        r"OK: all \d+ calls of one boto3 session succeeded, across \d refresh(es)?\.",
    ):
        assert re.search(f"^{line}$", output, re.MULTILINE), f"{line} is not in {output}"
    assert "\x1b" not in output
    assert not re.search(r"^ +\d+\.\d  \S+ +!", output, re.MULTILINE)


def test_pointers_of_the_last_line_exist(host: Host) -> None:
    _, output = ended(host.start("--seconds", "4"))
    readme = (CHECKOUT / "README.md").read_text()
    for heading in re.findall(r'"([^"]+)"', output.splitlines()[-1]):
        assert f"\n## {heading}\n" in readme


def test_demo_leaves_no_thread_and_no_secret_behind(host: Host) -> None:
    code, output, report = host.drive(7)
    assert code == 0, output
    assert report["threads"] == ["MainThread"]
    canaries = Canaries()
    for number, secret in enumerate(report["secrets"]):
        canaries.add(str(number), secret)
    assert len(canaries.names) >= 5  # a token, and two of each session
    assert canaries.found_in(output) == set()


def test_refused_exchanges_fail_the_demo_in_the_brokers_own_words(host: Host) -> None:
    code, output, _ = host.drive(4, "box.sts.always(faults.ACCESS_DENIED)")
    assert code == 1
    assert re.search(r"  STS      ! token \w+: refused it: AccessDenied", output)
    conclusion = output[output.index("FAILED: ") :]
    assert "the broker published 0 generations, 2 are needed; the last trouble: Cannot assume role" in conclusion
    assert "Traceback" not in output


def test_exchanges_that_fail_on_the_way_are_no_failure_of_the_demo(host: Host) -> None:
    code, output, _ = host.drive(8, "box.sts.script(None, faults.THROTTLING)")
    assert code == 0, output
    assert re.search(r"^  STS      \d exchanges, 1 failed$", output, re.MULTILINE)


def test_failed_call_of_the_app_fails_the_demo(host: Host) -> None:
    refuse = "faults.Refuse(code='ExpiredToken', message='Over.', status=403)"
    code, output, _ = host.drive(7, f"box.sts.script(None, None, {refuse}, action='GetCallerIdentity')")
    assert code == 1
    assert re.search(r"  app      ! call 3 FAILED: ExpiredToken", output)
    assert re.search(r"  - 1 call of the app failed, the first at \d+\.\d s: ExpiredToken", output)


def test_refused_call_that_the_sdk_hides_fails_the_demo(host: Host) -> None:
    code, output, _ = host.drive(7, "box.sts.script(None, faults.INTERNAL_FAILURE, action='GetCallerIdentity')")
    assert code == 1
    assert re.search(r"  app      \d+ calls, 0 failed, 1 retry inside the SDK", output)
    assert re.search(r"  - STS refused 1 call of the app, .* InternalFailure .*; the SDK tried again", output)


def test_time_for_one_generation_only_fails_the_demo_and_says_what_is_enough(host: Host) -> None:
    code, output = ended(host.start("--seconds", "0.2"))
    assert code == 1
    assert re.search(r"  - .* are needed: give it time, --seconds 10 is enough", output)


def test_sigterm_ends_the_demo_and_all_it_started(host: Host) -> None:
    process = host.start("--seconds", "60")
    children = descendants(process)
    process.terminate()
    code, output = ended(process)
    assert code == 1
    assert "demo     SIGTERM: ending the app and the broker" in output
    assert "the broker published 1 generation, 2 are needed" in output
    assert all(is_gone(pid) for pid in children)


@pytest.mark.parametrize(("place", "name"), [(0, "broker"), (1, "app")])
def test_program_that_dies_ends_the_demo_and_is_named(host: Host, place: int, name: str) -> None:
    process = host.start("--seconds", "60")
    children = descendants(process)
    os.kill(children[place], signal.SIGKILL)
    code, output = ended(process)
    assert code == 1
    assert f"  - the {name} ended by itself with exit code -9" in output
    assert all(is_gone(pid) for pid in children)


def test_ctrl_c_on_a_terminal_gives_it_back_with_the_summary(host: Host) -> None:
    terminal = Terminal(host, columns=80, lines=24)
    terminal.read_until("generations seen: 2")
    terminal.type("\x03")
    code = terminal.wait()
    shown, left_behind = terminal.text.split("\x1b[?1049l", 1)
    assert code == 0, left_behind
    assert "\x1b[?1049h" in shown
    assert "A boto3 app calls AWS while its token and its keys expire under it. Ctrl-C ends." in shown
    assert re.search(r"bound token .*1  .*━+.* s left, rotation in", plain(shown))
    assert "demo     Ctrl-C: ending the app and the broker" in plain(shown)
    assert re.search(r"calls signed by +1[1·]*2", plain(left_behind))
    assert re.search(r"  app      \d+ calls, 0 failed", left_behind)
    assert "\x1b[?25h" in terminal.text  # the cursor is visible again
    assert max(map(len, plain(left_behind).splitlines())) <= 80


def test_small_terminal_gets_lines(host: Host) -> None:
    terminal = Terminal(host, columns=60, lines=24)
    terminal.read_until("published generation 1")
    terminal.type("\x03")
    assert terminal.wait() == 1
    assert "\x1b" not in terminal.text


@pytest.mark.parametrize(
    ("seconds", "session", "token"), [(1, 5, 7), (10, 8, 10), (20, 16, 20), (60, 20, 25), (3600, 20, 25)]
)
def test_pace_fits_the_time_there_is(seconds: float, session: int, token: int) -> None:
    pace = Pace(session_lifetime=timedelta(seconds=session), token_lifetime=timedelta(seconds=token))
    assert Pace.of(seconds) == pace


def test_timeline_numbers_the_life_that_is_older_than_its_window() -> None:
    noon = datetime(2026, 11, 23, 12, tzinfo=UTC)

    def life(number: int, begun_after: int) -> Life:
        begun_at = noon + timedelta(seconds=begun_after)
        expires_at = begun_at + timedelta(seconds=8)
        return Life(number=number, name="", begun_at=begun_at, due_at=expires_at, expires_at=expires_at)

    window = Window(begun_at=noon + timedelta(seconds=6), span=timedelta(seconds=10), columns=10)
    told = [life(9, 0), life(10, 5), life(11, 10)]
    assert lives(told, window=window, now=noon + timedelta(seconds=13)).plain == "10━━11━━  "


def plain(text: str) -> str:
    """Return the text without colours and cursor movements."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "")


class Terminal:
    """`sts-broker demo --seconds 10` with a terminal of its own."""

    def __init__(self, host: Host, *, columns: int, lines: int) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._process = subprocess.Popen(
            [sys.executable, "-c", ON_TERMINAL, *command("demo", "--seconds", "10")],
            env=host.environment(TERM="xterm-256color", LC_ALL="C.UTF-8"),
            cwd=CHECKOUT,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self._bytes = b""

    @property
    def text(self) -> str:
        """All it has shown so far."""
        return self._bytes.decode(errors="replace")

    def read_until(self, words: str) -> None:
        """Read until these words have been shown."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while words not in plain(self.text):
            assert time.monotonic() < deadline, self.text
            assert self._read(), self.text

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())

    def wait(self) -> int:
        """Read to the end. Return the exit code."""
        while self._read():
            pass
        os.close(self._master)
        return self._process.wait(PATIENCE_SECONDS)

    def _read(self) -> bool:
        try:
            data = os.read(self._master, 65536)
        except OSError:  # EIO: nobody holds the other end any more
            return False
        self._bytes += data
        return bool(data)
