"""What the sink restores after a restart, and what it refuses: expired or changed files, and other settings'."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from broker.core.errors import PublishError
from broker.core.model import ChainSpec, PublishSpec
from broker.publish import file_sink
from broker.publish.file_sink import FileSink
from broker.publish.published_state import Origin, read_boot_id
from tests.support.fakes import FakeClock, make_chained, make_generation, make_profile

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from broker.core.model import Generation, ProfileSpec
    from broker.publish.published_state import Restoration

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
PROFILE = make_profile()
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the owner of files")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "aws"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def make_sink(
    directory: Path,
    clock: FakeClock,
    *profiles: ProfileSpec,
    url: str = "",
    boot: str = "boot-1",
    **spec: Any,  # noqa: ANN401 - any field
) -> FileSink:
    publish = PublishSpec(directory=str(directory), **spec)
    return FileSink(publish, profiles or (PROFILE,), clock, origin=Origin(endpoint_url=url, boot=boot))


def make_held(clock: FakeClock, profile: str = "default", number: int = 3) -> Generation:
    """Return a generation that was received now."""
    generation = make_generation(profile, number, received_at=clock.now, clock_skew=None)
    return replace(generation, jitter=4.25, succeeded_at=clock.monotonic)


def publish(
    directory: Path,
    clock: FakeClock,
    *profiles: ProfileSpec,
    **spec: Any,  # noqa: ANN401 - of make_sink
) -> dict[str, Generation]:
    """Publish a generation of each profile, as an earlier start does."""
    generations = {profile.name: make_held(clock, profile.name) for profile in profiles or (PROFILE,)}
    make_sink(directory, clock, *profiles, **spec).publish(list(generations.values()))
    return generations


def explain(restoration: Restoration) -> str:
    """Return why the only profile is not restored."""
    assert not restoration.generations
    (problem,) = restoration.skipped.values()
    return str(problem)


def edit_state(directory: Path, **changes: object) -> None:
    """Change fields of every record in the state file."""
    path = directory / ".state.json"
    document = json.loads(path.read_text())
    for records in document["profiles"].values():
        for record in records:
            record.update(changes)
    path.write_text(json.dumps(document))


class TestValidFiles:
    """Files that belong to the settings and have not expired."""

    def test_published_generation_is_restored_unchanged(self, directory: Path, clock: FakeClock) -> None:
        published = publish(directory, clock)
        clock.advance(20 * MINUTE)
        restoration = make_sink(directory, clock).restore()
        assert restoration.generations == published
        assert not restoration.incomplete
        assert not restoration.skipped

    def test_reading_changes_no_file(self, directory: Path, clock: FakeClock) -> None:
        publish(directory, clock)
        before = {path.name: path.stat().st_mtime_ns for path in directory.iterdir()}
        make_sink(directory, clock).restore()
        assert {path.name: path.stat().st_mtime_ns for path in directory.iterdir()} == before

    def test_new_volume_restores_nothing_and_reports_nothing(self, directory: Path, clock: FakeClock) -> None:
        for _ in range(2):
            restoration = make_sink(directory, clock).restore()
            assert not restoration.generations
            assert not restoration.skipped
            directory.mkdir(exist_ok=True)

    def test_chained_role_and_its_source_are_restored(self, directory: Path, clock: FakeClock) -> None:
        profiles = (PROFILE, make_chained("partner"))
        published = publish(directory, clock, *profiles)
        assert make_sink(directory, clock, *profiles).restore().generations == published

    def test_change_of_an_unrelated_setting_keeps_them(self, directory: Path, clock: FakeClock) -> None:
        published = publish(directory, clock)
        assert make_sink(directory, clock, replace(PROFILE, required=False)).restore().generations == published

    def test_state_file_is_for_the_broker_only_and_has_no_secret(self, directory: Path, clock: FakeClock) -> None:
        credentials = publish(directory, clock, mode=0o644)["default"].credentials
        state = directory / ".state.json"
        assert state.stat().st_mode & 0o777 == 0o600
        for secret in (credentials.secret_access_key, credentials.session_token):
            assert secret.reveal() not in state.read_text()
        assert credentials.access_key_id not in state.read_text()

    def test_boot_of_the_node_is_identified(self) -> None:
        assert read_boot_id() == read_boot_id() != ""


class TestOtherSettings:
    """Files that were published for other settings."""

    @pytest.mark.parametrize(
        "changed",
        [
            {"role_arn": "arn:aws:iam::123456789012:role/other"},
            {"session_policy": "{}"},
            {"policy_arns": ("arn:aws:iam::aws:policy/ReadOnlyAccess",)},
            {"session_name": "other"},
            {"duration": timedelta(minutes=30)},
            {"region": "eu-central-1"},
            {"audience": "other"},
            {"token_file": "/other"},
        ],
        ids=lambda changed: next(iter(changed)),
    )
    def test_files_for_a_changed_profile_are_ignored(
        self, directory: Path, clock: FakeClock, changed: dict[str, Any]
    ) -> None:
        publish(directory, clock)
        restoration = make_sink(directory, clock, replace(PROFILE, **changed)).restore()
        assert explain(restoration) == "the settings have changed since it was published"
        assert restoration.skipped["default"].is_expected

    @pytest.mark.parametrize(
        "changed",
        [
            {"external_id": "other"},
            {"tags": (("team", "a"),)},
            {"transitive_tag_keys": ("team",)},
            {"source_identity": "app"},
        ],
        ids=lambda changed: next(iter(changed)),
    )
    def test_files_for_a_changed_chain_are_ignored(
        self, directory: Path, clock: FakeClock, changed: dict[str, Any]
    ) -> None:
        partner = make_chained("partner")
        published = publish(directory, clock, PROFILE, partner)
        changed_partner = replace(partner, chain=ChainSpec(source="default", **changed))
        restoration = make_sink(directory, clock, PROFILE, changed_partner).restore()
        assert restoration.generations == {"default": published["default"]}
        assert set(restoration.skipped) == {"partner"}

    def test_files_for_a_role_whose_source_has_changed_are_ignored(self, directory: Path, clock: FakeClock) -> None:
        partner = make_chained("partner")
        publish(directory, clock, PROFILE, partner)
        source = replace(PROFILE, session_policy="{}")
        restoration = make_sink(directory, clock, source, partner).restore()
        assert not restoration.generations
        assert set(restoration.skipped) == {"default", "partner"}

    def test_files_of_another_sts_are_ignored(self, directory: Path, clock: FakeClock) -> None:
        publish(directory, clock)
        restoration = make_sink(directory, clock, url="https://minio.example").restore()
        assert explain(restoration) == "the settings have changed since it was published"

    def test_profile_that_was_removed_and_added_again_is_not_restored(self, directory: Path, clock: FakeClock) -> None:
        other = make_profile("other")
        publish(directory, clock, PROFILE, other)
        publish(directory, clock, PROFILE)
        restoration = make_sink(directory, clock, PROFILE, other).restore()
        assert set(restoration.generations) == {"default"}
        assert str(restoration.skipped["other"]) == "there is no .state.json for it"


class TestUnusableFiles:
    """Files that are expired, changed, or not the broker's."""

    @pytest.mark.parametrize("age", [HOUR, HOUR + MINUTE])
    def test_expired_files_are_ignored(self, directory: Path, clock: FakeClock, age: timedelta) -> None:
        publish(directory, clock)
        clock.advance(age)
        assert explain(make_sink(directory, clock).restore()) == "they have expired"

    def test_files_are_ignored_when_either_clock_says_they_have_expired(
        self, directory: Path, clock: FakeClock
    ) -> None:
        publish(directory, clock)
        clock.advance(HOUR)
        clock.jump(-HOUR)
        assert explain(make_sink(directory, clock).restore()) == "they have expired"
        clock.jump(timedelta(days=-365))
        assert explain(make_sink(directory, clock).restore()) == "they have expired"

    def test_after_a_boot_the_age_is_that_of_the_wall_clock(self, directory: Path, clock: FakeClock) -> None:
        published = publish(directory, clock)["default"]
        clock.advance(20 * MINUTE)
        clock.monotonic = timedelta(seconds=30)
        restored = make_sink(directory, clock, boot="boot-2").restore().generations["default"]
        assert restored == replace(published, succeeded_at=clock.monotonic - 20 * MINUTE)

    @pytest.mark.parametrize("boot", ["boot-2", ""])
    def test_after_a_boot_files_from_the_future_are_ignored(self, directory: Path, clock: FakeClock, boot: str) -> None:
        publish(directory, clock, boot="")
        clock.jump(-MINUTE)
        problem = explain(make_sink(directory, clock, boot=boot).restore())
        assert problem == "they seem to be from the future, and the node has restarted since"

    def test_changed_file_is_ignored(self, directory: Path, clock: FakeClock) -> None:
        publish(directory, clock)
        path = directory / "default.json"
        path.write_text(path.read_text().replace("ASIA", "AKIA"))
        assert explain(make_sink(directory, clock).restore()) == "default.json is not a file that .state.json describes"

    def test_file_without_a_state_file_is_ignored(self, directory: Path, clock: FakeClock) -> None:
        publish(directory, clock)
        (directory / ".state.json").unlink()
        restoration = make_sink(directory, clock).restore()
        assert explain(restoration) == "there is no .state.json for it"
        assert not restoration.skipped["default"].is_expected

    @pytest.mark.parametrize(
        "content",
        [
            "",
            "[]",
            "null",
            "[" * 100_000,
            '{"version": 2, "profiles": {}}',
            '{"version": 1}',
            '{"version": 1, "profiles": {"default": [{}]}}',
        ],
        ids=range(7),
    )
    def test_malformed_state_file_is_ignored(self, directory: Path, clock: FakeClock, content: str) -> None:
        publish(directory, clock)
        (directory / ".state.json").write_text(content)
        assert explain(make_sink(directory, clock).restore()).startswith(".state.json cannot be used: ")

    @pytest.mark.parametrize(
        "changes",
        [
            {"jitter": -0.1},
            {"jitter": 5.1},
            {"jitter": float("nan")},
            {"generation": 0},
            {"received_at": "2026-11-23T12:00:00"},
            {"received_at": "noon"},
            {"lifetime_seconds": float("inf")},
            {"lifetime_seconds": float("nan")},
            {"lifetime_seconds": 1e12},
            {"succeeded_at_seconds": float("-inf")},
        ],
        ids=str,
    )
    def test_record_out_of_range_is_ignored(
        self, directory: Path, clock: FakeClock, changes: dict[str, object]
    ) -> None:
        publish(directory, clock)
        edit_state(directory, **changes)
        assert explain(make_sink(directory, clock).restore()).endswith("is malformed")

    @pytest.mark.parametrize("mode", [0o640, 0o666])
    def test_state_file_that_others_can_reach_is_ignored(self, directory: Path, clock: FakeClock, mode: int) -> None:
        publish(directory, clock)
        (directory / ".state.json").chmod(mode)
        problem = explain(make_sink(directory, clock).restore())
        assert problem == f".state.json has mode {mode:04o} instead of 0600"

    @pytest.mark.parametrize("name", ["default.json", ".state.json"])
    def test_symbolic_link_is_not_followed(self, directory: Path, clock: FakeClock, name: str) -> None:
        publish(directory, clock)
        (directory / name).rename(directory / "moved")
        (directory / name).symlink_to("moved")
        problem = explain(make_sink(directory, clock).restore())
        assert problem == f"{name} cannot be opened: Too many levels of symbolic links"

    @pytest.mark.parametrize("name", ["default.json", ".state.json"])
    def test_pipe_and_directory_do_not_block(self, directory: Path, clock: FakeClock, name: str) -> None:
        publish(directory, clock)
        (directory / name).unlink()
        os.mkfifo(directory / name)
        assert explain(make_sink(directory, clock).restore()) == f"{name} is not a regular file"
        (directory / name).unlink()
        (directory / name).mkdir()
        assert explain(make_sink(directory, clock).restore()) == f"{name} is not a regular file"

    @pytest.mark.parametrize("name", ["default.json", ".state.json"])
    def test_huge_file_is_not_read(self, directory: Path, clock: FakeClock, name: str) -> None:
        publish(directory, clock)
        os.truncate(directory / name, 2**40)
        assert f"{name} is longer than " in explain(make_sink(directory, clock).restore())

    @as_root
    @pytest.mark.parametrize("name", ["default.json", ".state.json"])
    def test_file_of_another_user_is_ignored(self, directory: Path, clock: FakeClock, name: str) -> None:
        publish(directory, clock)
        os.chown(directory / name, 65534, -1)
        assert explain(make_sink(directory, clock).restore()) == f"{name} belongs to user 65534"


