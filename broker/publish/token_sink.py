"""The writer of web identity tokens, `<profile>.jwt`. It is imported only if there are, or were, such tokens.

Files are written as those of `file_sink`: a reader sees the previous token or the new one, always complete. The names
of all token files are in a record, which is written before them. The next start removes the files of tokens that are no
longer configured. It removes nothing that is not in the record, or that belongs to another user.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from broker.core.model import WEB_IDENTITY_TOKEN_RECORD
from broker.core.web_identity_spec import FILE_ENDING
from broker.publish.file_sink import SINK, find_missing, open_directory, replace_file
from broker.publish.owned_files import NotRestorable, read_owned_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from broker.core.model import PublishSpec
    from broker.core.web_identity_token import WebIdentityToken

RECORD_MODE = 0o600
_MAXIMUM_RECORD_BYTES = 1_000_000
_MAXIMUM_TOKEN_BYTES = 100_000
_FILE_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.-]*\.{FILE_ENDING}")


def read_token_file(directory: int, profile: str) -> str | None:
    """Return the published token of a profile, None if there is none. Raises NotRestorable for a file of others."""
    file = read_owned_file(directory, f"{profile}.{FILE_ENDING}", maximum_bytes=_MAXIMUM_TOKEN_BYTES)
    return None if file is None else file.content.decode("ascii", errors="replace")


class TokenSink:
    """Publishes the web identity tokens of these profiles in one directory."""

    name = SINK

    def __init__(self, spec: PublishSpec, profiles: Iterable[str]) -> None:
        self._spec = spec
        self._files = {profile: f"{profile}.{FILE_ENDING}" for profile in profiles}

    def prepare(self) -> None:
        """Remove the files of tokens that are no longer configured. Raises PublishError."""
        with open_directory(self._spec.directory) as directory:
            earlier = _read_record(directory)
            for name in sorted(earlier - set(self._files.values())):
                _remove_own_file(directory, name)
            if self._files:
                self._write_record(directory)
            else:
                _remove_own_file(directory, WEB_IDENTITY_TOKEN_RECORD)

    def publish(self, tokens: Sequence[WebIdentityToken]) -> None:
        """Write the files of these tokens.

        Raises PublishError. Then some files may be new and others old, but each is complete. Repeating is safe.
        """
        with open_directory(self._spec.directory) as directory:
            self._write_record(directory)  # at every publish, because the directory may have been replaced
            for token in tokens:
                # Readers send the file's whole content, so there is no newline at the end.
                parts = (token.raw.reveal().encode(),)
                spec = self._spec
                replace_file(directory, self._files[token.profile], parts, mode=spec.mode, group=spec.group)

    def missing(self) -> frozenset[str]:
        """Return the profiles whose files are missing, because someone deleted them or mounted another volume."""
        return find_missing(self._spec.directory, {profile: (file,) for profile, file in self._files.items()})

    def _write_record(self, directory: int) -> None:
        content = json.dumps({"files": sorted(self._files.values())}).encode() + b"\n"
        replace_file(directory, WEB_IDENTITY_TOKEN_RECORD, (content,), mode=RECORD_MODE)


def _read_record(directory: int) -> set[str]:
    """Return the names in the record of an earlier start that are names of token files; none if it is unusable."""
    with suppress(NotRestorable, ValueError, KeyError, TypeError):
        file = read_owned_file(directory, WEB_IDENTITY_TOKEN_RECORD, maximum_bytes=_MAXIMUM_RECORD_BYTES)
        if file is not None and file.mode == RECORD_MODE:
            names = json.loads(file.content)["files"]
            return {name for name in names if isinstance(name, str) and _FILE_NAME.fullmatch(name)}
    return set()


def _remove_own_file(directory: int, name: str) -> None:
    """Remove a file if it is a regular file of the broker's user. Raises OSError."""
    with suppress(NotRestorable):
        if read_owned_file(directory, name, maximum_bytes=_MAXIMUM_RECORD_BYTES) is not None:
            os.unlink(name, dir_fd=directory)
