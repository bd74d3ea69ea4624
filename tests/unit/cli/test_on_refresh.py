"""The option --on-refresh of `exec`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.cli.parser import Parser
from broker.cli.sidecar_arguments import add_exec

if TYPE_CHECKING:
    import argparse


def parse(*arguments: str) -> argparse.Namespace:
    parser = Parser()
    add_exec(parser)
    return parser.parse_args([*arguments, "--", "true"])


@pytest.mark.parametrize(
    ("text", "parsed"), [("restart", "restart"), ("signal:HUP", "HUP"), ("signal:SIGUSR1", "USR1")]
)
def test_restart_and_signals_are_accepted(text: str, parsed: str) -> None:
    assert parse("--on-refresh", text).on_refresh == parsed
    assert parse(f"--on-refresh={text}").on_refresh == parsed


@pytest.mark.parametrize("text", ["", "reload", "signal", "signal:", "signal:KILL", "signal:1", "HUP", "restart:HUP"])
def test_anything_else_is_explained(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse("--on-refresh", text)
    assert caught.value.code == 2
    message = " ".join(capsys.readouterr().err.split())
    assert "expected restart, or signal: and one of HUP, INT, QUIT, TERM, USR1, USR2, WINCH, such as" in message
    assert message.endswith(f"signal:HUP; found '{text}'")


def test_without_it_nothing_happens_after_a_refresh() -> None:
    assert parse().on_refresh is None
