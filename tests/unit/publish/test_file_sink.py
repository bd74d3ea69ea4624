"""The file writer on a real file system: what readers see before, during and after each kind of failure."""

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
from broker.publish.state_file import STATE_FILE
from tests.support.fakes import EPOCH, FakeClock, make_generation, make_profile
from tests.support.nobody import NOBODY, as_nobody

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.core.model import Generation

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change groups, mount volumes and change its user")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "aws"


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """Make a directory that other users can reach. Those of pytest cannot be reached."""
    with tempfile.TemporaryDirectory() as path:
        Path(path).chmod(0o755)
        yield Path(path)


def make_sink(directory: Path, *names: str, clock: FakeClock | None = None, **spec: object) -> FileSink:
    """Return a sink for profiles with these names, or one named `default`."""
    profiles = [make_profile(name) for name in names or ("default",)]
    return FileSink(PublishSpec(directory=str(directory), **spec), profiles, clock or FakeClock())  # type: ignore[arg-type]


def make_sink_with_token(directory: Path, **spec: Any) -> FileSink:  # noqa: ANN401 - any field
    """Return a sink that also writes an endpoint token."""
    token = Secret("token-of-this-start")
    return FileSink(PublishSpec(directory=str(directory), **spec), [make_profile()], FakeClock(), token)


def list_files(directory: Path) -> list[Path]:
    """Return all files but the state file, which is not for readers (test_restoration.py)."""
    return [path for path in directory.iterdir() if path.name != STATE_FILE]


def list_names(directory: Path) -> set[str]:
    return {path.name for path in list_files(directory)}


def read_token(path: Path) -> str:
    return str(json.loads(path.read_bytes())["SessionToken"])


def read_sections(directory: Path) -> dict[str, str]:
    """Return the session token of each section of the combined file."""
    parser = configparser.RawConfigParser()
    parser.read_string((directory / "credentials").read_text())
    return {name: parser[name]["aws_session_token"] for name in parser.sections()}


def get_session_token(generation: Generation) -> str:
    return generation.credentials.session_token.reveal()


def read_mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def fail_publishing(sink: FileSink, *generations: Generation) -> PublishError:
    with pytest.raises(PublishError) as caught:
        sink.publish(generations)
    return caught.value


class TestFiles:
    """Which files are published, with which content."""

    def test_first_publish_makes_the_directory_and_all_files(self, directory: Path) -> None:
        generation = make_generation()
        make_sink(directory).publish([generation])
        assert list_names(directory) == {"default.json", "config", "credentials"}
        assert read_token(directory / "default.json") == get_session_token(generation)
        assert read_sections(directory) == {"default": get_session_token(generation)}
        assert f"credential_process = cat {directory}/default.json" in (directory / "config").read_text()
        assert read_mode(directory) & 0o027 == 0

    def test_env_file_is_written_if_configured(self, directory: Path) -> None:
        make_sink(directory, env=True).publish([make_generation()])
        assert "AWS_REGION='eu-west-1'\n" in (directory / "default.env").read_text()

    def test_sections_are_in_the_order_of_the_profiles(self, directory: Path) -> None:
        sink = make_sink(directory, "a", "b")
        sink.publish([make_generation("b", 1)])
        sink.publish([make_generation("a", 2)])
        assert list(read_sections(directory)) == ["a", "b"]

    def test_profile_without_credentials_is_left_out(self, directory: Path) -> None:
        make_sink(directory, "a", "b").publish([make_generation("b")])
        assert list(read_sections(directory)) == ["b"]
        assert not (directory / "a.json").exists()
        assert "[profile a]" in (directory / "config").read_text()

    def test_new_generation_replaces_the_old_one_in_every_file(self, directory: Path) -> None:
        sink = make_sink(directory, env=True)
        for number in (1, 2):
            sink.publish([make_generation(number=number)])
        wanted = get_session_token(make_generation(number=2))
        assert read_token(directory / "default.json") == wanted
        assert read_sections(directory) == {"default": wanted}
        assert wanted in (directory / "default.env").read_text()

    def test_publishing_again_changes_nothing(self, directory: Path) -> None:
        sink = make_sink(directory)
        for _ in range(3):
            sink.publish([make_generation()])
        assert list_names(directory) == {"default.json", "config", "credentials"}

    def test_reader_with_an_open_file_sees_a_complete_generation(self, directory: Path) -> None:
        sink = make_sink(directory)
        sink.publish([make_generation(number=1)])
        with (directory / "default.json").open("rb") as reader:
            sink.publish([make_generation(number=2)])
            assert json.load(reader)["SessionToken"] == get_session_token(make_generation(number=1))

    def test_other_files_in_the_directory_are_kept(self, directory: Path) -> None:
        directory.mkdir()
        (directory / "notes").write_text("mine")
        make_sink(directory).publish([make_generation()])
        assert (directory / "notes").read_text() == "mine"


