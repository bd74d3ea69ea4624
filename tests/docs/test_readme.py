"""The commands of the README, run as they are written there."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.fakes import make_jwt

ROOT = Path(__file__).parents[2]
BLOCKS: list[str] = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
PLAY, TRUST = "python -m sandbox", "sts-broker trust render"
SHOWN = {
    "pip install": "tests/docs/test_docs.py compares the extras with pyproject.toml",
    PLAY: "below",
    TRUST: "below",
}
"""What each block begins with, and where it is tested."""
HOST_VARIABLES = {
    "AWS_PROFILE": "of-the-user",
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "of-the-user",
    "BROKER_PUBLISH_DIRECTORY": "/of-the-user",
}
"""Variables of the shell in which somebody pastes the commands."""


def find_block(text: str) -> str:
    """Return the only block with this text."""
    (block,) = (each for each in BLOCKS if text in each)
    return block


def find_free_ports(count: int) -> list[int]:
    """Return ports that are free now."""
    with ExitStack() as stack:
        bound = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in bound]


def run_shell(script: str, directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script in bash, with this Python as `python`."""
    kept = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "HOME": str(directory),
        "TMPDIR": str(directory),
    }
    return subprocess.run(
        ["bash", "-c", script],
        cwd=directory,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def test_every_block_is_tested() -> None:
    assert len(BLOCKS) == len(SHOWN)
    for text in SHOWN:
        find_block(text)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Return what the sandbox's commands printed, and the directory for temporary files.

    The ports are free ones, because a broker may run on this machine. A command that fails ends the subshell.
    """
    directory = tmp_path_factory.mktemp("play")
    (directory / ".aws").mkdir()
    (directory / ".aws/credentials").write_text("[default]\naws_access_key_id = x\naws_secret_access_key = y\n")
    endpoint, health = find_free_ports(2)
    block = find_block(PLAY).replace("9911", str(endpoint)).replace("  . .venv/bin/activate\n", "  set -e\n")
    addresses = {"BROKER_ENDPOINT_ADDRESS": f"127.0.0.1:{endpoint}", "BROKER_HEALTH_ADDRESS": f"127.0.0.1:{health}"}
    lines = ["before=$(set)", f"{block}code=$?", "after=$(set)", "echo code $code"]
    script = "\n".join([*lines, 'diff <(echo "$before") <(echo "$after")'])
    done = run_shell(script, directory, **HOST_VARIABLES, **addresses)
    return done.stdout + done.stderr, directory


def test_play_shows_token_doctor_and_the_role_of_the_app(played: tuple[str, Path]) -> None:
    printed, _ = played
    assert "\ncode 0\n" in printed, printed
    assert "subject      system:serviceaccount:demo:app" in printed
    assert re.search(r"^ok +exchange ", printed, re.MULTILINE)
    assert re.search(r"^No problems found\.", printed, re.MULTILINE)
    assert re.search(r"^arn:aws:sts::\d+:assumed-role/app/demo\.app-7d9c5b6f8-x2x7k$", printed, re.MULTILINE)


def test_play_leaves_no_variable_no_file_and_no_process(played: tuple[str, Path]) -> None:
    printed, directory = played
    difference = printed.split("\ncode 0\n")[1]
    names = set(re.findall(r"^[<>] (\w+)=", difference, re.MULTILINE))
    assert names <= {"before", "code", "_", "PIPESTATUS", "BASH_LINENO", "LINENO", "SECONDS", "RANDOM", "EPOCHSECONDS"}
    assert [path.name for path in directory.iterdir()] == [".aws"]
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/environ") if is_readable(path)]
    assert not [each for each in commands if f"TMPDIR={directory}".encode() in each]


def is_readable(path: Path) -> bool:
    try:
        path.read_bytes()
    except OSError:
        return False
    return True


def test_trust_commands_work_as_written(tmp_path: Path) -> None:
    """All but the last, which fetches the documents of an issuer that does not exist: it says so and fails."""
    token = make_jwt(issued_at=datetime.now(UTC), sub="system:serviceaccount:payments:api")
    (tmp_path / "token.jwt").write_text(token)
    block = find_block(TRUST)
    *first, last = block.splitlines()
    assert last.startswith("sts-broker issuer check ")
    done = run_shell("set -e\n" + "\n".join(first), tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    policy = json.loads((tmp_path / "trust.json").read_text())
    assert "oidc-provider/oidc.example/cluster" in json.dumps(policy)
    assert "allowed" in done.stdout
    checked = run_shell(last, tmp_path)
    assert checked.returncode == 1
    assert "oidc.example" in checked.stdout
