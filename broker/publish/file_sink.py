"""The writer of the published files. A reader sees either the previous or the new content of a file, always complete.

Each write makes a temporary file, sets its mode and group, and renames it to the final name. Symbolic links in the
directory are replaced, never followed. No file is deleted or written empty: credentials published before a crash stay,
also in the combined file, until newer ones replace them.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from broker.core.errors import PublishError
from broker.core.model import ENDPOINT_TOKEN_FILE
from broker.files.regular_file import read_regular_file
from broker.publish import formats
from broker.publish.owned_files import NotRestorable, read_owned_file
from broker.publish.published_state import UNKNOWN_ORIGIN, PublishedState, Restoration
from broker.publish.write_faults import explain_write_failure

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from broker.core.clock import Clock
    from broker.core.model import Generation, ProfileSpec, PublishSpec, Secret, TemporaryCredentials
    from broker.publish.published_state import Origin

SINK = "files"
_DIRECTORY_MODE = 0o750
_MAXIMUM_LENGTH_READ = 1_000_000


class FileSink:
    """Publishes generations as files in one directory. docs/architecture.md lists the files.

    `endpoint_token` is the bearer token of the credentials endpoint. It is written as well, unless it is None.
    `origin` is that of PublishedState.
    """

    def __init__(
        self,
        spec: PublishSpec,
        profiles: Sequence[ProfileSpec],
        clock: Clock,
        endpoint_token: Secret | None = None,
        origin: Origin = UNKNOWN_ORIGIN,
    ) -> None:
        self._spec = spec
        self._profiles = {profile.name: profile for profile in profiles}
        self._clock = clock
        self._fixed = {"config": formats.config_ini(profiles, spec.directory, spec.process_command)}
        if endpoint_token is not None:
            self._fixed[ENDPOINT_TOKEN_FILE] = formats.authorization_token(endpoint_token)
        self._published: dict[str, TemporaryCredentials] = {}
        self._earlier: dict[str, bytes] | None = None
        """Sections of the combined file that an earlier start published, for profiles that are not refreshed yet."""
        self._state = PublishedState(profiles, origin)

    def prepare(self) -> None:
        """Write the files that do not depend on credentials, so that readers find them from the start.

        Raises PublishError. The next publish writes these files again.
        """
        with open_directory(self._spec.directory) as directory:
            self._replace_fixed(directory)

    def publish(self, generations: Sequence[Generation]) -> None:
        """Write the files of these generations and the combined files.

        Raises PublishError. Then some files may be new and others old, but each is complete. Repeating is safe.
        """
        with open_directory(self._spec.directory) as directory:
            self._write_all(directory, generations)

    def restore(self) -> Restoration:
        """Return what an earlier start published and is still valid. Never raises, and writes nothing."""
        generations: dict[str, Generation] = {}
        skipped: dict[str, NotRestorable] = {}
        try:
            directory = os.open(self._spec.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return Restoration(generations=generations, incomplete=frozenset(), skipped=skipped)
        try:
            at = self._clock.read()
            for name in self._profiles:
                try:
                    file = read_owned_file(directory, f"{name}.json", maximum_bytes=_MAXIMUM_LENGTH_READ)
                    if file is not None:
                        generations[name] = self._state.restore(directory, name, file.content, at)
                except NotRestorable as error:
                    skipped[name] = error
            incomplete = frozenset(self._find_incomplete(directory, generations))
        finally:
            os.close(directory)
        return Restoration(generations=generations, incomplete=incomplete, skipped=skipped)

    def missing(self) -> frozenset[str]:
        """Return the profiles whose files are missing, because someone deleted them or mounted another volume."""
        endings = ("json", "env") if self._spec.env else ("json",)
        fixed = {*self._fixed, "credentials"}
        return find_missing(
            self._spec.directory, {name: fixed | {f"{name}.{ending}" for ending in endings} for name in self._profiles}
        )

    def _write_all(self, directory: int, generations: Sequence[Generation]) -> None:
        self._replace_fixed(directory)  # at every publish, because the directory may have been replaced
        if self._earlier is None:
            self._earlier = self._read_earlier_sections(directory)
        self._state.announce(directory, generations, partial(replace_file, directory))
        for generation in generations:
            name, credentials = generation.profile, generation.credentials
            self._replace(directory, f"{name}.json", (formats.credential_process_json(credentials),))
            self._state.confirm(name)
            if self._spec.env:
                self._replace(directory, f"{name}.env", (formats.env_file(credentials, self._profiles[name].region),))
            self._published[name] = credentials
        self._replace(directory, "credentials", formats.credentials_ini(self._iterate_sections(self._earlier)))

    def _iterate_sections(self, earlier: Mapping[str, bytes]) -> Iterator[bytes]:
        """Yield the sections of the combined file. They are rendered each time: kept, they would double the secrets."""
        for name in self._profiles:
            if name in self._published:
                yield formats.credentials_section(name, self._published[name])
            elif name in earlier:
                yield earlier[name]

    def _find_incomplete(self, directory: int, generations: Mapping[str, Generation]) -> Iterator[str]:
        """Yield the profiles of which a file has other content or another mode than `publish` gives it."""
        combined = self._read_content(directory, "credentials")
        for name, generation in generations.items():
            credentials = generation.credentials
            expected_env = formats.env_file(credentials, self._profiles[name].region) if self._spec.env else None
            if (
                self._read_content(directory, f"{name}.json") != formats.credential_process_json(credentials)
                or formats.credentials_section(name, credentials) not in (combined or b"")
                or (expected_env is not None and self._read_content(directory, f"{name}.env") != expected_env)
            ):
                yield name

    def _read_content(self, directory: int, name: str) -> bytes | None:
        """Return the content of a file that is as `publish` leaves it: the broker's own, with the configured mode."""
        with suppress(NotRestorable):
            file = read_owned_file(directory, name, maximum_bytes=_MAXIMUM_LENGTH_READ)
            if file is not None and file.mode == self._spec.mode:
                return file.content
        return None

    def _replace_fixed(self, directory: int) -> None:
        for name, content in self._fixed.items():
            self._replace(directory, name, (content,))

    def _replace(self, directory: int, name: str, parts: Iterable[bytes]) -> None:
        replace_file(directory, name, parts, mode=self._spec.mode, group=self._spec.group)

    def _read_earlier_sections(self, directory: int) -> dict[str, bytes]:
        """Return the sections of profiles whose files from an earlier start hold unexpired credentials.

        The combined file keeps these sections until the profiles are refreshed.
        """
        now = self._clock.read().now
        sections = {}
        for name in self._profiles:
            with suppress(OSError):
                content = read_regular_file(f"{name}.json", _MAXIMUM_LENGTH_READ, directory=directory)
                section = formats.credentials_section_from_json(name, content, now)
                if section is not None:
                    sections[name] = section
        return sections