class TestEndpointToken:
    """The file with the bearer token of the endpoint."""

    def test_token_is_written_before_the_first_generation(self, directory: Path) -> None:
        sink = make_sink_with_token(directory)
        sink.prepare()
        assert list_names(directory) == {"config", "endpoint-token"}
        assert (directory / "endpoint-token").read_bytes() == b"token-of-this-start"

    def test_sink_without_an_endpoint_keeps_an_existing_token(self, directory: Path) -> None:
        make_sink_with_token(directory).prepare()
        make_sink(directory).publish([make_generation()])
        assert (directory / "endpoint-token").read_bytes() == b"token-of-this-start"

    def test_token_file_has_the_mode_of_the_other_files(self, directory: Path) -> None:
        make_sink_with_token(directory, mode=0o444).prepare()
        assert read_mode(directory / "endpoint-token") == 0o444

    def test_deleted_token_is_missing_until_the_next_publish(self, directory: Path) -> None:
        sink = make_sink_with_token(directory)
        sink.publish([make_generation()])
        assert sink.missing() == frozenset()
        (directory / "endpoint-token").unlink()
        assert sink.missing() == {"default"}
        sink.publish([make_generation()])
        assert (directory / "endpoint-token").read_bytes() == b"token-of-this-start"

    def test_symbolic_link_is_replaced_and_not_followed(self, tmp_path: Path, directory: Path) -> None:
        directory.mkdir()
        outside = tmp_path / "outside"
        outside.write_text("untouched")
        (directory / "endpoint-token").symlink_to(outside)
        make_sink_with_token(directory).prepare()
        assert outside.read_text() == "untouched"
        assert not (directory / "endpoint-token").is_symlink()

    def test_error_about_the_token_file_does_not_contain_the_token(self, directory: Path) -> None:
        directory.mkdir()
        (directory / "endpoint-token").mkdir()
        with pytest.raises(PublishError) as caught:
            make_sink_with_token(directory).prepare()
        assert str(caught.value) == (
            f"Cannot publish in {directory} (endpoint-token): Is a directory. "
            "Remove the directory that has the name of the file."
        )


