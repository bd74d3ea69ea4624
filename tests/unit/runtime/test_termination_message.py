"""The termination message: its lines and their order, its bound, and whose file it overwrites."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NoReturn

import pytest

from broker.core import events
from broker.core.errors import ConfigurationError, RoleDenied, SourceUnavailable, TokenUnavailable
from broker.core.schedule import Phase
from broker.core.status import Status
from broker.runtime import termination_message
from broker.runtime.termination_message import MAXIMUM_BYTES, TerminationMessage, write_message
from tests.support.fakes import FakeClock, make_chained, make_generation, make_jwt, make_profile, make_token

if TYPE_CHECKING:
    from pathlib import Path

    from broker.core.errors import BrokerError
    from broker.core.events import Event
    from broker.core.model import ProfileSpec

NOW = FakeClock().read()
DENIED = RoleDenied("STS denied the role.", "Change the trust policy.")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "termination-log"
    path.touch()
    return path


class World:
    """A status and the message, which get the same events."""

    def __init__(self, file: Path, *profiles: ProfileSpec) -> None:
        self._status = Status(profiles or (make_profile(),))
        self.message = TerminationMessage(str(file), self._status.snapshot)

    def record(self, *happened: Event) -> None:
        for event in happened:
            self._status.record(event)
            self.message.record(event)


def fail(profile: str = "default", error: BrokerError = DENIED) -> Event:
    return events.ExchangeFailed(
        at=NOW,
        profile=profile,
        error=error,
        duration=timedelta(seconds=1),
        fingerprint="f",
        phase=Phase.STARTING,
        failures=1,
        retry_in=timedelta(seconds=60),
    )


def publish(profile: str = "default") -> tuple[Event, Event]:
    generation = make_generation(profile)
    return (
        events.Exchanged(at=NOW, generation=generation, duration=timedelta(seconds=1)),
        events.Published(at=NOW, generation=generation, refresh_at=NOW.now),
    )


def test_fault_is_written_with_its_remedy_and_cleared_when_it_is_over(file: Path) -> None:
    world = World(file)
    world.record(fail())
    assert file.read_text() == (
        "sts-broker: profile default: STS denied the role. Change the trust policy. [role_denied]\n"
    )
    world.record(*publish())
    assert file.read_text() == ""


@pytest.mark.parametrize(
    ("unfit", "fit"),
    [
        (
            events.TokenUnfit(at=NOW, profile="default", error=TokenUnavailable("No token.")),
            events.TokenObserved(at=NOW, profile="default", token=make_token()),
        ),
        (
            events.SourceUnfit(at=NOW, profile="default", error=SourceUnavailable("No source.")),
            events.SourceObserved(at=NOW, profile="default"),
        ),
    ],
)
def test_message_is_cleared_by_the_event_that_ends_the_fault(file: Path, unfit: Event, fit: Event) -> None:
    world = World(file)
    world.record(*publish(), unfit)
    assert file.read_text().startswith("sts-broker: profile default: No ")
    world.record(fit)
    assert file.read_text() == ""


def test_most_urgent_fault_is_first(file: Path) -> None:
    names = ("optional", "served", "chained", "denied")
    chained = make_chained("chained", "denied")
    profiles = [chained if name == "chained" else make_profile(name, required=name != "optional") for name in names]
    world = World(file, *profiles, make_profile("healthy"))
    world.record(*publish("served"), *(fail(name) for name in ("optional", "served", "denied")))
    world.record(events.SourceUnfit(at=NOW, profile="chained", error=SourceUnavailable("denied has none.")))
    found = [line.split(": ")[1] for line in file.read_text().splitlines()]
    assert found == ["profile denied", "profile chained", "profile served", "profile optional"]


def test_file_is_not_written_again_while_the_faults_are_the_same(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    monkeypatch.setattr(termination_message, "write_message", lambda _, text: written.append(text))
    world = World(file)
    world.record(fail(), fail(), *publish(), *publish())
    assert len(written) == 2


def test_message_has_at_most_what_the_kubelet_shows_and_the_first_lines_are_kept(file: Path) -> None:
    names = [f"profile-{number}" for number in range(200)]
    world = World(file, *map(make_profile, names))
    world.record(*map(fail, names))
    content = file.read_bytes()
    assert MAXIMUM_BYTES - 10 < len(content) <= MAXIMUM_BYTES
    assert content.startswith(b"sts-broker: profile profile-0: ")
    assert content.decode().endswith("…\n")


@pytest.mark.parametrize("shift", range(3))
def test_cut_does_not_split_a_character(file: Path, shift: int) -> None:
    write_message(str(file), "x" * shift + "…" * MAXIMUM_BYTES)
    assert file.read_text().startswith(f"sts-broker: {'x' * shift}……")


def test_tokens_and_control_characters_are_removed(file: Path) -> None:
    token = make_jwt()
    write_message(str(file), f"bad \x1b[2J {token}")
    assert file.read_text() == "sts-broker: bad ?[2J <redacted>\n"


def test_fault_with_several_lines_is_one_line(file: Path) -> None:
    World(file).record(fail(error=RoleDenied("one\ntwo")))
    assert file.read_text() == "sts-broker: profile default: one two [role_denied]\n"


def test_shorter_message_replaces_a_longer_one_completely(file: Path) -> None:
    write_message(str(file), "long " * 100)
    write_message(str(file), "short")
    assert file.read_text() == "sts-broker: short\n"


@pytest.mark.parametrize("content", ["the app failed\n", "sts", "\0"])
@pytest.mark.parametrize("text", ["a fault", ""])
def test_file_with_the_message_of_another_program_is_kept(file: Path, content: str, text: str) -> None:
    file.write_text(content)
    write_message(str(file), text)
    assert file.read_text() == content


@pytest.mark.parametrize("path", ["", "/no/such/file", "/proc/self/mem", "with\0zero", "/dev/null"])
def test_path_that_is_no_file_to_write_to_is_ignored(path: str) -> None:
    write_message(path, "a fault")


def test_end_by_a_bug_comes_first_without_the_text_of_the_exception(file: Path) -> None:
    def crash() -> NoReturn:
        raise ValueError("AKIASECRET")

    world = World(file)
    world.record(fail())
    with pytest.raises(ValueError, match="AKIASECRET") as caught:
        crash()
    world.message.record_end(caught.value)
    first, second = file.read_text().splitlines()
    assert first.startswith("sts-broker: A bug ended the broker: ValueError in crash (test_termination_message.py:")
    assert first.endswith(" [bug]")
    assert "AKIASECRET" not in first
    assert second.startswith("sts-broker: profile default: ")


def test_end_by_the_fault_of_a_profile_is_not_repeated(file: Path) -> None:
    world = World(file)
    world.record(fail())
    before = file.read_text()
    world.message.record_end(DENIED)
    assert file.read_text() == before


def test_each_fault_of_the_settings_has_a_line() -> None:
    text = termination_message.describe_error(ConfigurationError(("one: wrong", "two: wrong")))
    assert text.splitlines() == ["one: wrong [configuration]", "two: wrong [configuration]"]
