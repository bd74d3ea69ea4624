"""Describe rejected settings: one line for each, with the name to change as the user wrote it.

A line names the environment variable, or the YAML file and key; then what was expected and what was found. It never
quotes the value of an unknown key, a password in a URL, or anything that looks like a token.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pydantic import BaseModel

from broker.core.model import SERVICE_LINK
from broker.core.role_arns import LENGTH_MAXIMUM, is_aws_role
from broker.core.spelling import suggest
from broker.settings.schema import NamedProfile, Notify, Settings
from broker.settings.variables import CONFIG_VARIABLE, ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

    from broker.settings.sources import Place

_MAXIMUM_QUOTED_LENGTH = 100
_FORMS = {
    "role_arn": "the ARN of a role, such as arn:aws:iam::123456789012:role/app",
    "region": "the name of a Region, such as eu-west-1",
    "role_session_name": "2 to 64 letters, digits and any of +=,.@_-",
    "name": "up to 64 letters, digits and any of ._-",
    "process": "the name of a process, as in /proc/PID/comm: at most 15 characters, without its directory",
    "source_profile": "the name of another profile",
    "source_identity": "2 to 64 letters, digits and any of +=,.@_-",
    "directory": "an absolute path of letters, digits and any of /._+=@-",
}
"""What is expected where a pattern of the schema does not match, by key."""
_EXPECTATIONS = {
    "string_type": "text; put it in quotes if YAML reads it as another type",
    "tuple_type": "a list",
    "dict_type": "keys with values",
    "model_type": "keys with values",
    "model_attributes_type": "keys with values",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "greater_than_equal": "{ge} or more",
    "less_than_equal": "{le} or less",
    "literal_error": "{expected}",
    "string_too_short": "at least {min_length} characters",
    "string_too_long": "at most {max_length} characters",
    "too_long": "at most {max_length} entries",
}
"""What is expected instead of a value, by pydantic's name of the error. The braces are filled from its context."""
_ENTRIES: dict[str, type[BaseModel]] = {"profiles": NamedProfile, "notify": Notify}
"""What the entries of a list are, by the key of the list."""
_FOREIGN_ROLE_REMEDY = (
    "If another STS has this role, such as Ceph or MinIO, set sts.endpoint_url (AWS_ENDPOINT_URL_STS) to its URL"
)
_UNQUOTABLE = re.compile(r"(?<=//)[^/@\s]*(?=@)|(?<=\?).+|eyJ[A-Za-z0-9_.-]+")
"""The user, password and query in a URL, and anything that looks like a token."""


def describe_unknown_variables(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each `BROKER_…` variable that is neither a setting nor added by Kubernetes for a Service."""
    known = {variable.name for variable in ENVIRONMENT} | {CONFIG_VARIABLE}
    for name in sorted(environ):
        if name.startswith("BROKER_") and name not in known and not SERVICE_LINK.fullmatch(name):
            suggestion = suggest(name, known, ignored_prefixes=("BROKER_", "AWS_"))
            yield _describe_unknown(name, suggestion)


def describe_faults(error: ValidationError, names: Mapping[Place, str], path: str) -> Iterator[str]:
    """Yield a line for each fault of `error`.

    `names` has the environment variable of each place that the environment sets. `path` is the YAML file, or "".
    """
    for fault in error.errors():
        place = fault["loc"]
        name = _name_setting(place, names, path)
        if fault["type"] == "extra_forbidden":
            yield _describe_unknown(name, suggest(str(place[-1]), _known_keys(place)))
        elif fault["type"] == "missing":
            yield f"{name}: not set; add it"
        elif isinstance(fault["input"], str | int):
            yield f"{name}: {_describe_expectation(fault)}; found {_quote(str(fault['input']))}"
        else:
            yield f"{name}: {_describe_expectation(fault)}"


def describe_foreign_roles(settings: Settings, names: Mapping[Place, str], path: str) -> Iterator[str]:
    """Yield a line for each role ARN that AWS cannot have, unless another STS is set, which may have it.

    `names` and `path` are those of `describe_faults`.
    """
    if settings.sts.endpoint_url:
        return
    arns: list[tuple[Place, str | None]] = [(("role_arn",), settings.role_arn)]
    arns += [(("profiles", number, "role_arn"), each.role_arn) for number, each in enumerate(settings.profiles)]
    for place, arn in arns:
        if arn and not is_aws_role(arn):
            expected = f"expected {_FORMS['role_arn']}; found {_quote(arn)}"
            if len(arn) > LENGTH_MAXIMUM:
                expected = f"expected at most {LENGTH_MAXIMUM} characters; found {len(arn)}"
            yield f"{_name_setting(place, names, path)}: {expected}. {_FOREIGN_ROLE_REMEDY}"


def _name_setting(place: Place, names: Mapping[Place, str], path: str) -> str:
    """Return the name of a setting as the user wrote it: the variable, or the file and the key."""
    key = ".".join(str(part) for part in place)
    return names.get(place) or (f"{path}: {key}" if path else key)


def _quote(value: str) -> str:
    """Return the value in quotes for a message: shortened, without passwords in URLs and without tokens."""
    return repr(_UNQUOTABLE.sub("<redacted>", value)[:_MAXIMUM_QUOTED_LENGTH])


def _describe_unknown(name: str, suggestion: str) -> str:
    return f"{name}: unknown setting{suggestion or '; remove it, or correct its name'}"


def _describe_expectation(fault: ErrorDetails) -> str:
    """Return what was expected of the value."""
    if fault["type"] == "string_pattern_mismatch":
        return f"expected {_FORMS[str(fault['loc'][-1])]}"
    expectation = _EXPECTATIONS.get(fault["type"])
    if expectation is not None:
        return f"expected {expectation.format(**fault.get('ctx', {}))}"
    return fault["msg"].removeprefix("Value error, ")


def _known_keys(place: Place) -> Collection[str]:
    """Return the keys that are allowed where the unknown key at `place` was found."""
    model: type[BaseModel] = Settings
    for part in place[:-1]:
        if isinstance(part, int):
            continue
        nested = _ENTRIES.get(part) or model.model_fields[part].annotation
        assert isinstance(nested, type)
        assert issubclass(nested, BaseModel)
        model = nested
    return model.model_fields