class TestModeAndGroup:
    """Mode and group after each write."""

    @pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
    @pytest.mark.parametrize("mode", [0o400, 0o600, 0o640, 0o644])
    def test_mode_is_the_configured_one_with_every_umask(self, directory: Path, umask: int, mode: int) -> None:
        directory.mkdir()
        before = os.umask(umask)
        try:
            make_sink(directory, mode=mode, env=True).publish([make_generation()])
        finally:
            os.umask(before)
        assert {read_mode(path) for path in list_files(directory)} == {mode}

    def test_changed_mode_is_restored_by_the_next_write(self, directory: Path) -> None:
        """For comparison: spiffe-helper sets the mode only once (spiffe-helper#422)."""
        sink = make_sink(directory)
        sink.publish([make_generation(number=1)])
        for path in directory.iterdir():
            path.chmod(0o666)
        sink.publish([make_generation(number=2)])
        assert {read_mode(path) for path in list_files(directory)} == {0o640}

    @as_root
    def test_group_is_set_at_every_write(self, directory: Path) -> None:
        sink = make_sink(directory, group=2000)
        sink.publish([make_generation(number=1)])
        os.chown(directory / "default.json", -1, 3000)
        sink.publish([make_generation(number=2)])
        assert {path.stat().st_gid for path in list_files(directory)} == {2000}

    @as_root
    def test_file_is_never_visible_with_another_group_or_mode(self, directory: Path) -> None:
        """A watcher reads mode and group in a loop while 50 generations are published."""
        sink, done, seen = make_sink(directory, group=2000), threading.Event(), set()
        sink.publish([make_generation()])

        def watch() -> None:
            while not done.is_set():
                found = (directory / "default.json").stat()
                seen.add((found.st_gid, stat.S_IMODE(found.st_mode)))

        watcher = threading.Thread(target=watch)
        watcher.start()
        for number in range(50):
            sink.publish([make_generation(number=number)])
        done.set()
        watcher.join()
        assert seen == {(2000, 0o640)}

    @as_root
    def test_group_that_the_process_lacks_names_supplemental_groups(self, open_to_all: Path) -> None:
        directory = open_to_all / "aws"
        directory.mkdir()
        directory.chmod(0o777)
        with as_nobody():
            error = fail_publishing(make_sink(directory, group=2000), make_generation())
        assert error.errno == errno.EPERM
        assert "supplementalGroups" in error.remedy
        assert list_names(directory) == set()


class TestStickyDirectory:
    """A directory such as /tmp, in which only its owner can replace a file."""

    @as_root
    @pytest.mark.parametrize("name", ["default.json", ".default.json.new", "config"])
    def test_file_of_another_user_names_its_owner_and_not_the_group(self, open_to_all: Path, name: str) -> None:
        directory = open_to_all / "aws"
        directory.mkdir()
        directory.chmod(0o1777)
        (directory / name).write_text("earlier")
        os.chown(directory / name, 4242, 4242)
        with as_nobody():
            error = fail_publishing(make_sink(directory), make_generation())
        assert error.errno == errno.EPERM
        assert error.message == (
            f"Cannot publish in {directory} ({name}): user 4242 owns {name}, and the directory is sticky (mode 1777), "
            f"so user {NOBODY} cannot replace the file."
        )
        assert "runAsUser" in error.remedy
        assert "supplementalGroups" not in error.remedy
        assert (directory / name).read_text() == "earlier"

    @as_root
    def test_missing_group_in_a_sticky_directory_still_names_the_group(self, open_to_all: Path) -> None:
        directory = open_to_all / "aws"
        directory.mkdir()
        directory.chmod(0o1777)
        with as_nobody():
            error = fail_publishing(make_sink(directory, group=2000), make_generation())
        assert "supplementalGroups" in error.remedy

    @as_root
    def test_own_files_are_replaced(self, open_to_all: Path) -> None:
        directory = open_to_all / "aws"
        directory.mkdir()
        directory.chmod(0o1777)
        with as_nobody():
            for number in (1, 2):
                make_sink(directory).publish([make_generation(number=number)])
        assert read_token(directory / "default.json") == get_session_token(make_generation(number=2))


