"""The file writer, on a real file system: what readers see, before, during and after every kind of trouble."""

from __future__ import annotations

import configparser
import errno
import json
import os
import resource
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from broker.core.errors import PublishError
from broker.core.model import PublishSpec, Secret
from broker.publish.file_sink import FileSink
from tests.support.fakes import EPOCH, FakeClock, make_generation, make_profile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.core.model import Generation

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change groups, mount and become somebody else")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "aws"


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """Make a directory that another user can get to, which pytest's are not."""
    with tempfile.TemporaryDirectory() as path:
        Path(path).chmod(0o755)
        yield Path(path)


def sink_in(directory: Path, *names: str, clock: FakeClock | None = None, **spec: object) -> FileSink:
    """Return a sink for profiles of these names, default `default`."""
    profiles = [make_profile(name) for name in names or ("default",)]
    return FileSink(PublishSpec(directory=str(directory), **spec), profiles, clock or FakeClock())  # type: ignore[arg-type]


def sink_with_token(directory: Path, **spec: Any) -> FileSink:  # noqa: ANN401 - any field
    """Return a sink for an endpoint too."""
    token = Secret("token-of-this-start")
    return FileSink(PublishSpec(directory=str(directory), **spec), [make_profile()], FakeClock(), token)


def names_in(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def token_in(path: Path) -> str:
    return str(json.loads(path.read_bytes())["SessionToken"])


def sections_in(directory: Path) -> dict[str, str]:
    """Return the session token of each section of the combined file."""
    parser = configparser.RawConfigParser()
    parser.read_string((directory / "credentials").read_text())
    return {name: parser[name]["aws_session_token"] for name in parser.sections()}


def token_of(generation: Generation) -> str:
    return generation.credentials.session_token.reveal()


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def failed_publish(sink: FileSink, *generations: Generation) -> PublishError:
    with pytest.raises(PublishError) as caught:
        sink.publish(generations)
    return caught.value


class TestFiles:
    """What is published where."""

    def test_first_publish_makes_the_directory_and_all_files(self, directory: Path) -> None:
        generation = make_generation()
        sink_in(directory).publish([generation])
        assert names_in(directory) == {"default.json", "config", "credentials"}
        assert token_in(directory / "default.json") == token_of(generation)
        assert sections_in(directory) == {"default": token_of(generation)}
        assert f"credential_process = cat {directory}/default.json" in (directory / "config").read_text()
        assert mode_of(directory) & 0o027 == 0

    def test_env_file_is_written_where_asked_for(self, directory: Path) -> None:
        sink_in(directory, env=True).publish([make_generation()])
        assert "AWS_REGION=eu-west-1\n" in (directory / "default.env").read_text()

    def test_profiles_stand_in_their_order_whichever_came_first(self, directory: Path) -> None:
        sink = sink_in(directory, "a", "b")
        sink.publish([make_generation("b", 1)])
        sink.publish([make_generation("a", 2)])
        assert list(sections_in(directory)) == ["a", "b"]

    def test_profile_without_credentials_is_left_out_rather_than_blank(self, directory: Path) -> None:
        sink_in(directory, "a", "b").publish([make_generation("b")])
        assert list(sections_in(directory)) == ["b"]
        assert not (directory / "a.json").exists()
        assert "[profile a]" in (directory / "config").read_text()

    def test_next_generation_replaces_the_last_in_every_file(self, directory: Path) -> None:
        sink = sink_in(directory, env=True)
        for number in (1, 2):
            sink.publish([make_generation(number=number)])
        wanted = token_of(make_generation(number=2))
        assert token_in(directory / "default.json") == wanted
        assert sections_in(directory) == {"default": wanted}
        assert wanted in (directory / "default.env").read_text()

    def test_publishing_again_is_harmless(self, directory: Path) -> None:
        sink = sink_in(directory)
        for _ in range(3):
            sink.publish([make_generation()])
        assert names_in(directory) == {"default.json", "config", "credentials"}

    def test_reader_that_has_the_file_open_keeps_a_whole_generation(self, directory: Path) -> None:
        sink = sink_in(directory)
        sink.publish([make_generation(number=1)])
        with (directory / "default.json").open("rb") as reader:
            sink.publish([make_generation(number=2)])
            assert json.load(reader)["SessionToken"] == token_of(make_generation(number=1))

    def test_files_of_others_are_left_alone(self, directory: Path) -> None:
        directory.mkdir()
        (directory / "notes").write_text("mine")
        sink_in(directory).publish([make_generation()])
        assert (directory / "notes").read_text() == "mine"


class TestEndpointToken:
    """What readers of the endpoint are to show."""

    def test_token_is_there_before_the_first_generation_and_never_blank(self, directory: Path) -> None:
        sink = sink_with_token(directory)
        sink.prepare()
        assert names_in(directory) == {"config", "endpoint-token"}
        assert (directory / "endpoint-token").read_bytes() == b"token-of-this-start"

    def test_sink_without_an_endpoint_leaves_a_token_alone(self, directory: Path) -> None:
        sink_with_token(directory).prepare()
        sink_in(directory).publish([make_generation()])
        assert (directory / "endpoint-token").read_bytes() == b"token-of-this-start"

    def test_mode_is_that_of_the_other_files(self, directory: Path) -> None:
        sink_with_token(directory, mode=0o444).prepare()
        assert mode_of(directory / "endpoint-token") == 0o444

    def test_token_that_somebody_removed_is_missed_and_written_by_the_next_publish(self, directory: Path) -> None:
        sink = sink_with_token(directory)
        sink.publish([make_generation()])
        assert sink.missing() == frozenset()
        (directory / "endpoint-token").unlink()
        assert sink.missing() == {"default"}
        sink.publish([make_generation()])
        assert (directory / "endpoint-token").read_bytes() == b"token-of-this-start"

    def test_planted_link_is_replaced_and_not_followed(self, tmp_path: Path, directory: Path) -> None:
        directory.mkdir()
        outside = tmp_path / "outside"
        outside.write_text("untouched")
        (directory / "endpoint-token").symlink_to(outside)
        sink_with_token(directory).prepare()
        assert outside.read_text() == "untouched"
        assert not (directory / "endpoint-token").is_symlink()

    def test_token_that_cannot_be_written_is_explained_without_it(self, directory: Path) -> None:
        directory.mkdir()
        (directory / "endpoint-token").mkdir()
        with pytest.raises(PublishError) as caught:
            sink_with_token(directory).prepare()
        assert str(caught.value) == (
            f"Cannot publish in {directory} (endpoint-token): Is a directory. "
            "Remove the directory that stands where the file belongs."
        )


class TestModeAndGroup:
    """Who may read, at every write."""

    @pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
    @pytest.mark.parametrize("mode", [0o400, 0o600, 0o640, 0o644])
    def test_mode_is_as_asked_whatever_the_umask(self, directory: Path, umask: int, mode: int) -> None:
        directory.mkdir()
        before = os.umask(umask)
        try:
            sink_in(directory, mode=mode, env=True).publish([make_generation()])
        finally:
            os.umask(before)
        assert {mode_of(path) for path in directory.iterdir()} == {mode}

    def test_mode_that_somebody_changed_is_right_again_after_the_next_write(self, directory: Path) -> None:
        """spiffe-helper sets it once only (spiffe-helper#422)."""
        sink = sink_in(directory)
        sink.publish([make_generation(number=1)])
        for path in directory.iterdir():
            path.chmod(0o666)
        sink.publish([make_generation(number=2)])
        assert {mode_of(path) for path in directory.iterdir()} == {0o640}

    @as_root
    def test_group_is_as_asked_at_every_write(self, directory: Path) -> None:
        sink = sink_in(directory, group=2000)
        sink.publish([make_generation(number=1)])
        os.chown(directory / "default.json", -1, 3000)
        sink.publish([make_generation(number=2)])
        assert {path.stat().st_gid for path in directory.iterdir()} == {2000}

    @as_root
    def test_file_is_never_visible_with_another_group_or_mode(self, directory: Path) -> None:
        """Every state of the directory that a reader could catch, caught: a watcher looks as fast as it can."""
        sink, over, seen = sink_in(directory, group=2000), threading.Event(), set()
        sink.publish([make_generation()])

        def watch() -> None:
            while not over.is_set():
                found = (directory / "default.json").stat()
                seen.add((found.st_gid, stat.S_IMODE(found.st_mode)))

        watcher = threading.Thread(target=watch)
        watcher.start()
        for number in range(50):
            sink.publish([make_generation(number=number)])
        over.set()
        watcher.join()
        assert seen == {(2000, 0o640)}

    @as_root
    def test_group_that_the_process_is_not_in_names_supplemental_groups(self, open_to_all: Path) -> None:
        directory = open_to_all / "aws"
        directory.mkdir()
        directory.chmod(0o777)
        with as_nobody():
            error = failed_publish(sink_in(directory, group=2000), make_generation())
        assert error.errno == errno.EPERM
        assert "supplementalGroups" in error.remedy
        assert names_in(directory) == set()


class TestPlanted:
    """Somebody else may write into the directory too."""

    def test_link_at_the_target_is_replaced_and_not_followed(self, tmp_path: Path, directory: Path) -> None:
        directory.mkdir()
        (tmp_path / "victim").write_text("untouched")
        for name in ("default.json", "credentials", "config"):
            (directory / name).symlink_to(tmp_path / "victim")
        sink_in(directory).publish([make_generation()])
        assert (tmp_path / "victim").read_text() == "untouched"
        assert not any(path.is_symlink() for path in directory.iterdir())

    def test_link_at_the_temporary_name_is_not_followed(self, tmp_path: Path, directory: Path) -> None:
        directory.mkdir()
        (tmp_path / "victim").write_text("untouched")
        for name in ("default.json", "credentials", "config"):
            (directory / f".{name}.new").symlink_to(tmp_path / "victim")
        sink_in(directory).publish([make_generation()])
        assert (tmp_path / "victim").read_text() == "untouched"
        assert names_in(directory) == {"default.json", "config", "credentials"}

    def test_hard_link_at_the_target_keeps_its_content_elsewhere(self, tmp_path: Path, directory: Path) -> None:
        directory.mkdir()
        (tmp_path / "victim").write_text("untouched")
        (directory / "default.json").hardlink_to(tmp_path / "victim")
        sink_in(directory).publish([make_generation()])
        assert (tmp_path / "victim").read_text() == "untouched"

    @pytest.mark.parametrize("name", ["default.json", ".default.json.new", "credentials", ".credentials.new"])
    def test_pipe_does_not_block(self, directory: Path, name: str) -> None:
        directory.mkdir()
        os.mkfifo(directory / name)
        sink_in(directory).publish([make_generation()])
        assert token_in(directory / "default.json") == token_of(make_generation())

    def test_pipe_with_a_writer_that_says_nothing_does_not_block(self, directory: Path) -> None:
        directory.mkdir()
        os.mkfifo(directory / "default.json")
        writer = os.open(directory / "default.json", os.O_RDWR)
        try:
            sink_in(directory).publish([make_generation()])
        finally:
            os.close(writer)
        assert token_in(directory / "default.json") == token_of(make_generation())

    @pytest.mark.parametrize("name", ["default.json", ".default.json.new"])
    def test_directory_in_the_way_is_told_and_published_past_when_it_is_gone(self, directory: Path, name: str) -> None:
        (directory / name).mkdir(parents=True)
        sink = sink_in(directory)
        error = failed_publish(sink, make_generation())
        assert error.errno == errno.EISDIR
        assert name.removeprefix(".").removesuffix(".new") in error.message
        (directory / name).rmdir()
        sink.publish([make_generation()])
        assert names_in(directory) == {"default.json", "config", "credentials"}

    def test_directory_in_the_way_costs_no_file_descriptor(self, directory: Path) -> None:
        (directory / "default.json").mkdir(parents=True)
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(3):
            failed_publish(sink_in(directory), make_generation())
        assert len(list(Path("/proc/self/fd").iterdir())) == before

    @pytest.mark.parametrize("content", [b"", b"[" * 100_000, b"\xff", b"null", b'{"Expiration": "9999-12-31"}'])
    def test_nonsense_in_place_of_a_predecessors_file_is_replaced(self, directory: Path, content: bytes) -> None:
        directory.mkdir()
        (directory / "default.json").write_bytes(content)
        sink_in(directory).publish([make_generation()])
        assert sections_in(directory) == {"default": token_of(make_generation())}

    def test_endless_file_in_place_of_a_predecessors_is_not_read_whole(self, directory: Path) -> None:
        """A hole of a terabyte takes no room on the disk, but would in memory."""
        directory.mkdir()
        (directory / "default.json").touch()
        os.truncate(directory / "default.json", 2**40)
        sink_in(directory).publish([make_generation()])
        assert token_in(directory / "default.json") == token_of(make_generation())


class TestRestart:
    """A new broker finds what the last one left."""

    def test_valid_sections_of_other_profiles_survive(self, directory: Path) -> None:
        first = [make_generation("a", 1), make_generation("b", 2)]
        sink_in(directory, "a", "b").publish(first)
        sink_in(directory, "a", "b").publish([make_generation("a", 3)])
        assert sections_in(directory) == {"a": token_of(make_generation("a", 3)), "b": token_of(first[1])}

    def test_expired_sections_do_not(self, directory: Path) -> None:
        clock = FakeClock()
        sink_in(directory, "a", "b", clock=clock).publish([make_generation("a"), make_generation("b")])
        clock.advance(timedelta(hours=1))
        later = make_generation("a", 3, received_at=clock.now)
        sink_in(directory, "a", "b", clock=clock).publish([later])
        assert list(sections_in(directory)) == ["a"]
        assert (directory / "b.json").exists()

    def test_sections_of_profiles_that_are_no_more_do_not(self, directory: Path) -> None:
        sink_in(directory, "a", "b").publish([make_generation("a"), make_generation("b")])
        sink_in(directory, "a").publish([make_generation("a", 2)])
        assert list(sections_in(directory)) == ["a"]

    def test_left_over_temporary_file_is_cleared_away(self, directory: Path) -> None:
        directory.mkdir()
        (directory / ".default.json.new").write_text("half a gener")
        sink_in(directory).publish([make_generation()])
        assert names_in(directory) == {"default.json", "config", "credentials"}

    def test_config_of_another_release_is_replaced(self, directory: Path) -> None:
        directory.mkdir()
        (directory / "config").write_text("[profile old]\n")
        sink_in(directory).publish([make_generation()])
        assert "[default]" in (directory / "config").read_text()


class TestTrouble:
    """What cannot be written is told; what was published stays."""

    def test_missing_parent_names_the_volume(self, directory: Path) -> None:
        error = failed_publish(sink_in(directory / "deeper"), make_generation())
        assert error.errno == errno.ENOENT
        assert error.message == f"Cannot publish in {directory / 'deeper'}: No such file or directory."
        assert "emptyDir" in error.remedy

    def test_file_in_place_of_the_directory_is_told(self, directory: Path) -> None:
        directory.write_text("a file")
        error = failed_publish(sink_in(directory), make_generation())
        assert error.errno == errno.ENOTDIR
        assert "BROKER_PUBLISH_DIRECTORY" in error.remedy

    def test_directory_that_is_gone_and_back_gets_every_file_again(self, directory: Path) -> None:
        sink = sink_in(directory)
        sink.publish([make_generation(number=1)])
        shutil.rmtree(directory)
        directory.write_text("in the way")
        failed_publish(sink, make_generation(number=2))
        directory.unlink()
        directory.mkdir()
        sink.publish([make_generation(number=2)])
        assert names_in(directory) == {"default.json", "config", "credentials"}

    @pytest.mark.parametrize(
        ("removed", "missing"),
        [
            ((), set()),
            (("a.json",), {"a"}),
            (("b.env",), {"b"}),
            (("config",), {"a", "b"}),
            (("credentials", "a.json"), {"a", "b"}),
        ],
    )
    def test_files_that_somebody_removed_are_missed(
        self, directory: Path, removed: tuple[str, ...], missing: set[str]
    ) -> None:
        sink = sink_in(directory, "a", "b", env=True)
        assert sink.missing() == {"a", "b"}
        sink.publish([make_generation("a", 1), make_generation("b", 1)])
        for name in removed:
            (directory / name).unlink()
        assert sink.missing() == missing

    def test_directory_that_was_replaced_is_missed_whole(self, directory: Path) -> None:
        sink = sink_in(directory)
        sink.publish([make_generation()])
        shutil.rmtree(directory)
        directory.write_text("in the way")
        assert sink.missing() == {"default"}

    @as_root
    def test_unwritable_directory_names_fs_group_and_leaves_what_is_there(self, open_to_all: Path) -> None:
        directory = open_to_all / "aws"
        sink = sink_in(directory)
        sink.publish([make_generation(number=1)])
        directory.chmod(0o755)
        with as_nobody():
            error = failed_publish(sink, make_generation(number=2))
        assert error.errno == errno.EACCES
        assert "fsGroup" in error.remedy
        assert token_in(directory / "default.json") == token_of(make_generation(number=1))

    def test_failure_in_the_middle_leaves_whole_generations_and_no_temporary_file(self, directory: Path) -> None:
        sink = sink_in(directory)
        sink.publish([make_generation(number=1)])
        with no_file_longer_than(50):
            error = failed_publish(sink, make_generation(number=2))
        assert error.errno == errno.EFBIG
        assert names_in(directory) == {"default.json", "config", "credentials"}
        assert token_in(directory / "default.json") == token_of(make_generation(number=1))
        assert sections_in(directory) == {"default": token_of(make_generation(number=1))}
        sink.publish([make_generation(number=2)])
        assert token_in(directory / "default.json") == token_of(make_generation(number=2))

    def test_failure_between_two_files_is_healed_by_publishing_again(self, directory: Path) -> None:
        sink = sink_in(directory)
        sink.publish([make_generation(number=1)])
        (directory / ".credentials.new").mkdir()
        failed_publish(sink, make_generation(number=2))
        (directory / ".credentials.new").rmdir()
        sink.publish([make_generation(number=2)])
        assert sections_in(directory) == {"default": token_of(make_generation(number=2))}

    def test_message_holds_no_secret(self, directory: Path) -> None:
        with no_file_longer_than(50):
            error = failed_publish(sink_in(directory), make_generation())
        generation = make_generation()
        assert token_of(generation) not in str(error)
        assert generation.credentials.secret_access_key.reveal() not in str(error)


@pytest.fixture
def tiny_volume(tmp_path: Path) -> Iterator[Path]:
    """Mount a memory-backed volume of four pages, as an emptyDir with too small a sizeLimit is."""
    volume = tmp_path / "volume"
    volume.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(volume)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("no tmpfs can be mounted here")
    try:
        yield volume
    finally:
        subprocess.run(["umount", "-l", str(volume)], check=True)


class TestVolume:
    """The same on a volume that is really full, really read-only."""

    def test_full_volume_keeps_the_last_generation_and_takes_the_next_when_there_is_room(
        self, tiny_volume: Path
    ) -> None:
        sink = sink_in(tiny_volume)
        sink.publish([make_generation(number=1)])
        filler = tiny_volume / "filler"
        with pytest.raises(OSError, match="No space"):
            filler.write_bytes(b"x" * 20_000)
        error = failed_publish(sink, make_generation(number=2))
        assert error.errno == errno.ENOSPC
        assert "sizeLimit" in error.remedy
        assert names_in(tiny_volume) == {"default.json", "config", "credentials", "filler"}
        assert token_in(tiny_volume / "default.json") == token_of(make_generation(number=1))
        assert sections_in(tiny_volume) == {"default": token_of(make_generation(number=1))}
        filler.unlink()
        sink.publish([make_generation(number=2)])
        assert token_in(tiny_volume / "default.json") == token_of(make_generation(number=2))

    def test_read_only_volume_says_so(self, tiny_volume: Path) -> None:
        subprocess.run(["mount", "-o", "remount,ro", str(tiny_volume)], check=True)
        error = failed_publish(sink_in(tiny_volume), make_generation())
        assert error.errno == errno.EROFS
        assert "readOnly" in error.remedy


def test_concurrent_reader_sees_only_whole_generations(directory: Path) -> None:
    """Key, secret and token must change together: apache/druid#6664."""
    sink = sink_in(directory)
    generations = [
        make_generation(
            number=number, session_token=Secret(str(number) * 20_000), secret_access_key=Secret(str(number))
        )
        for number in range(1, 10)
    ]
    sink.publish(generations[:1])
    over, torn, seen = threading.Event(), [], set()

    def read() -> None:
        while not over.is_set():
            try:
                document = json.loads((directory / "default.json").read_bytes())
                section = configparser.RawConfigParser()
                section.read_string((directory / "credentials").read_text())
                found = dict(section["default"])
            except (OSError, ValueError, KeyError, configparser.Error) as error:
                torn.append(repr(error))
                return
            seen.add(document["SecretAccessKey"])
            if document["SessionToken"] != document["SecretAccessKey"] * 20_000:
                torn.append("process answer")
            if found["aws_session_token"] != found["aws_secret_access_key"] * 20_000:
                torn.append("credentials file")

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for generation in generations * 2:
        sink.publish([generation])
    over.set()
    for reader in readers:
        reader.join()
    assert torn == []
    assert len(seen) > 1


def test_files_of_a_crashed_broker_stay_until_something_newer_replaces_them(directory: Path) -> None:
    clock = FakeClock(EPOCH)
    sink_in(directory, clock=clock).publish([make_generation()])
    clock.advance(timedelta(days=1))
    sink_in(directory, clock=clock)
    assert token_in(directory / "default.json") == token_of(make_generation())


class as_nobody:  # noqa: N801 - reads as a statement
    """Do file accesses as a user without any rights, until the block ends."""

    def __enter__(self) -> None:
        """Give up the rights."""
        os.setegid(65534)
        os.seteuid(65534)

    def __exit__(self, *_: object) -> None:
        """Take them back."""
        os.seteuid(0)
        os.setegid(0)


class no_file_longer_than:  # noqa: N801 - reads as a statement
    """Let writes fail (EFBIG) once a file is so long: a disk that fills up in the middle of one."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __enter__(self) -> None:
        """Set the limit."""
        self._limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        self._handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self._length, self._limit[1]))

    def __exit__(self, *_: object) -> None:
        """Lift it."""
        resource.setrlimit(resource.RLIMIT_FSIZE, self._limit)
        signal.signal(signal.SIGXFSZ, self._handler)
