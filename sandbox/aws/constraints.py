"""The constraints of STS's service model, with the messages of STS. The readers of parameters call these functions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sandbox.aws.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping


def invalid(member: str, value: str | None, constraint: str) -> Refusal:
    """Return the refusal of one value. `member` is the parameter's name. None for `value` hides it in the message."""
    shown = "Value" if value is None else f"Value '{value}'"
    return Refusal(
        "ValidationError",
        f"1 validation error detected: {shown} at '{member[0].lower()}{member[1:]}' "
        f"failed to satisfy constraint: {constraint}",
    )


def check_length(member: str, value: str, shortest: int, longest: int, *, shown: bool = True) -> None:
    """Raise Refusal if a text is too short or too long. `shown`: whether the message may contain the text."""
    repeated = value if shown else None
    if len(value) < shortest:
        raise invalid(member, repeated, f"Member must have length greater than or equal to {shortest}")
    if len(value) > longest:
        raise invalid(member, repeated, f"Member must have length less than or equal to {longest}")


def check_pattern(member: str, value: str, pattern: str) -> None:
    """Raise Refusal if a text does not match. `pattern` is the model's, in which letters and digits are ASCII."""
    if not re.fullmatch(pattern, value, re.ASCII):
        raise invalid(member, value, f"Member must satisfy regular expression pattern: {pattern}")


def required_text(form: Mapping[str, str], name: str, shortest: int, longest: int) -> str:
    """Return a required parameter. Raises Refusal."""
    value = form.get(name)
    if value is None:
        raise invalid(name, "null", "Member must not be null")
    check_length(name, value, shortest, longest, shown=name != "WebIdentityToken")  # a token is never repeated
    return value


def optional_text(form: Mapping[str, str], name: str, shortest: int, longest: int, pattern: str) -> str | None:
    """Return an optional parameter, or None. Raises Refusal."""
    value = form.get(name)
    if value is not None:
        check_length(name, value, shortest, longest)
        check_pattern(name, value, pattern)
    return value


def members(form: Mapping[str, str], name: str, *, field: str = "") -> dict[int, str]:
    """Return a list of the query protocol by position: `<name>.member.<n>`, or one `field` of each member."""
    suffix = re.escape(f".{field}" if field else "")
    found = ((re.fullmatch(rf"{name}\.member\.(\d{{1,6}}){suffix}", key), value) for key, value in form.items())
    return dict(sorted((int(match[1]), value) for match, value in found if match))