class TestHostileDirectory:
    """Another process that can write to the directory puts links, pipes and directories there."""

    def test_link_at_the_target_is_replaced_and_not_followed(self, tmp_path: Path, directory: Path) -> None:
        directory.mkdir()
        (tmp_path / "victim").write_text("untouched")
        for name in ("default.json", "credentials", "config"):
            (directory / name).symlink_to(tmp_path / "victim")
        make_sink(directory).publish([make_generation()])
        assert (tmp_path / "victim").read_text() == "untouched"
        assert not any(path.is_symlink() for path in directory.iterdir())

    def test_link_at_the_temporary_name_is_not_followed(self, tmp_path: Path, directory: Path) -> None:
        directory.mkdir()
        (tmp_path / "victim").write_text("untouched")
        for name in ("default.json", "credentials", "config"):
            (directory / f".{name}.new").symlink_to(tmp_path / "victim")
        make_sink(directory).publish([make_generation()])
        assert (tmp_path / "victim").read_text() == "untouched"
        assert list_names(directory) == {"default.json", "config", "credentials"}

    def test_hard_link_at_the_target_keeps_its_content_elsewhere(self, tmp_path: Path, directory: Path) -> None:
        directory.mkdir()
        (tmp_path / "victim").write_text("untouched")
        (directory / "default.json").hardlink_to(tmp_path / "victim")
        make_sink(directory).publish([make_generation()])
        assert (tmp_path / "victim").read_text() == "untouched"

    @pytest.mark.parametrize("name", ["default.json", ".default.json.new", "credentials", ".credentials.new"])
    def test_pipe_does_not_block(self, directory: Path, name: str) -> None:
        directory.mkdir()
        os.mkfifo(directory / name)
        make_sink(directory).publish([make_generation()])
        assert read_token(directory / "default.json") == get_session_token(make_generation())

    def test_pipe_with_a_silent_writer_does_not_block(self, directory: Path) -> None:
        directory.mkdir()
        os.mkfifo(directory / "default.json")
        writer = os.open(directory / "default.json", os.O_RDWR)
        try:
            make_sink(directory).publish([make_generation()])
        finally:
            os.close(writer)
        assert read_token(directory / "default.json") == get_session_token(make_generation())

    @pytest.mark.parametrize("name", ["default.json", ".default.json.new"])
    def test_directory_with_the_name_of_a_file_is_an_error_until_it_is_removed(
        self, directory: Path, name: str
    ) -> None:
        (directory / name).mkdir(parents=True)
        sink = make_sink(directory)
        error = fail_publishing(sink, make_generation())
        assert error.errno == errno.EISDIR
        assert name.removeprefix(".").removesuffix(".new") in error.message
        (directory / name).rmdir()
        sink.publish([make_generation()])
        assert list_names(directory) == {"default.json", "config", "credentials"}

    def test_directory_with_the_name_of_a_file_leaks_no_file_descriptor(self, directory: Path) -> None:
        (directory / "default.json").mkdir(parents=True)
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(3):
            fail_publishing(make_sink(directory), make_generation())
        assert len(list(Path("/proc/self/fd").iterdir())) == before

    @pytest.mark.parametrize("content", [b"", b"[" * 100_000, b"\xff", b"null", b'{"Expiration": "9999-12-31"}'])
    def test_malformed_file_of_an_earlier_start_is_replaced(self, directory: Path, content: bytes) -> None:
        directory.mkdir()
        (directory / "default.json").write_bytes(content)
        make_sink(directory).publish([make_generation()])
        assert read_sections(directory) == {"default": get_session_token(make_generation())}

    def test_huge_file_of_an_earlier_start_is_not_read_completely(self, directory: Path) -> None:
        """A sparse file of a terabyte takes no disk space, but reading it would take that much memory."""
        directory.mkdir()
        (directory / "default.json").touch()
        os.truncate(directory / "default.json", 2**40)
        make_sink(directory).publish([make_generation()])
        assert read_token(directory / "default.json") == get_session_token(make_generation())


class TestRestart:
    """Files of an earlier start of the broker."""

    def test_unexpired_sections_of_other_profiles_are_kept(self, directory: Path) -> None:
        first = [make_generation("a", 1), make_generation("b", 2)]
        make_sink(directory, "a", "b").publish(first)
        make_sink(directory, "a", "b").publish([make_generation("a", 3)])
        assert read_sections(directory) == {
            "a": get_session_token(make_generation("a", 3)),
            "b": get_session_token(first[1]),
        }

    def test_expired_sections_are_dropped(self, directory: Path) -> None:
        clock = FakeClock()
        make_sink(directory, "a", "b", clock=clock).publish([make_generation("a"), make_generation("b")])
        clock.advance(timedelta(hours=1))
        later = make_generation("a", 3, received_at=clock.now)
        make_sink(directory, "a", "b", clock=clock).publish([later])
        assert list(read_sections(directory)) == ["a"]
        assert (directory / "b.json").exists()

    def test_sections_of_removed_profiles_are_dropped(self, directory: Path) -> None:
        make_sink(directory, "a", "b").publish([make_generation("a"), make_generation("b")])
        make_sink(directory, "a").publish([make_generation("a", 2)])
        assert list(read_sections(directory)) == ["a"]

    def test_leftover_temporary_file_is_removed(self, directory: Path) -> None:
        directory.mkdir()
        (directory / ".default.json.new").write_text("half a gener")
        make_sink(directory).publish([make_generation()])
        assert list_names(directory) == {"default.json", "config", "credentials"}

    def test_config_of_another_release_is_replaced(self, directory: Path) -> None:
        directory.mkdir()
        (directory / "config").write_text("[profile old]\n")
        make_sink(directory).publish([make_generation()])
        assert "[default]" in (directory / "config").read_text()


