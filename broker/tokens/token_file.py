"""Read the bound token from its file, and say exactly what is wrong with it if it is unfit.

This module runs in the resident process. `decoding`, which knows JWTs, runs in a worker.

A token that is absent, empty, too large, not a JWT, without `exp`, expired or for another audience is never sent to
STS. The file is opened for each read, because the kubelet rotates the token by swapping a symbolic link: an open file
would keep the old one. Nothing is verified here, as the type UnverifiedClaims says; STS does that.
"""

from __future__ import annotations

import codecs
from datetime import timedelta
from typing import TYPE_CHECKING

from broker.core.errors import TokenAudienceMismatch, TokenError, TokenExpired, TokenMalformed, TokenUnavailable
from broker.core.model import BoundToken, Secret, printable
from broker.core.token_issuers import describe_audience, describe_renewal, is_rotated_by_kubelet
from broker.files.regular_file import NotRegularFileError, read_regular_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from broker.core.clock import Clock

    OnDecoded = Callable[[BoundToken | TokenError], None]

MAXIMUM_TOKEN_LENGTH = 20_000
"""STS's own limit on WebIdentityToken, in characters (botocore's STS model)."""
ROTATION_SHARE = 0.8
"""The kubelet replaces a token that is older than this share of its life, or than 24 hours (k8s token_manager.go)."""
ROTATION_AGE = timedelta(hours=24)
CLOCK_TOLERANCE = timedelta(seconds=60)
"""How far ahead of now a token's `nbf` may be: the clocks of nodes and API servers differ by seconds."""
FSGROUP_REMEDY = "Set fsGroup in the pod's securityContext, so that the broker's group may read the file."
_PROJECTED_VOLUME_REMEDY = (
    "Mount a projected serviceAccountToken volume there (as a directory, not by subPath), or set "
    "web_identity_token_file (AWS_WEB_IDENTITY_TOKEN_FILE) to its path."
)
WRONG_FILE_REMEDY = "Set web_identity_token_file (AWS_WEB_IDENTITY_TOKEN_FILE) to the file with the token."

_RETRY_INTERVAL = timedelta(seconds=1)
"""How long a text is not decoded again after the worker has failed. Profiles that share the file share this."""
_ENCODING_REMEDY = "Write it as plain ASCII, without a byte order mark. The > of Windows PowerShell writes UTF-16."


