"""Keeps the state file, and finds with it which published credentials belong to this configuration.

The state file is written before the files that it describes, and keeps the record of those that they replace. A crash
at any moment therefore leaves files that the next start recognizes, the new ones or the old ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.core.records import Struct
from broker.publish.formats import credential_process_json
from broker.publish.owned_files import NotRestorable, read_owned_file
from broker.publish.state_file import (
    MAXIMUM_STATE_BYTES,
    STATE_FILE,
    STATE_MODE,
    Record,
    compute_digest,
    fingerprint_configuration,
    make_record,
    parse_state,
    render_state,
    restore_generation,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from broker.core.clock import Instant
    from broker.core.model import Generation, ProfileSpec

_BOOT_ID = "/proc/sys/kernel/random/boot_id"


class Origin(Struct, frozen=True, kw_only=True):
    """Where credentials and times come from, besides the profiles.

    `endpoint_url` is the setting of STS's address. `boot` identifies the boot of the node, which its monotonic clock
    counts from; "" if it is unknown.
    """

    endpoint_url: str = ""
    boot: str = ""


UNKNOWN_ORIGIN = Origin()


class Restoration(Struct, frozen=True, kw_only=True):
    """What an earlier start published, by profile.

    `generations` are valid and belong to the settings. `incomplete` are those of them that need another publish.
    `skipped` says why other files are not used.
    """

    generations: Mapping[str, Generation]
    incomplete: frozenset[str]
    skipped: Mapping[str, NotRestorable]


class PublishedState:
    """The records of the published files."""

    def __init__(self, profiles: Sequence[ProfileSpec], origin: Origin) -> None:
        by_name = {profile.name: profile for profile in profiles}
        self._configurations = {
            profile.name: fingerprint_configuration(profile, by_name, origin.endpoint_url) for profile in profiles
        }
        self._boot = origin.boot
        self._records: dict[str, tuple[Record, ...]] | None = None
        self._announced: dict[str, Record] = {}
        self._problem = f"there is no {STATE_FILE} for it"

    def announce(
        self, directory: int, generations: Sequence[Generation], replace: Callable[[str, Iterable[bytes], int], None]
    ) -> None:
        """Write the state file for generations that are about to be published, with `replace(name, parts, mode)`.

        Raises OSError.
        """
        records = self._load(directory)
        self._announced = {
            generation.profile: make_record(
                generation,
                credential_process_json(generation.credentials),
                configuration=self._configurations[generation.profile],
                boot=self._boot,
            )
            for generation in generations
        }
        listed = {name: (new, *records.get(name, ())) for name, new in self._announced.items()}
        replace(STATE_FILE, render_state({**records, **listed}), STATE_MODE)

    def confirm(self, profile: str) -> None:
        """Record that the announced generation of the profile has replaced the one before."""
        if self._records is not None:
            self._records[profile] = (self._announced[profile],)

    def restore(self, directory: int, profile: str, document: bytes, at: Instant) -> Generation:
        """Return the generation that `<profile>.json` contains. Raises NotRestorable."""
        records = self._load(directory)
        if profile not in records:
            raise NotRestorable(self._problem)
        digest = compute_digest(document)
        record = next((each for each in records[profile] if each.digest == digest), None)
        if record is None:
            raise NotRestorable(f"{profile}.json is not a file that {STATE_FILE} describes")
        if record.configuration != self._configurations[profile]:
            raise NotRestorable("the settings have changed since it was published", is_expected=True)
        return restore_generation(profile, document, record, boot=self._boot, at=at)

    def _load(self, directory: int) -> dict[str, tuple[Record, ...]]:
        """Return the records of an earlier start, which are read once. Those of removed profiles are left out."""
        if self._records is None:
            try:
                self._records = self._read(directory)
            except NotRestorable as error:
                self._records, self._problem = {}, str(error)
        return self._records

    def _read(self, directory: int) -> dict[str, tuple[Record, ...]]:
        """Return the records in the state file. Raises NotRestorable."""
        file = read_owned_file(directory, STATE_FILE, maximum_bytes=MAXIMUM_STATE_BYTES)
        if file is None:
            return {}
        if file.mode != STATE_MODE:
            raise NotRestorable(f"{STATE_FILE} has mode {file.mode:04o} instead of {STATE_MODE:04o}")
        try:
            records = parse_state(file.content)
        except ValueError as error:
            raise NotRestorable(f"{STATE_FILE} cannot be used: {error}") from None
        return {name: each for name, each in records.items() if name in self._configurations}


def read_boot_id() -> str:
    """Return the identifier of the current boot of the node, or "" if the kernel does not provide it."""
    try:
        with open(_BOOT_ID, encoding="ascii") as file:  # noqa: PTH123 - pathlib adds nothing here
            return file.read().strip()
    except (OSError, ValueError):
        return ""