class TestFailures:
    """A failed write is reported, and the published files stay."""

    def test_missing_parent_names_the_volume(self, directory: Path) -> None:
        error = fail_publishing(make_sink(directory / "deeper"), make_generation())
        assert error.errno == errno.ENOENT
        assert error.message == f"Cannot publish in {directory / 'deeper'}: No such file or directory."
        assert "emptyDir" in error.remedy

    def test_file_with_the_name_of_the_directory_is_an_error(self, directory: Path) -> None:
        directory.write_text("a file")
        error = fail_publishing(make_sink(directory), make_generation())
        assert error.errno == errno.ENOTDIR
        assert "BROKER_PUBLISH_DIRECTORY" in error.remedy

    def test_recreated_directory_gets_every_file_again(self, directory: Path) -> None:
        sink = make_sink(directory)
        sink.publish([make_generation(number=1)])
        shutil.rmtree(directory)
        directory.write_text("blocks the directory")
        fail_publishing(sink, make_generation(number=2))
        directory.unlink()
        directory.mkdir()
        sink.publish([make_generation(number=2)])
        assert list_names(directory) == {"default.json", "config", "credentials"}

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
    def test_deleted_files_are_missing(self, directory: Path, removed: tuple[str, ...], missing: set[str]) -> None:
        sink = make_sink(directory, "a", "b", env=True)
        assert sink.missing() == {"a", "b"}
        sink.publish([make_generation("a", 1), make_generation("b", 1)])
        for name in removed:
            (directory / name).unlink()
        assert sink.missing() == missing

    def test_replaced_directory_is_missing_every_profile(self, directory: Path) -> None:
        sink = make_sink(directory)
        sink.publish([make_generation()])
        shutil.rmtree(directory)
        directory.write_text("blocks the directory")
        assert sink.missing() == {"default"}

    @as_root
    def test_unwritable_directory_names_fs_group_and_keeps_the_files(self, open_to_all: Path) -> None:
        directory = open_to_all / "aws"
        sink = make_sink(directory)
        sink.publish([make_generation(number=1)])
        directory.chmod(0o755)
        with as_nobody():
            error = fail_publishing(sink, make_generation(number=2))
        assert error.errno == errno.EACCES
        assert "fsGroup" in error.remedy
        assert read_token(directory / "default.json") == get_session_token(make_generation(number=1))

    def test_failure_within_a_file_leaves_complete_files_and_no_temporary_file(self, directory: Path) -> None:
        sink = make_sink(directory)
        sink.publish([make_generation(number=1)])
        with no_file_longer_than(50):
            error = fail_publishing(sink, make_generation(number=2))
        assert error.errno == errno.EFBIG
        assert list_names(directory) == {"default.json", "config", "credentials"}
        assert read_token(directory / "default.json") == get_session_token(make_generation(number=1))
        assert read_sections(directory) == {"default": get_session_token(make_generation(number=1))}
        sink.publish([make_generation(number=2)])
        assert read_token(directory / "default.json") == get_session_token(make_generation(number=2))

    def test_failure_between_two_files_is_repaired_by_the_next_publish(self, directory: Path) -> None:
        sink = make_sink(directory)
        sink.publish([make_generation(number=1)])
        (directory / ".credentials.new").mkdir()
        fail_publishing(sink, make_generation(number=2))
        (directory / ".credentials.new").rmdir()
        sink.publish([make_generation(number=2)])
        assert read_sections(directory) == {"default": get_session_token(make_generation(number=2))}

    def test_error_does_not_contain_secrets(self, directory: Path) -> None:
        with no_file_longer_than(50):
            error = fail_publishing(make_sink(directory), make_generation())
        generation = make_generation()
        assert get_session_token(generation) not in str(error)
        assert generation.credentials.secret_access_key.reveal() not in str(error)