class TestInterruptedPublishing:
    """A crash, or a full disk, between the writes of one publish."""

    @pytest.mark.parametrize("name", [".state.json", "default.json", "default.env", "credentials"])
    def test_crash_before_any_rename_leaves_a_generation_that_is_restored(
        self, directory: Path, clock: FakeClock, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old = publish(directory, clock, env=True)["default"]
        clock.advance(MINUTE)
        new = make_held(clock, number=4)

        def crash(directory: int, written: str, parts: Iterable[bytes], mode: int, group: int | None = None) -> None:
            if written == name:
                raise OSError(28, "No space left on device")
            write(directory, written, parts, mode, group)

        write = file_sink.replace_file
        monkeypatch.setattr(file_sink, "replace_file", crash)
        sink = make_sink(directory, clock, env=True)
        for number in (4, 4):  # the second attempt still knows what readers have
            with pytest.raises(PublishError):
                sink.publish([make_held(clock, number=number)])
        monkeypatch.undo()
        restoration = make_sink(directory, clock, env=True).restore()
        is_old = name in {".state.json", "default.json"}
        assert restoration.generations == {"default": old if is_old else new}
        assert restoration.incomplete == (frozenset() if is_old else {"default"})

    @pytest.mark.parametrize("name", ["default.json", "default.env", "credentials"])
    def test_file_with_another_mode_is_published_again(self, directory: Path, clock: FakeClock, name: str) -> None:
        published = publish(directory, clock, env=True)
        (directory / name).chmod(0o600)
        restoration = make_sink(directory, clock, env=True).restore()
        assert restoration.generations == published
        assert restoration.incomplete == {"default"}

    def test_records_of_other_profiles_survive_a_publish(self, directory: Path, clock: FakeClock) -> None:
        profiles = (PROFILE, make_profile("other"))
        published = publish(directory, clock, *profiles)
        new = make_held(clock, number=4)
        make_sink(directory, clock, *profiles).publish([new])
        restored = make_sink(directory, clock, *profiles).restore().generations
        assert restored == {"default": new, "other": published["other"]}
