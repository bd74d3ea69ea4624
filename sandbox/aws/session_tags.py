"""Session tags of AssumeRole calls: reads and validates them, and merges them with the tags that a session inherits.

Keys are compared without case. A key must be unique, must not begin with `aws:`, and must not be one of the inherited
tags. Transitive keys must be among the passed tags. Codes and messages are from AWS: github.com/localstack/localstack
`tests/aws/services/sts/test_sts.snapshot.json`. Only the message for the reserved prefix is invented. This module does
not know who may tag sessions.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from sandbox.aws.constraints import check_length, invalid, members
from sandbox.aws.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_TAGS = 50
_KEY_LENGTH, _VALUE_LENGTH = (1, 128), (0, 256)
_PATTERN = r"[\p{L}\p{Z}\p{N}_.:/=+\-@]"
_PUNCTUATION = frozenset("_.:/=+-@")
_RESERVED_PREFIX = "aws:"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTags:
    """Tags in the order of the request, and the keys of those that later sessions inherit."""

    pairs: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    transitive_keys: tuple[str, ...] = ()

    @property
    def transitive(self) -> SessionTags:
        """The tags that the next session of a chain inherits."""
        kept = {key.lower() for key in self.transitive_keys}
        pairs = {key: value for key, value in self.pairs.items() if key.lower() in kept}
        return SessionTags(pairs=pairs, transitive_keys=self.transitive_keys)

    @property
    def characters(self) -> int:
        """The total length of keys and values."""
        return sum(len(key) + len(value) for key, value in self.pairs.items())

    def merge(self, passed: SessionTags) -> SessionTags:
        """Return the inherited tags and the tags that the next call passes. Raises Refusal for equal keys."""
        inherited = self.transitive
        taken = {key.lower() for key in inherited.pairs}
        if any(key.lower() in taken for key in passed.pairs):
            message = (
                "One of the specified transitive tag keys can't be set because it conflicts with "
                "a transitive tag key from the calling session."
            )
            raise Refusal("InvalidParameterValue", message)
        return SessionTags(
            pairs={**inherited.pairs, **passed.pairs},
            transitive_keys=(*inherited.transitive_keys, *passed.transitive_keys),
        )


def read_tags(form: Mapping[str, str]) -> SessionTags:
    """Return Tags and TransitiveTagKeys of a request. Raises Refusal."""
    keys, values = members(form, "Tags", field="Key"), members(form, "Tags", field="Value")
    if len(keys.keys() | values.keys()) > _MAX_TAGS:
        raise invalid("Tags", None, f"Member must have length less than or equal to {_MAX_TAGS}")
    for place in sorted(keys.keys() | values.keys()):
        _check_text(f"tags.{place}.member.key", keys.get(place), *_KEY_LENGTH, repeat="+")
        _check_text(f"tags.{place}.member.value", values.get(place), *_VALUE_LENGTH, repeat="*")
    if len({key.lower() for key in keys.values()}) < len(keys):
        message = "Duplicate tag keys found. Please note that Tag keys are case insensitive."
        raise Refusal("InvalidParameterValue", message)
    if any(key.lower().startswith(_RESERVED_PREFIX) for key in keys.values()):
        raise Refusal("InvalidParameterValue", f"Tag keys that begin with {_RESERVED_PREFIX} are reserved.")
    pairs = {key: values[place] for place, key in keys.items()}
    return SessionTags(pairs=pairs, transitive_keys=_read_transitive(form, pairs))


def _read_transitive(form: Mapping[str, str], pairs: Mapping[str, str]) -> tuple[str, ...]:
    keys = members(form, "TransitiveTagKeys")
    if len(keys) > _MAX_TAGS:
        raise invalid("TransitiveTagKeys", None, f"Member must have length less than or equal to {_MAX_TAGS}")
    for place, key in keys.items():
        _check_text(f"transitiveTagKeys.{place}.member", key, *_KEY_LENGTH, repeat="+")
    if not {key.lower() for key in keys.values()} <= {key.lower() for key in pairs}:
        message = "The specified transitive tag key must be included in the requested tags."
        raise Refusal("InvalidParameterValue", message)
    return tuple(keys.values())


def _check_text(member: str, text: str | None, shortest: int, longest: int, *, repeat: str) -> None:
    if text is None:
        raise invalid(member, "null", "Member must not be null")
    check_length(member, text, shortest, longest)
    if not all(one in _PUNCTUATION or unicodedata.category(one)[0] in "LZN" for one in text):
        raise invalid(member, text, f"Member must satisfy regular expression pattern: {_PATTERN}{repeat}")
