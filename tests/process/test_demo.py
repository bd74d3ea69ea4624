"""`sts-broker demo` as a user runs it: in a pipe, on a terminal, interrupted, and with faults."""

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

from sandbox.aws.calls import Call
from sandbox.demo.demo_run import Pace
from sandbox.demo.drawing import Window, draw_lifespans
from sandbox.demo.progress import AppCall, Lifespan, Progress
from sandbox.demo.verdict import find_shortcomings
from tests.process.leaks import Canaries
from tests.support.program import children_of, command, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

pytestmark = pytest.mark.process

CHECKOUT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 40.0
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOSTILE = {
    "AWS_PROFILE": "a-profile-of-the-host",
    "AWS_ACCESS_KEY_ID": "AKIAOFTHEHOST",
    "AWS_SECRET_ACCESS_KEY": "of-the-host",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
}
GOOD_RUN_SECONDS = 7
# Runs the demo with `prepare`, code for the simulator. Then writes a report with the remaining threads and the secrets.
DRIVER = """
import json, sys, threading
from pathlib import Path
from sandbox.aws import faults
from sandbox.demo import command as demo
seconds, prepare, report = sys.argv[1:]
simulators, tokens = [], []
def prepared(simulator):
    simulators.append(simulator)
    mint = simulator.issuer.mint
    def remember(**options):
        tokens.append(mint(**options))
        return tokens[-1]
    simulator.issuer.mint = remember
    sts = simulator.sts
    exec(prepare)
code = demo.run(seconds=float(seconds), prepare=prepared)
sessions = simulators[0].sts._authority._sessions.values()
secrets = tokens + [text for one in sessions for text in (one.secret_access_key, one.session_token)]
names = [thread.name for thread in threading.enumerate()]
Path(report).write_text(json.dumps({"secrets": secrets, "threads": names}))
sys.exit(code)
"""
# Makes standard input the controlling terminal, so that Ctrl-C sends a signal.
ON_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)


@dataclass(frozen=True, slots=True)
class Host:
    """A directory in which demos run, with an environment that has its own temporary directory."""

    root: Path

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of a user's shell, with AWS settings that the demo must ignore."""
        return {"PATH": os.environ["PATH"], "HOME": str(self.root), "TMPDIR": str(self.temporary), **HOSTILE, **more}

    @property
    def temporary(self) -> Path:
        """The directory in which the demo creates its own."""
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
        """Run the demo with `prepare`, code for its `simulator` and `sts`. Return exit code, output and report."""
        report = self.root / "report.json"
        line = [sys.executable, "-W", "error", "-c", DRIVER, str(seconds), prepare, str(report)]
        code, output = wait_for_end(self.start_command(line))
        return code, output, json.loads(report.read_text())