class FileTokenSource:
    """The token in one file. The file is read each time, and decoded again only if it has changed.

    `decode` begins to decode a text, and calls back with the token or with the error; it may do so at once. `wake` is
    called when there is an answer.
    """

    def __init__(
        self,
        path: str,
        clock: Clock,
        *,
        decode: Callable[[Secret, str, OnDecoded], None],
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._path = path
        self._clock = clock
        self._decode = decode
        self._wake = wake
        self._text: Secret | None = None
        """The text that `_answer` is for, or that is being decoded."""
        self._answer: BoundToken | TokenError | None = None
        self._retry_at = timedelta(0)
        """When to decode again after the worker, not the token, was at fault (monotonic)."""

    def read(self, audience: str) -> BoundToken | None:
        """Return the token that is in the file now, if it can be sent for this audience.

        Return None while a new one is being decoded. Raises TokenUnavailable, TokenMalformed, TokenExpired or
        TokenAudienceMismatch.
        """
        text = Secret(read_token_text(self._path))
        has_failed = isinstance(self._answer, TokenUnavailable)
        if text != self._text or (has_failed and self._clock.read().monotonic >= self._retry_at):
            self._begin_to_decode(text)
        answer = self._answer
        if answer is None:
            return None
        if isinstance(answer, TokenError):
            raise copy_error(answer)
        fault = find_unfitness(answer, audience=audience, now=self._clock.read().now, origin=self._path)
        if fault is not None:
            raise fault
        return answer

    def _begin_to_decode(self, text: Secret) -> None:
        self._text, self._answer = text, None

        def take_answer(answer: BoundToken | TokenError) -> None:
            if text is self._text:  # otherwise the file has changed again meanwhile
                self._answer = answer
                self._retry_at = self._clock.read().monotonic + _RETRY_INTERVAL
                self._wake()

        self._decode(text, self._path, take_answer)


def copy_error(error: TokenError) -> TokenError:
    """Return the same error without its traceback, which grows with every raise and keeps its frames alive."""
    return type(error)(error.message, error.remedy)


def read_token_text(path: str, *, accepts_pipes: bool = False) -> str:
    """Return the text of the file without surrounding white space.

    `accepts_pipes`: the path is from the command line, where `<(command)` makes a pipe. Reading it may block.
    Raises TokenUnavailable if it is absent, empty or cannot be read, TokenMalformed if it is longer than STS accepts or
    not ASCII.
    """
    try:
        content = _read_any(path) if accepts_pipes else read_content(path)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL, which YAML can express
        raise _explain_absence(path, error) from None
    if len(content) > MAXIMUM_TOKEN_LENGTH:
        raise TokenMalformed(
            f"The token in {path} has over {MAXIMUM_TOKEN_LENGTH:,} characters, the most that STS accepts.",
            WRONG_FILE_REMEDY,
        )
    text = decode_token(content, origin=path)
    if not text:
        remedy = (
            "In a pod, the kubelet writes it: if it stays empty, check the kubelet's log on the node. Elsewhere, check "
            "what writes it."
        )
        raise TokenUnavailable(f"The token file {path} is empty; expected a JWT.", remedy)
    return text


def decode_token(content: bytes, *, origin: str) -> str:
    """Return the text without surrounding white space. Raises TokenMalformed, which names the encoding found."""
    if content.startswith(codecs.BOM_UTF8):
        found = "begins with the byte order mark of UTF-8"
    elif content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or _has_only_wide_characters(content):
        found = "looks like UTF-16"
    elif not content.isascii():
        found = "contains a byte that is not ASCII"
    else:
        return content.decode("ascii").strip()
    raise TokenMalformed(f"The token in {origin} {found}; expected plain ASCII.", _ENCODING_REMEDY)


def _has_only_wide_characters(content: bytes) -> bool:
    """Return whether every other byte is zero, as in ASCII text that was written as UTF-16."""
    return any(content) and len(content) > 1 and not (any(content[::2]) and any(content[1::2]))


def _explain_absence(path: str, error: OSError | ValueError) -> TokenUnavailable:
    if isinstance(error, NotRegularFileError):
        return TokenUnavailable(f"No token in {path}: {error.strerror}.", _PROJECTED_VOLUME_REMEDY)
    found = error.strerror if isinstance(error, OSError) else None
    remedy = FSGROUP_REMEDY if isinstance(error, PermissionError) else _PROJECTED_VOLUME_REMEDY
    return TokenUnavailable(f"No token in {path}: {found or 'it cannot be read'}; expected a readable file.", remedy)


def read_content(path: str) -> bytes:
    """Return the bytes of a token's file, at most one more than STS accepts.

    Raises OSError, also for a FIFO or a device, or ValueError for a path that cannot exist. The kubelet deletes the old
    directory after it has swapped the link, so a path that was resolved just before that leads nowhere. An absent file
    is therefore looked for twice.
    """
    try:
        return read_regular_file(path, MAXIMUM_TOKEN_LENGTH + 1)
    except FileNotFoundError:
        return read_regular_file(path, MAXIMUM_TOKEN_LENGTH + 1)


def _read_any(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 - pathlib is imported nowhere in this package
        return file.read(MAXIMUM_TOKEN_LENGTH + 1)


def find_unfitness(token: BoundToken, *, audience: str, now: datetime, origin: str) -> TokenError | None:
    """Return why this token must not be sent for this audience now, or None if it can be."""
    claims = token.claims
    if audience not in claims.audiences:
        found = ", ".join(claims.audiences) or "none"
        return TokenAudienceMismatch(
            f"The token in {origin} has audience {found}; expected {audience}.",
            f"{describe_audience(claims, audience)}, "
            "or set audience (BROKER_AUDIENCE) to one that the IAM provider lists.",
        )
    if claims.expires_at <= now:
        ago = now - claims.expires_at
        issuer = "" if is_rotated_by_kubelet(claims) else f" of {printable(claims.issuer)}"
        return TokenExpired(
            f"The token{issuer} in {origin} expired at {claims.expires_at:%Y-%m-%dT%H:%M:%SZ}, "
            f"{timedelta(seconds=int(ago.total_seconds()))} ago by this node's clock; expected one that is valid.",
            describe_renewal(claims),
        )
    return None


def is_not_yet_valid(token: BoundToken, now: datetime) -> bool:
    """Return whether the token's `nbf` is later than now, by more than clocks usually differ.

    `run` sends such a token all the same: the node's own clock may be wrong, and STS decides by its own.
    """
    not_before = token.claims.not_before
    return not_before is not None and not_before > now + CLOCK_TOLERANCE


def rotation_age(life: timedelta) -> timedelta:
    """Return the age at which the kubelet replaces a token of this lifetime, apart from a random 0 to 10 s."""
    return min(life * ROTATION_SHARE, ROTATION_AGE)
