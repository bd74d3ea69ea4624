"""`sts-broker issuer render`: writes the two documents of a self-hosted issuer from its public keys.

Nothing is written that `sts-broker issuer check` would refuse. All faults are reported at once, without quoting a key.
The same keys in any order give the same bytes. The keys are written before the document that names them.
Sources: OpenID Connect Discovery 1.0 section 3. The members are those that API servers and ccoctl write (openshift
cloud-credential-operator pkg/cmd/provisioning), with authorization_endpoint, which section 3 requires, as in the AWS
pod identity webhook's guide for self-hosted clusters (SELF_HOSTED_SETUP.md).
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from broker.core.errors import ConfigurationError, PublishError
from broker.core.findings import Verdict, quoted
from broker.discovery import issuer_url, key_documents
from broker.discovery.fetching import MAXIMUM_BYTES
from broker.files.regular_file import read_regular_file
from broker.issuer import public_keys
from broker.publish.file_sink import replace_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.core.findings import Finding
    from broker.discovery.key_documents import PublishedKey
    from broker.issuer.public_keys import PublicKey

_DIRECTORY_MODE = 0o755
_FILE_MODE = 0o644  # the documents are public
_CLAIMS = ("aud", "exp", "iat", "iss", "sub")


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """What an issuer serves: both documents as bytes, and the keys in them."""

    discovery: bytes
    keys: bytes
    published: tuple[PublicKey, ...]


@dataclass(slots=True, kw_only=True)
class Gathered:
    """What was read from files: usable keys, keys that STS cannot use (kid and reason), and faults (sentences)."""

    keys: list[PublicKey] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def gather(jwks_files: Sequence[str], key_files: Sequence[str], standard_input: BinaryIO) -> Gathered:
    """Read the keys of all files; "-" stands for standard input."""
    gathered = Gathered()
    for path in jwks_files:
        try:
            _add_jwks(_read(path, standard_input), "standard input" if path == "-" else path, gathered)
        except ConfigurationError as error:
            gathered.faults += error.faults
    for path in key_files:
        try:
            text = _read(path, standard_input).decode("utf-8", errors="replace")
            gathered.keys += public_keys.from_pem(text, path)
        except ConfigurationError as error:
            gathered.faults += error.faults
        except ValueError as error:
            gathered.faults.append(str(error))
    return gathered


def render(issuer: str, keys: Sequence[PublicKey], faults: Sequence[str] = ()) -> Documents:
    """Return the documents.

    Raises ConfigurationError if STS would refuse the issuer or the keys, or if there were `faults` before.
    """
    faults = [*(f"{finding.found} {finding.remedy}" for finding in issuer_url.examine(issuer)), *faults]
    published: dict[str, PublicKey] = {}
    clashing = [key.kid for key in keys if published.setdefault(key.kid, key) != key]
    faults += [f"Two different keys have the kid {quoted(kid)}. Leave one of them out." for kid in clashing]
    if not faults and not published:
        faults.append("There is no key to publish. Give --jwks or --public-key.")
    in_order = tuple(published[kid] for kid in sorted(published))
    document: dict[str, object] = {"keys": [key.document() for key in in_order]}
    if not faults:
        faults = _describe_failures(key_documents.examine(document, _describe_key).findings, "The keys together")
    if faults:
        raise ConfigurationError(tuple(faults))
    return Documents(discovery=_render_discovery(issuer, in_order), keys=_encode(document), published=in_order)


def find_withdrawn(directory: str, documents: Documents) -> list[str]:
    """Return the ids of keys that are in the directory's key document, but not in the new one."""
    path = os.path.join(directory, issuer_url.KEYS_PATH.lstrip("/"))  # noqa: PTH118 - one way to write in this package
    try:
        content = read_regular_file(path, MAXIMUM_BYTES)
        before = key_documents.examine(key_documents.parse(content), _describe_key).keys
    except (OSError, ValueError):
        return []
    return sorted({key.kid for key in before} - {key.kid for key in documents.published})


def write(directory: str, documents: Documents) -> tuple[str, str]:
    """Write both documents under the directory, the keys first. Return their paths. Raises PublishError."""
    keys = os.path.join(directory, issuer_url.KEYS_PATH.lstrip("/"))  # noqa: PTH118 - one way to write in this package
    discovery = os.path.join(directory, issuer_url.DISCOVERY_PATH.lstrip("/"))  # noqa: PTH118
    for path, content in ((keys, documents.keys), (discovery, documents.discovery)):
        folder, name = os.path.split(path)
        try:
            os.makedirs(folder, mode=_DIRECTORY_MODE, exist_ok=True)  # noqa: PTH103
            opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                replace_file(opened, name, (content,), mode=_FILE_MODE)
                os.fsync(opened)
            finally:
                os.close(opened)
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise PublishError(
                f"Cannot write {path}: {reason}.",
                "Name a directory that can be written (--output).",
                sink="issuer",
                errno=error.errno,
            ) from None
    return keys, discovery


def _describe_key(key: PublishedKey) -> str:
    """Return a description of the key. Raises ValueError if its numbers are not sound."""
    return public_keys.from_published(key).description


def _add_jwks(content: bytes, origin: str, gathered: Gathered) -> None:
    """Add the keys of a key document. Raises ConfigurationError if STS would refuse the document."""
    try:
        document = key_documents.parse(content)
    except ValueError as error:
        raise ConfigurationError(
            (f"{origin}: {error}. Give the output of kubectl get --raw /openid/v1/jwks.",)
        ) from None
    judged = key_documents.examine(document, _describe_key)
    faults = _describe_failures(judged.findings, origin)
    if faults:
        raise ConfigurationError(tuple(faults))
    gathered.keys += [public_keys.from_published(key) for key in judged.keys]
    gathered.left_out += judged.passed_over


def _describe_failures(findings: Sequence[Finding], origin: str) -> list[str]:
    return [f"{origin}: {each.found} {each.remedy}" for each in findings if each.verdict is Verdict.FAILED]


def _read(path: str, standard_input: BinaryIO) -> bytes:
    try:
        if path == "-":
            content = standard_input.read(MAXIMUM_BYTES + 1)
        else:
            # From the command line, so it may be a pipe, such as that of `<(kubectl get --raw /openid/v1/jwks)`.
            with open(path, "rb") as file:  # noqa: PTH123 - one way to read in this package
                content = file.read(MAXIMUM_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a path that no file can have, such as one with a NUL
        number = error.errno if isinstance(error, OSError) else None
        reason = os.strerror(number) if number else "no such path"
        raise ConfigurationError((f"{quoted(path)} cannot be read: {reason}.",)) from None
    if len(content) > MAXIMUM_BYTES:
        raise ConfigurationError((f"{quoted(path)} has over {MAXIMUM_BYTES:,} bytes. Give a file with keys only.",))
    return content


def _render_discovery(issuer: str, keys: Sequence[PublicKey]) -> bytes:
    return _encode(
        {
            "issuer": issuer,
            "jwks_uri": issuer + issuer_url.KEYS_PATH,
            "authorization_endpoint": "urn:kubernetes:programmatic_authorization",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": sorted({key.algorithm for key in keys}),
            "claims_supported": list(_CLAIMS),
        }
    )


def _encode(document: dict[str, object]) -> bytes:
    return (json.dumps(document, indent=2) + "\n").encode()
