"""THE file writer: a reader sees the last generation or the next one, whole, and nothing else.

Each file is written beside its place and renamed onto it, with mode and group set before it is visible, at every
write. Links planted in the directory are replaced, never followed. Nothing is ever taken away or written blank: what
was published before a crash stays, and stays in the combined file too, until something newer replaces it.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from broker.core.errors import PublishError
from broker.core.model import ENDPOINT_TOKEN_FILE
from broker.publish import formats

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from broker.core.clock import Clock
    from broker.core.model import Generation, ProfileSpec, PublishSpec, Secret

SINK = "files"
_DIRECTORY_MODE = 0o750
_MAXIMUM_LENGTH_READ = 1_000_000
REMEDIES = {
    errno.ENOSPC: "Raise sizeLimit of the emptyDir, or free what else was written there.",
    errno.EDQUOT: "Raise sizeLimit of the emptyDir, or free what else was written there.",
    errno.EACCES: "Set fsGroup in the pod's securityContext, or runAsUser to the directory's owner.",
    errno.EPERM: "BROKER_PUBLISH_GROUP must be a group of the broker's process: list it in supplementalGroups.",
    errno.EROFS: "Mount the volume without readOnly in the broker's container; read-only is for the app's.",
    errno.ENOENT: "Mount an emptyDir (medium: Memory) there, or set BROKER_PUBLISH_DIRECTORY.",
    errno.ENOTDIR: "Set BROKER_PUBLISH_DIRECTORY to a directory.",
    errno.EISDIR: "Remove the directory that stands where the file belongs.",
}
"""What to do about the system's refusals, by their numbers."""


class FileSink:
    """Publishes generations as the files of docs/architecture.md in one directory.

    `endpoint_token`, where there is an endpoint, is written along with them.
    """

    def __init__(
        self,
        spec: PublishSpec,
        profiles: Sequence[ProfileSpec],
        clock: Clock,
        endpoint_token: Secret | None = None,
    ) -> None:
        self._spec = spec
        self._profiles = {profile.name: profile for profile in profiles}
        self._clock = clock
        self._fixed = {"config": formats.config_ini(profiles, spec.directory, spec.process_command)}
        if endpoint_token is not None:
            self._fixed[ENDPOINT_TOKEN_FILE] = formats.authorization_token(endpoint_token)
        self._sections: dict[str, bytes] | None = None

    def prepare(self) -> None:
        """Write the files that no generation changes, so that readers find them before the first one.

        Raises PublishError; the next publish writes them again.
        """
        with self._explained(), self._directory() as directory:
            self._replace_fixed(directory)

    def publish(self, generations: Sequence[Generation]) -> None:
        """Write the files of these generations and the combined ones.

        Raises PublishError; some files may then be new and others old, each of them whole. Repeating is safe.
        """
        with self._explained(), self._directory() as directory:
            self._publish(directory, generations)

    def missing(self) -> frozenset[str]:
        """Return the profiles whose files are not there, because somebody removed them or mounted another volume."""
        try:
            there = set(os.listdir(self._spec.directory))  # noqa: PTH208 - names are what is wanted
        except (FileNotFoundError, NotADirectoryError):
            there = set()
        except OSError:
            return frozenset()  # not to be known now; the next publish tells of it
        endings = ("json", "env") if self._spec.env else ("json",)
        return frozenset(
            name
            for name in self._profiles
            if not {*self._fixed, "credentials", *(f"{name}.{ending}" for ending in endings)} <= there
        )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn an OSError into a PublishError that says what to change."""
        try:
            yield
        except OSError as error:
            number = error.errno or 0
            where = self._spec.directory
            if error.filename not in (None, where):
                where = f"{where} ({error.filename})"
            raise PublishError(
                f"Cannot publish in {where}: {os.strerror(number)}.",
                REMEDIES.get(number, "Look at the volume behind BROKER_PUBLISH_DIRECTORY."),
                sink=SINK,
                errno=number,
            ) from None

    @contextmanager
    def _directory(self) -> Iterator[int]:
        """Open the directory, made where it is not there, and make what was renamed in it last. Raises OSError."""
        with suppress(FileExistsError):
            os.mkdir(self._spec.directory, _DIRECTORY_MODE)  # noqa: PTH102 - pathlib's mkdir is this one
        directory = os.open(self._spec.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield directory
            os.fsync(directory)
        finally:
            os.close(directory)

    def _publish(self, directory: int, generations: Sequence[Generation]) -> None:
        self._replace_fixed(directory)  # at every publish, for the directory may be another than at the last one
        if self._sections is None:
            self._sections = self._sections_left_by_a_predecessor(directory)
        for generation in generations:
            name, credentials = generation.profile, generation.credentials
            self._replace(directory, f"{name}.json", formats.credential_process_json(credentials))
            if self._spec.env:
                region = self._profiles[name].region
                self._replace(directory, f"{name}.env", formats.env_file(credentials, region))
            self._sections[name] = formats.credentials_section(name, credentials)
        in_order = (self._sections[name] for name in self._profiles if name in self._sections)
        self._replace(directory, "credentials", formats.credentials_ini(in_order))

    def _replace_fixed(self, directory: int) -> None:
        for name, content in self._fixed.items():
            self._replace(directory, name, content)

    def _replace(self, directory: int, name: str, content: bytes) -> None:
        replace_file(directory, name, content, mode=self._spec.mode, group=self._spec.group)

    def _sections_left_by_a_predecessor(self, directory: int) -> dict[str, bytes]:
        """Return the sections of profiles whose files are still good, so that the combined file loses none of them."""
        now = self._clock.read().now
        sections = {}
        for name in self._profiles:
            with suppress(OSError):
                # Neither follow a planted link nor block on a planted pipe.
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                file = os.open(f"{name}.json", flags, dir_fd=directory)
                try:
                    content = os.read(file, _MAXIMUM_LENGTH_READ)
                finally:
                    os.close(file)
                section = formats.credentials_section_from_json(name, content, now)
                if section is not None:
                    sections[name] = section
        return sections


def replace_file(directory: int, name: str, content: bytes, *, mode: int, group: int | None = None) -> None:
    """Put `content` in place of the file `name`. The numbers are the order that makes it safe. Raises OSError."""
    temporary = f".{name}.new"
    with suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=directory)  # 1. what a crash left behind, or somebody planted
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.open(temporary, flags, 0o600, dir_fd=directory)  # 2. readable by nobody else while it grows
    try:
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(file, view) :]
            if group is not None:
                os.fchown(file, -1, group)  # 3. group and mode, before anybody can see it
            os.fchmod(file, mode)
            os.fsync(file)  # 4. content before name
        finally:
            os.close(file)
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)  # 5. visible, all at once
    except OSError as error:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=directory)
        error.filename = name
        raise
