"""What STS's service model constrains in a request, said as STS says it.

It refuses to know which parameters there are: each reader asks for its own.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sandbox.aws.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping


def invalid(member: str, value: str | None, constraint: str) -> Refusal:
    """Make the refusal of one value; `member` is the parameter's name, its first letter small; None hides the value."""
    shown = "Value" if value is None else f"Value '{value}'"
    return Refusal(
        "ValidationError",
        f"1 validation error detected: {shown} at '{member[0].lower()}{member[1:]}' "
        f"failed to satisfy constraint: {constraint}",
    )


def check_length(member: str, value: str, shortest: int, longest: int, *, shown: bool = True) -> None:
    """Refuse a text that is too short or too long."""
    repeated = value if shown else None
    if len(value) < shortest:
        raise invalid(member, repeated, f"Member must have length greater than or equal to {shortest}")
    if len(value) > longest:
        raise invalid(member, repeated, f"Member must have length less than or equal to {longest}")


def check_pattern(member: str, value: str, pattern: str) -> None:
    """Refuse a text that does not match; `pattern` is the model's, where a letter or digit is an ASCII one."""
    if not re.fullmatch(pattern, value, re.ASCII):
        raise invalid(member, value, f"Member must satisfy regular expression pattern: {pattern}")


def required_text(form: Mapping[str, str], name: str, shortest: int, longest: int) -> str:
    """Read a parameter that may not be left out."""
    value = form.get(name)
    if value is None:
        raise invalid(name, "null", "Member must not be null")
    check_length(name, value, shortest, longest, shown=name != "WebIdentityToken")  # a token is never repeated
    return value


def optional_text(form: Mapping[str, str], name: str, shortest: int, longest: int, pattern: str) -> str | None:
    """Read a parameter that may be left out."""
    value = form.get(name)
    if value is not None:
        check_length(name, value, shortest, longest)
        check_pattern(name, value, pattern)
    return value


def members(form: Mapping[str, str], name: str, *, field: str = "") -> dict[int, str]:
    """Read a list of the query protocol by its places: `<name>.member.<place>`, or one `field` of each member."""
    suffix = re.escape(f".{field}" if field else "")
    found = ((re.fullmatch(rf"{name}\.member\.(\d{{1,6}}){suffix}", key), value) for key, value in form.items())
    return dict(sorted((int(match[1]), value) for match, value in found if match))
