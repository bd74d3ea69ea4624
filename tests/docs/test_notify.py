"""docs/notify.md: its settings are valid, its commands are accepted, its numbers and messages are those of the code."""

from __future__ import annotations

import inspect
import re
import shlex
from pathlib import Path

import pytest

from broker.cli.parser import Parser
from broker.cli.sidecar_arguments import add_exec
from broker.core.notifications import MAXIMUM_AT_ONCE, RETRY_DELAYS, TRIES
from broker.core.notify_targets import SIGNALS, HttpTarget, NotifyTarget
from broker.notify import http_request, process_signal
from broker.runtime.command_refresh import RESTART_GRACE_SECONDS
from broker.settings.loader import load
from broker.settings.schema import Notify
from tests.docs.anchors import anchors
from tests.support.fakes import ROLE_ARN

PAGE = Path(__file__).parents[2] / "docs/notify.md"
TEXT = PAGE.read_text()
PLAIN = " ".join(TEXT.split())


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_settings_are_valid_and_show_every_key(tmp_path: Path) -> None:
    targets: list[NotifyTarget] = []
    for number, block in enumerate(blocks("yaml")):
        file = tmp_path / f"{number}.yaml"
        file.write_text(f"role_arn: {ROLE_ARN}\nregion: eu-west-1\n{block}")
        (profile,) = load({"BROKER_CONFIG": str(file)}).profiles
        targets += profile.notify
    assert [isinstance(target, HttpTarget) for target in targets] == [True, True, False, False]
    for key in Notify.model_fields:
        assert any(f"{key}: " in block for block in blocks("yaml")), key


def test_commands_are_accepted() -> None:
    parser = Parser()
    add_exec(parser)
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    assert [parser.parse_args(shlex.split(line)[2:]).on_refresh for line in lines] == ["HUP", "restart"]


def test_numbers_are_those_of_the_code() -> None:
    assert TRIES == 3
    assert f"after {RETRY_DELAYS[0].seconds} s and after {RETRY_DELAYS[1].seconds} s more" in PLAIN
    assert "At most four programs" in PLAIN
    assert MAXIMUM_AT_ONCE == 4
    assert f"waits up to {RESTART_GRACE_SECONDS:.0f} s" in PLAIN
    assert f"A try ends after {http_request.TRY_SECONDS:.0f} s." in PLAIN
    assert f"Signals are {', '.join(SIGNALS[:-1])} and {SIGNALS[-1]}." in PLAIN


def test_messages_are_those_of_the_code() -> None:
    code = inspect.getsource(process_signal)
    table = TEXT.split("| message |")[1]
    for words in (
        "No process of another container has the name",
        "which runs as another user",
        "expected a process ID",
    ):
        assert words in code
        assert words in table


@pytest.mark.parametrize("query", [line for block in blocks("promql") for line in block.splitlines()])
def test_queries_use_existing_metrics(query: str) -> None:
    assert re.findall(r"sts_broker_\w+", query)
    assert set(re.findall(r"sts_broker_\w+", query)) <= {
        *("sts_broker_notification_fault", "sts_broker_notifications_total")
    }


def test_links_have_a_target_and_an_existing_heading() -> None:
    for target in re.findall(r"\]\((?!https:)([^)]+)\)", TEXT):
        path, _, anchor = target.partition("#")
        page = (PAGE.parent / path).resolve() if path else PAGE
        assert page.exists(), target
        if anchor:
            assert anchor in anchors(page.read_text()), target
