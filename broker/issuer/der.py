"""Reads DER, strictly: public keys and certificates, as far as the broker has to look into them.

Rules: one encoding of a value is accepted, the shortest; nothing may be left over; whatever the bytes are, ValueError
is all that is raised. Knows tags and lengths, and nothing of keys.
Sources: ITU-T X.690 sections 8 and 10; why it is our own: docs/adr/0010-issuer-keys.md.
"""

from __future__ import annotations

INTEGER = 0x02
BIT_STRING = 0x03
NULL = 0x05
OBJECT_IDENTIFIER = 0x06
UTC_TIME = 0x17
GENERALIZED_TIME = 0x18
SEQUENCE = 0x30
SET = 0x31
_LONG_FORM = 0x80
_LENGTH_BYTES_MAXIMUM = 3
_MULTIPLE_BYTE_TAG = 0x1F


class DerReader:
    """Takes one value after another out of `content`."""

    __slots__ = ("_content", "_position")

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._position = 0

    def next_tag(self) -> int | None:
        """Return the tag of what comes next, None at the end."""
        return self._content[self._position] if self._position < len(self._content) else None

    def take(self, tag: int) -> bytes:
        """Return the content of the next value, which must have this tag. Raises ValueError."""
        if self.next_tag() != tag:
            raise ValueError(f"expected a value with tag {tag:#04x}")
        return self.take_any()[1]

    def take_any(self) -> tuple[int, bytes]:
        """Return tag and content of the next value. Raises ValueError."""
        tag = self._byte()
        if tag & _MULTIPLE_BYTE_TAG == _MULTIPLE_BYTE_TAG:
            raise ValueError("a tag of several bytes")
        length = self._length()
        end = self._position + length
        if end > len(self._content):
            raise ValueError("a value that is longer than what holds it")
        value = self._content[self._position : end]
        self._position = end
        return tag, value

    def reader(self, tag: int) -> DerReader:
        """Return a reader of the next value's content. Raises ValueError."""
        return DerReader(self.take(tag))

    def natural(self) -> int:
        """Return the next value, an INTEGER that is not negative. Raises ValueError."""
        content = self.take(INTEGER)
        if not content or content[0] & 0x80:
            raise ValueError("an integer that is empty or negative")
        if len(content) > 1 and content[0] == 0 and not content[1] & 0x80:
            raise ValueError("an integer with a needless zero")
        return int.from_bytes(content, "big")

    def bits(self) -> bytes:
        """Return the next value, a BIT STRING of whole bytes. Raises ValueError."""
        content = self.take(BIT_STRING)
        if not content or content[0] != 0:
            raise ValueError("a bit string that is not of whole bytes")
        return content[1:]

    def finish(self) -> None:
        """Raise ValueError where something is left over."""
        if self._position != len(self._content):
            raise ValueError("something is left over")

    def _byte(self) -> int:
        if self._position >= len(self._content):
            raise ValueError("it ends too early")
        self._position += 1
        return self._content[self._position - 1]

    def _length(self) -> int:
        first = self._byte()
        if first < _LONG_FORM:
            return first
        count = first - _LONG_FORM
        if not 1 <= count <= _LENGTH_BYTES_MAXIMUM:
            raise ValueError("a length that is indefinite or absurd")
        digits = bytes(self._byte() for _ in range(count))
        length = int.from_bytes(digits, "big")
        if digits[0] == 0 or length < _LONG_FORM:
            raise ValueError("a length that is not written in its shortest form")
        return length