def find_missing(directory: str, files: Mapping[str, Collection[str]]) -> frozenset[str]:
    """Return the profiles of which a file is missing. `files` has the names of each profile's files."""
    try:
        existing = set(os.listdir(directory))  # noqa: PTH208 - only the names are needed
    except (FileNotFoundError, NotADirectoryError):
        existing = set()
    except OSError:
        return frozenset()  # unknown; the next publish reports the error
    return frozenset(profile for profile, names in files.items() if not existing.issuperset(names))


@contextmanager
def open_directory(path: str) -> Iterator[int]:
    """Open the publish directory to write into it, or create it. Sync it at the end, so that renames survive a crash.

    An OSError in the block becomes a PublishError that says what to change.
    """
    try:
        with suppress(FileExistsError):
            os.mkdir(path, _DIRECTORY_MODE)  # noqa: PTH102 - pathlib adds nothing here
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield directory
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        place, name = path, error.filename
        names = () if name in (None, place) else (str(name), f".{name}.new")
        fault = explain_write_failure(error, place, names)
        place = f"{place} ({name})" if names else place
        message = f"Cannot publish in {place}: {fault.found}."
        raise PublishError(message, fault.remedy, sink=SINK, errno=error.errno or 0) from None


def replace_file(directory: int, name: str, parts: Iterable[bytes], mode: int, group: int | None = None) -> None:
    """Replace the file `name` by one with these parts, mode and group. Raises OSError.

    `directory` is a file descriptor. The numbered steps are safe in this order only.
    """
    temporary = f".{name}.new"
    with suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=directory)  # 1. left by a crash, or put there by someone else
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.open(temporary, flags, 0o600, dir_fd=directory)  # 2. not readable for others while it is written
    try:
        try:
            with os.fdopen(file, "wb", closefd=False) as stream:
                stream.writelines(parts)
            if group is not None:
                os.fchown(file, -1, group)  # 3. group and mode before the file is visible
            os.fchmod(file, mode)
            os.fsync(file)  # 4. content on disk before the name
        finally:
            os.close(file)
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)  # 5. visible, as one step
    except OSError as error:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=directory)
        error.filename = name
        raise
