"""`sts-broker issuer render`: the two documents of a self-hosted issuer, from a cluster's keys and public key files.

Rules: nothing is written that `sts-broker issuer check` would refuse; all faults are told at once, without a key; the
same keys in any order give the same bytes; the keys are in place before the document that names them.
Sources: OpenID Connect Discovery 1.0 section 3; the members are those that API servers and ccoctl write (openshift
cloud-credential-operator pkg/cmd/provisioning), with authorization_endpoint, which section 3 requires, as the AWS pod
identity webhook's guide for self-hosted clusters (SELF_HOSTED_SETUP.md) has it.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from broker.core.errors import ConfigurationError, PublishError
from broker.core.findings import Verdict, quoted
from broker.discovery import issuer_url
from broker.issuer import key_sets, public_keys
from broker.net.https_client import MAXIMUM_BYTES
from broker.publish.file_sink import replace_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.issuer.public_keys import PublicKey

_DIRECTORY_MODE = 0o755
_FILE_MODE = 0o644  # to be published to everybody
_CLAIMS = ("aud", "exp", "iat", "iss", "sub")


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """What an issuer serves: `discovery` and `keys` as bytes, and which keys these are."""

    discovery: bytes
    keys: bytes
    published: tuple[PublicKey, ...]


def gather(
    jwks_files: Sequence[str], key_files: Sequence[str], standard_input: BinaryIO
) -> tuple[list[PublicKey], list[str]]:
    """Return the keys of all files, "-" being standard input, and what is wrong with files."""
    found: list[PublicKey] = []
    faults: list[str] = []
    for path in jwks_files:
        try:
            found += _from_jwks(_read(path, standard_input), "standard input" if path == "-" else path)
        except ConfigurationError as error:
            faults += error.faults
    for path in key_files:
        try:
            found += public_keys.from_pem(_read(path, standard_input).decode("utf-8", errors="replace"), path)
        except ConfigurationError as error:
            faults += error.faults
        except ValueError as error:
            faults.append(str(error))
    return found, faults


def render(issuer: str, keys: Sequence[PublicKey], faults: Sequence[str] = ()) -> Documents:
    """Return the documents.

    Raises ConfigurationError where STS would refuse the issuer or the keys, or there were `faults` before.
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
        faults = _refusals(document, "The keys together")
    if faults:
        raise ConfigurationError(tuple(faults))
    return Documents(discovery=_discovery(issuer, in_order), keys=_encoded(document), published=in_order)


def taken_out(directory: str, documents: Documents) -> list[str]:
    """Return the ids of keys that the directory's key document has and the new one has not."""
    path = os.path.join(directory, issuer_url.KEYS_PATH.lstrip("/"))  # noqa: PTH118 - one way to write in this package
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - likewise
            before = key_sets.examine(key_sets.parse(file.read(MAXIMUM_BYTES)))[0]
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
                replace_file(opened, name, content, mode=_FILE_MODE)
                os.fsync(opened)
            finally:
                os.close(opened)
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise PublishError(
                f"Cannot write {path}: {reason}.",
                "Name a directory with --output that can be written.",
                sink="issuer",
                errno=error.errno,
            ) from None
    return keys, discovery


def _from_jwks(content: bytes, origin: str) -> list[PublicKey]:
    try:
        document = key_sets.parse(content)
    except ValueError as error:
        raise ConfigurationError(
            (f"{origin}: {error}. Give the output of kubectl get --raw /openid/v1/jwks.",)
        ) from None
    faults = _refusals(document, origin)
    if faults:
        raise ConfigurationError(tuple(faults))
    return key_sets.examine(document)[0]


def _refusals(document: dict[str, object], origin: str) -> list[str]:
    findings = key_sets.examine(document)[1]
    return [f"{origin}: {each.found} {each.remedy}" for each in findings if each.verdict is Verdict.FAILED]


def _read(path: str, standard_input: BinaryIO) -> bytes:
    try:
        if path == "-":
            content = standard_input.read(MAXIMUM_BYTES + 1)
        else:
            with open(path, "rb") as file:  # noqa: PTH123 - one way to read in this package
                content = file.read(MAXIMUM_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a path that no file can have
        number = error.errno if isinstance(error, OSError) else None
        reason = os.strerror(number) if number else "no such path"
        raise ConfigurationError((f"{quoted(path)} cannot be read: {reason}.",)) from None
    if len(content) > MAXIMUM_BYTES:
        raise ConfigurationError((f"{quoted(path)} has over {MAXIMUM_BYTES:,} bytes; it holds something else.",))
    return content


def _discovery(issuer: str, keys: Sequence[PublicKey]) -> bytes:
    return _encoded(
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


def _encoded(document: dict[str, object]) -> bytes:
    return (json.dumps(document, indent=2) + "\n").encode()
