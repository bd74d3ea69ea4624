"""The state file, `.state.json`: what the broker must know after a restart to use the credentials it published.

Each profile has one record for each `<profile>.json` that may be in place: the one that is being written, and the one
before. A record belongs to the file with its SHA-256 digest. It contains no secret. Only the broker reads this file, so
its format is not part of the contract.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from broker.core.first_refresh import LARGEST_JITTER
from broker.core.model import Generation, Secret, TemporaryCredentials
from broker.core.records import Struct, asdict, convert, replace
from broker.publish.formats import parse_document
from broker.publish.owned_files import NotRestorable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from broker.core.clock import Instant
    from broker.core.model import ProfileSpec

STATE_FILE = ".state.json"
STATE_MODE = 0o600
MAXIMUM_STATE_BYTES = 8_000_000
"""Room for more than 5000 profiles."""
_VERSION = 1
_UNRELATED_SETTINGS = frozenset({"notify", "required", "web_identity_token"})
"""Settings of a profile that do not affect which credentials STS issues."""


class Record(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known about one published `<profile>.json`, all of it plain text and numbers.

    `digest` identifies the file, `configuration` the settings that its credentials were requested with, and `boot` the
    boot of the node that `succeeded_at_seconds` (monotonic) counts from. The other fields are those of Generation and
    TemporaryCredentials.
    """

    digest: str
    configuration: str
    boot: str
    generation: int
    reason: str
    fingerprint: str
    jitter: float
    succeeded_at_seconds: float
    received_at: str
    lifetime_seconds: float
    assumed_role_arn: str
    request_id: str


def compute_digest(document: bytes) -> str:
    """Return the SHA-256 digest that identifies a published file."""
    return hashlib.sha256(document).hexdigest()


def fingerprint_configuration(profile: ProfileSpec, profiles: Mapping[str, ProfileSpec], endpoint_url: str) -> str:
    """Return the SHA-256 digest of everything in the settings that affects which credentials STS issues.

    That includes the sources of a chained role. A setting that is added to ProfileSpec later is included, too.
    """
    specs = [profile]
    while (chain := specs[-1].chain) is not None:
        specs.append(profiles[chain.source])
    settings = [
        {name: value for name, value in asdict(spec).items() if name not in _UNRELATED_SETTINGS} for spec in specs
    ]
    text = json.dumps([endpoint_url, settings], default=str, sort_keys=True)
    return compute_digest(text.encode())


def make_record(generation: Generation, document: bytes, *, configuration: str, boot: str) -> Record:
    """Return the record of a generation that is published as `document`."""
    credentials = generation.credentials
    return Record(
        digest=compute_digest(document),
        configuration=configuration,
        boot=boot,
        generation=generation.number,
        reason=generation.reason,
        fingerprint=generation.fingerprint,
        jitter=generation.jitter,
        succeeded_at_seconds=generation.succeeded_at.total_seconds(),
        received_at=credentials.received_at.isoformat(),
        lifetime_seconds=credentials.lifetime.total_seconds(),
        assumed_role_arn=credentials.assumed_role_arn,
        request_id=credentials.request_id,
    )


def render_state(records: Mapping[str, Sequence[Record]]) -> Iterator[bytes]:
    """Yield the parts of the state file with the records of each profile.

    One profile at a time, because the text of hundreds of profiles at once would enlarge the heap for good.
    """
    yield f'{{"version": {_VERSION}, "profiles": {{'.encode()
    separator = ""
    for name, each in records.items():
        yield f"{separator}{json.dumps(name)}: {_render_records(each)}".encode()
        separator = ", "
    yield b"}}\n"


def _render_records(records: Sequence[Record]) -> str:
    return json.dumps([asdict(record) for record in records])


def parse_state(content: bytes) -> dict[str, tuple[Record, ...]]:
    """Return the records of each profile. Raises ValueError if the content is malformed or of another version."""
    try:
        document = json.loads(content)
        if document["version"] != _VERSION:
            raise ValueError("it has another version")
        return {
            name: tuple(convert(record, Record) for record in records) for name, records in document["profiles"].items()
        }
    except (TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError("it is malformed") from error


def restore_generation(profile: str, document: bytes, record: Record, *, boot: str, at: Instant) -> Generation:
    """Return the generation in `document`, which is the `<profile>.json` of this record. Raises NotRestorable.

    `boot` is the current boot of the node.
    """
    try:
        generation = _build_generation(profile, document, record)
        if not boot or record.boot != boot or generation.succeeded_at > at.monotonic:
            generation = _anchor_generation(generation, at)
        credentials = generation.credentials
        if credentials.usable_until <= at.now or at.monotonic - generation.succeeded_at >= credentials.lifetime:
            raise NotRestorable("they have expired", is_expected=True)
    except (ValueError, OverflowError):
        raise NotRestorable(f"{profile}.json or its record in {STATE_FILE} is malformed") from None
    return generation


def _build_generation(profile: str, document: bytes, record: Record) -> Generation:
    """Return the generation with the keys of the document. Raises ValueError or OverflowError."""
    keys, expires_at, account_id = parse_document(document)
    received_at = datetime.fromisoformat(record.received_at)
    if received_at.tzinfo is None or not 0 <= record.jitter <= LARGEST_JITTER or record.generation < 1:
        raise ValueError("a value is out of range")
    credentials = TemporaryCredentials(
        access_key_id=keys[0],
        secret_access_key=Secret(keys[1]),
        session_token=Secret(keys[2]),
        received_at=received_at.astimezone(UTC),
        expires_at=expires_at,
        lifetime=timedelta(seconds=record.lifetime_seconds),
        assumed_role_arn=record.assumed_role_arn,
        account_id=account_id,
        request_id=record.request_id,
    )
    return Generation(
        profile=profile,
        number=record.generation,
        credentials=credentials,
        reason=record.reason,
        fingerprint=record.fingerprint,
        jitter=record.jitter,
        succeeded_at=timedelta(seconds=record.succeeded_at_seconds),
    )


def _anchor_generation(generation: Generation, at: Instant) -> Generation:
    """Return the generation with its age taken from the wall clock, because the node has booted since.

    Raises NotRestorable if it seems to be from the future: then no clock tells its age.
    """
    age = at.now - generation.credentials.received_at
    if age < timedelta(0):
        raise NotRestorable("they seem to be from the future, and the node has restarted since")
    return replace(generation, succeeded_at=at.monotonic - age)