@pytest.fixture
def tiny_volume(tmp_path: Path) -> Iterator[Path]:
    """Mount a memory-backed volume of four pages, like an emptyDir with a small sizeLimit."""
    volume = tmp_path / "volume"
    volume.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=20k", "tmpfs", str(volume)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("mounting a tmpfs is not possible here")
    try:
        yield volume
    finally:
        subprocess.run(["umount", "-l", str(volume)], check=True)


class TestVolume:
    """A volume that is full, and one that is read-only."""

    def test_full_volume_keeps_the_old_generation_until_there_is_space(self, tiny_volume: Path) -> None:
        sink = make_sink(tiny_volume)
        sink.publish([make_generation(number=1)])
        filler = tiny_volume / "filler"
        with pytest.raises(OSError, match="No space"):
            filler.write_bytes(b"x" * 24_000)
        error = fail_publishing(sink, make_generation(number=2))
        assert error.errno == errno.ENOSPC
        assert "sizeLimit" in error.remedy
        assert list_names(tiny_volume) == {"default.json", "config", "credentials", "filler"}
        assert read_token(tiny_volume / "default.json") == get_session_token(make_generation(number=1))
        assert read_sections(tiny_volume) == {"default": get_session_token(make_generation(number=1))}
        filler.unlink()
        sink.publish([make_generation(number=2)])
        assert read_token(tiny_volume / "default.json") == get_session_token(make_generation(number=2))

    def test_read_only_volume_is_an_error_that_names_read_only(self, tiny_volume: Path) -> None:
        subprocess.run(["mount", "-o", "remount,ro", str(tiny_volume)], check=True)
        error = fail_publishing(make_sink(tiny_volume), make_generation())
        assert error.errno == errno.EROFS
        assert "readOnly" in error.remedy


def test_concurrent_reader_sees_only_complete_generations(directory: Path) -> None:
    """Access key, secret key and session token must change together: apache/druid#6664."""
    sink = make_sink(directory)
    generations = [
        make_generation(
            number=number, session_token=Secret(str(number) * 20_000), secret_access_key=Secret(str(number))
        )
        for number in range(1, 10)
    ]
    sink.publish(generations[:1])
    done, torn, seen = threading.Event(), [], set()

    def read() -> None:
        while not done.is_set():
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
                torn.append("process output")
            if found["aws_session_token"] != found["aws_secret_access_key"] * 20_000:
                torn.append("credentials file")

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for generation in generations * 2:
        sink.publish([generation])
    done.set()
    for reader in readers:
        reader.join()
    assert torn == []
    assert len(seen) > 1


def test_files_of_a_crashed_broker_stay_until_newer_ones_replace_them(directory: Path) -> None:
    clock = FakeClock(EPOCH)
    make_sink(directory, clock=clock).publish([make_generation()])
    clock.advance(timedelta(days=1))
    make_sink(directory, clock=clock)
    assert read_token(directory / "default.json") == get_session_token(make_generation())


class no_file_longer_than:  # noqa: N801 - used as a statement
    """Make writes fail (EFBIG) beyond a file size, like a disk that fills up in the middle of a file."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __enter__(self) -> None:
        """Set the limit."""
        self._limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        self._handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self._length, self._limit[1]))

    def __exit__(self, *_: object) -> None:
        """Remove the limit."""
        resource.setrlimit(resource.RLIMIT_FSIZE, self._limit)
        signal.signal(signal.SIGXFSZ, self._handler)