@dataclass(frozen=True, slots=True)
class GoodRun:
    """The output and the driver's report of a demo without faults."""

    output: str
    report: dict[str, list[str]]


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """Let started programs receive Ctrl-C. In the background of a shell, SIGINT is ignored and inherited as such."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """Create a host, and check at the end that every demo has removed its files."""
    host = Host(tmp_path)
    host.temporary.mkdir()
    yield host
    assert list(host.temporary.iterdir()) == []


@pytest.fixture(scope="module")
def good_run(tmp_path_factory: pytest.TempPathFactory) -> GoodRun:
    """Run one demo without faults for all tests that read its output."""
    host = Host(tmp_path_factory.mktemp("good-run"))
    host.temporary.mkdir()
    code, output, report = host.drive(GOOD_RUN_SECONDS)
    assert code == 0, output
    assert list(host.temporary.iterdir()) == []
    return GoodRun(output=output, report=report)


def wait_for_end(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=PATIENCE_SECONDS)
    return process.returncode, output


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def wait_for_children(process: subprocess.Popen[str]) -> list[int]:
    """Return the process ids of broker and app as soon as both run."""
    return eventually(lambda: children if len(children := children_of(process.pid)) == 2 else [], within=20)


@pytest.mark.xdist_group("demo")
def test_output_in_a_pipe_shows_every_actor(good_run: GoodRun) -> None:
    for line in (
        r" +0\.\d  demo +short lifetimes: 8 s for tokens, 6 s for credentials; in a cluster, typically one hour",
        r" +0\.\d  kubelet  projected token 1 \([0-9a-f]{12}\), valid for 8 s",
        r" +\d+\.\d  kubelet  rotated to token 2 \([0-9a-f]{12}\), valid for 8 s",
        r" +\d+\.\d  STS      token [0-9a-f]{12}: issued credentials, request [0-9a-f-]{36}",
        r" +\d+\.\d  broker   published generation 1: expires in \d\.\d s, next refresh in \d\.\d s",
        r" +\d+\.\d  broker   published generation 2: .*",
        r" +\d+\.\d  app      call \d+ is signed by generation 2, key ASIA\.\.\.[A-Z0-9]{4}; failed calls so far: 0",
        r"  kubelet  \d rotations? of the token, valid for 8 s",
        r"  broker   \d generations of credentials, valid for [56] s",  # 5 where each publication took over a second
        r"  app      \d+ calls, 0 failed",
        r"           shortest remaining lifetime at a call: \d\.\d s",
        r"           arn:aws:sts::123456789012:assumed-role/app/demo\.app-7d9c5b6f8-x2x7k",
        r"OK: all \d+ calls of one boto3 session succeeded, across \d refresh(es)?\.",
    ):
        assert re.search(f"^{line}$", good_run.output, re.MULTILINE), f"{line} is not in {good_run.output}"
    assert "\x1b" not in good_run.output
    assert not re.search(r"^ +\d+\.\d  \S+ +!", good_run.output, re.MULTILINE)


@pytest.mark.xdist_group("demo")
def test_headings_in_the_last_line_exist(good_run: GoodRun) -> None:
    readme = (CHECKOUT / "README.md").read_text()
    headings = re.findall(r'"([^"]+)"', good_run.output.splitlines()[-1])
    assert len(headings) == 2
    for heading in headings:
        assert f"\n## {heading}\n" in readme


@pytest.mark.xdist_group("demo")
def test_demo_leaves_no_thread_and_shows_no_secret(good_run: GoodRun) -> None:
    assert good_run.report["threads"] == ["MainThread"]
    canaries = Canaries()
    for number, secret in enumerate(good_run.report["secrets"]):
        canaries.add(str(number), secret)
    assert len(canaries.names) >= 5  # a token, and two secrets of each session
    assert canaries.found_in(good_run.output) == set()


def test_refused_exchanges_fail_the_demo_with_the_brokers_message(host: Host) -> None:
    code, output, _ = host.drive(3, "sts.always(faults.ACCESS_DENIED)")
    assert code == 1
    assert re.search(r"  STS      ! token \w+: refused: AccessDenied", output)
    conclusion = output[output.index("FAILED: ") :]
    assert "The broker published 0 generations; 2 are needed. Last problem: Cannot assume role" in conclusion
    assert "Traceback" not in output


def test_throttled_exchange_does_not_fail_the_demo(host: Host) -> None:
    code, output, _ = host.drive(6, "sts.script(None, faults.THROTTLING)")
    assert code == 0, output
    assert re.search(r"^  STS      \d exchanges, 1 failed$", output, re.MULTILINE)


def test_failed_and_hidden_calls_of_the_app_fail_the_demo(host: Host) -> None:
    refuse = "faults.Refuse(code='ExpiredToken', message='Over.', status=403)"
    prepare = f"sts.script(None, faults.INTERNAL_FAILURE, None, {refuse}, action='GetCallerIdentity')"
    code, output, _ = host.drive(3, prepare)  # the second call is retried by the SDK, so the third one fails
    assert code == 1
    assert re.search(r"  app      ! call 3 FAILED: ExpiredToken", output)
    assert re.search(r"  app      \d+ calls, 1 failed, 1 retry inside the SDK", output)
    assert re.search(r"  - 1 call of the app failed, the first at \d+\.\d s: ExpiredToken", output)
    assert re.search(r"  - STS refused 2 calls of the app, .* InternalFailure .*; the SDK retried", output)


def test_refused_call_that_the_sdk_retried_is_a_shortcoming_without_a_failed_call() -> None:
    progress = Progress(began_at=NOON, published=Path("default.json"))
    progress.calls = [AppCall(at=NOON, access_key_id=key, generation=1, remaining=None, failure="") for key in "AB"]
    call = Call(
        time=NOON,
        action="GetCallerIdentity",
        role_arn="",
        session_name="",
        duration_seconds=None,
        token_fingerprint="",
        outcome="InternalFailure",
    )
    progress.add_sts_call(call)
    assert find_shortcomings(progress, ended_after=timedelta(seconds=60)) == [
        "STS refused 1 call of the app, the first at 0.0 s: InternalFailure; the SDK retried"
    ]


def test_time_for_only_one_generation_fails_the_demo_with_advice(host: Host) -> None:
    code, output = wait_for_end(host.start("--seconds", "0.2"))
    assert code == 1
    assert re.search(r"  - .* are needed\. Run the demo longer, for example with --seconds 10\.", output)


def test_sigterm_ends_the_demo_and_its_programs(host: Host) -> None:
    process = host.start("--seconds", "60")
    children = wait_for_children(process)
    process.terminate()
    code, output = wait_for_end(process)
    assert code == 1
    assert "demo     SIGTERM: stopping the app and the broker" in output
    assert "The broker published 1 generation; 2 are needed" in output
    assert all(is_gone(pid) for pid in children)


@pytest.mark.parametrize(("place", "name"), [(0, "broker"), (1, "app")])
def test_program_that_is_killed_ends_the_demo_and_is_named(host: Host, place: int, name: str) -> None:
    process = host.start("--seconds", "60")
    children = wait_for_children(process)
    os.kill(children[place], signal.SIGKILL)
    code, output = wait_for_end(process)
    assert code == 1
    assert f"  - The {name} ended unexpectedly with exit code -9" in output
    assert all(is_gone(pid) for pid in children)


def test_ctrl_c_restores_the_terminal_and_prints_the_summary(host: Host) -> None:
    terminal = Terminal(host, columns=80, lines=24)
    terminal.read_until("generations used: 2")
    terminal.type("\x03")
    code = terminal.wait()
    screen, printed = terminal.text.split("\x1b[?1049l", 1)
    assert code == 0, printed
    assert "\x1b[?1049h" in screen
    assert "STS federation broker, demo with a local AWS simulator" in plain(screen)
    assert "A boto3 app calls AWS while the broker refreshes its credentials. Ctrl-C ends." in screen
    assert re.search(r"bound token .*1  .*━+.* s left, rotation in", plain(screen))
    assert "demo     Ctrl-C: stopping the app and the broker" in plain(screen)
    assert re.search(r"calls signed by +1[1·]*2", plain(printed))
    assert re.search(r"  app      \d+ calls, 0 failed", printed)
    assert "\x1b[?25h" in terminal.text  # the cursor is visible again
    assert max(map(len, plain(printed).splitlines())) <= 80


def test_small_terminal_gets_lines(host: Host) -> None:
    terminal = Terminal(host, columns=60, lines=24)
    terminal.read_until("published generation 1")
    terminal.type("\x03")
    assert terminal.wait() == 1
    assert "\x1b" not in terminal.text


@pytest.mark.parametrize(
    ("seconds", "session", "token"), [(1, 5, 7), (10, 8, 10), (20, 16, 20), (60, 20, 25), (3600, 20, 25)]
)
def test_lifetimes_fit_the_length_of_the_demo(seconds: float, session: int, token: int) -> None:
    pace = Pace(session_lifetime=timedelta(seconds=session), token_lifetime=timedelta(seconds=token))
    assert Pace.of(seconds) == pace


def test_timeline_numbers_a_lifespan_that_began_before_its_window() -> None:
    def lifespan(number: int, began_after: int) -> Lifespan:
        began_at = NOON + timedelta(seconds=began_after)
        expires_at = began_at + timedelta(seconds=8)
        return Lifespan(number=number, name="", began_at=began_at, due_at=expires_at, expires_at=expires_at)

    window = Window(began_at=NOON + timedelta(seconds=6), span=timedelta(seconds=10), columns=10)
    spans = [lifespan(9, 0), lifespan(10, 5), lifespan(11, 10)]
    assert draw_lifespans(spans, window=window, now=NOON + timedelta(seconds=13)).plain == "10━━11━━  "


def plain(text: str) -> str:
    """Return the text without colors and cursor movements."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "")


class Terminal:
    """`sts-broker demo --seconds 10` on a terminal of its own."""

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
        """All output so far."""
        return self._bytes.decode(errors="replace")

    def read_until(self, words: str) -> None:
        """Read until these words appear."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while words not in plain(self.text):
            assert time.monotonic() < deadline, self.text
            assert self._read(), self.text

    def type(self, keys: str) -> None:
        """Type keys."""
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
        except OSError:  # EIO: the other end is closed
            return False
        self._bytes += data
        return bool(data)
