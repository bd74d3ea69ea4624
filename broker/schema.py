"""What the settings may say: every key with its type, default, bounds and one sentence, and the variable it goes by.

Everything that STS would refuse and botocore would not is refused here. The settings table of the README is checked
against this module. Knows no file but those whose readability it checks.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from broker.model import DEFAULT_AUDIENCE, DEFAULT_TOKEN_FILE

MAXIMUM_POLICY_LENGTH = 2048
"""Characters of an inline session policy (botocore's STS model)."""
_ROLE_ARN = r"^arn:[a-z0-9-]+:iam::(\d{12})?:role/[\x21-\x7e]{1,900}$"
FORMS = {
    "role_arn": "the ARN of a role, such as arn:aws:iam::123456789012:role/app",
    "region": "the name of a Region, such as eu-west-1",
    "role_session_name": "2 to 64 letters, digits and any of +=,.@_-",
    "name": "up to 64 letters, digits and any of ._-",
    "directory": "an absolute path of letters, digits and any of /._+=@-",
}
"""What to write where a pattern of this module does not match, by key."""
_POLICY_ARN = re.compile(r"arn:[a-z0-9-]+:iam::(\d{12}|aws):policy/[\x21-\x7e]{1,900}")
_REGION = r"^[a-z]{2,8}(-[a-z]+)+-\d+$"
_SESSION_NAME = r"^[A-Za-z0-9_+=,.@-]{2,64}$"
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
_HEALTH_ADDRESS = re.compile(r"(\*|\[[0-9A-Fa-f:.]+\]|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*|[A-Za-z0-9_.-]+):([0-9]{1,5})")
_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_PLAIN_URL = re.compile(rf"https?://({_LABEL}(\.{_LABEL})*\.?|\[[0-9A-Fa-f:.]+\])(:(?P<port>[0-9]{{1,5}}))?/?")
_LAST_PORT = 65535
_DIRECTORY = r"^/[A-Za-z0-9_./+@=-]*$"
_POLICY_TEXT = re.compile("[\t\n\r\x20-\xff]+")
_LAST_GROUP = 2**32 - 2  # the number above it means "leave as it is" to chown
_MODES = (0o400, 0o440, 0o444, 0o600, 0o640, 0o644)


def _comma_separated(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _policy_arns(arns: tuple[str, ...]) -> tuple[str, ...]:
    for arn in arns:
        if not _POLICY_ARN.fullmatch(arn):
            raise ValueError(f"{arn!r} is no policy ARN, such as arn:aws:iam::aws:policy/ReadOnlyAccess")
    return arns


def policy_text(text: str) -> str:
    """Return the text of a session policy that STS would take. Raises ValueError."""
    if len(text) > MAXIMUM_POLICY_LENGTH:
        raise ValueError(f"{len(text):,} characters; STS takes at most {MAXIMUM_POLICY_LENGTH:,}")
    try:
        document = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"no valid JSON: {error}") from None
    if not isinstance(document, dict) or "Statement" not in document:
        raise ValueError("no IAM policy: expected a JSON object with a Statement")
    if not _POLICY_TEXT.fullmatch(text):
        raise ValueError("a character that STS refuses in a policy (above U+00FF, or a control character)")
    return text


def _no_number(text: str) -> object:
    raise ValueError(f"{text} is no number in JSON")


def _policy_value(value: object) -> object:
    """Take a policy that was written as YAML as well as one that was written as text."""
    if not isinstance(value, dict):
        return value
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False, default=_as_written)
    except TypeError as error:
        raise ValueError(f"cannot be written as JSON: {error}") from None


def _as_written(value: object) -> object:
    """Return the text of a date: YAML takes `Version: 2012-10-17` for one."""
    if type(value) is date:
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is no type of JSON")


def _mode(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(r"0?o?[0-7]{3}", value):
        value = int(value.replace("o", ""), 8)
    if value not in _MODES:
        raise ValueError(f"write one of {', '.join(f'{mode:04o}' for mode in _MODES)}, in quotes")
    return value


def _address(value: str) -> str:
    parts = _HEALTH_ADDRESS.fullmatch(value)
    if not parts or int(parts[2]) > _LAST_PORT:
        raise ValueError("write HOST:PORT, such as *:9910, 127.0.0.1:9910 or [::1]:9910")
    return value


def _plain_url(value: str) -> str:
    parts = _PLAIN_URL.fullmatch(value)
    if not parts or not 0 < int(parts["port"] or 443) <= _LAST_PORT:
        raise ValueError("write https://HOST or https://HOST:PORT, without user, path or query")
    return value.rstrip("/")


def _absolute(path: str) -> str:
    if not path.startswith("/"):  # which a token that was pasted here does not either
        raise ValueError("write an absolute path")
    return path


def _readable(path: str) -> str:
    if not os.access(path, os.R_OK):
        raise ValueError(f"no readable file at {path}")
    return path


def _name(value: str) -> str:
    if value == "DEFAULT":
        raise ValueError("INI readers give what stands under DEFAULT to every profile: choose another name")
    return value


class ProfileKeys(BaseModel):
    """What a profile may say; at the top of the file, or in the environment, it is the default for every profile."""

    model_config = ConfigDict(extra="forbid")

    role_arn: str | None = Field(default=None, pattern=_ROLE_ARN, description="The role to assume.")
    region: str | None = Field(
        default=None, pattern=_REGION, description="Region whose STS is called, and readers' default."
    )
    web_identity_token_file: Annotated[str, AfterValidator(_absolute)] = Field(
        default=DEFAULT_TOKEN_FILE, description="File of the projected bound token."
    )
    audience: str = Field(
        default=DEFAULT_AUDIENCE, min_length=1, max_length=255, description="Audience expected of the token."
    )
    role_session_name: str | None = Field(
        default=None, pattern=_SESSION_NAME, description="Session name; unset: `namespace.pod`, from the token."
    )
    duration_seconds: int = Field(default=3600, ge=900, le=43200, description="How long sessions last.")
    session_policy: Annotated[str, BeforeValidator(_policy_value), AfterValidator(policy_text)] | None = Field(
        default=None, description="Inline session policy: JSON text, or YAML in the file."
    )
    session_policy_file: str | None = Field(default=None, description="File with the session policy.")
    policy_arns: Annotated[tuple[str, ...], BeforeValidator(_comma_separated), AfterValidator(_policy_arns)] = Field(
        default=(),
        max_length=10,
        description="Managed policies that bound the session; comma-separated in the environment.",
    )
    required: bool = Field(default=True, description="Whether `/readyz` waits for it.")


class NamedProfile(ProfileKeys):
    """One of `profiles:`."""

    name: Annotated[str, AfterValidator(_name)] = Field(
        pattern=_NAME, description="The profile's name, as in the AWS config file."
    )


class Publish(BaseModel):
    """`publish:`."""

    model_config = ConfigDict(extra="forbid")

    directory: str = Field(default="/var/run/aws", pattern=_DIRECTORY, description="Where the files are published.")
    mode: Annotated[int, BeforeValidator(_mode)] = Field(default=0o640, description="Mode of the files.")
    group: int | None = Field(
        default=None,
        ge=0,
        le=_LAST_GROUP,
        description="Group id of the files; unset: the directory's or the process's.",
    )
    env: bool = Field(default=False, description="Also write `<profile>.env`.")


class Health(BaseModel):
    """`health:`."""

    model_config = ConfigDict(extra="forbid")

    address: Annotated[str, AfterValidator(_address)] = Field(
        default="*:9910", description="Address of the health listener."
    )


class Log(BaseModel):
    """`log:`."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["auto", "json", "console"] = Field(
        default="auto", description="`auto`: console on a terminal, else JSON."
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level that is logged."
    )


class Sts(BaseModel):
    """`sts:`."""

    model_config = ConfigDict(extra="forbid")

    endpoint_url: Annotated[str, AfterValidator(_plain_url)] | None = Field(
        default=None, description="STS at another address."
    )
    use_fips_endpoint: bool = Field(default=False, description="Call the FIPS endpoint.")
    use_dualstack_endpoint: bool = Field(default=False, description="Call the dual-stack endpoint.")
    ca_bundle: Annotated[str, AfterValidator(_readable)] | None = Field(
        default=None, description="File of the CAs to trust instead of the usual ones."
    )

    @model_validator(mode="after")
    def _one_way_to_say_where(self) -> Self:
        if self.endpoint_url and (self.use_fips_endpoint or self.use_dualstack_endpoint):
            raise ValueError(
                "a custom endpoint goes with neither the FIPS nor the dual-stack one: unset AWS_ENDPOINT_URL_STS, or "
                "AWS_USE_FIPS_ENDPOINT and AWS_USE_DUALSTACK_ENDPOINT"
            )
        return self


class Settings(ProfileKeys):
    """The whole file."""

    profiles: tuple[NamedProfile, ...] = Field(default=(), description="One for each role; none: one named default.")
    sts: Sts = Sts()
    publish: Publish = Publish()
    health: Health = Health()
    log: Log = Log()
    minimum_interval_seconds: int = Field(default=60, ge=1, le=3600, description="Least time between two exchanges.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """An environment variable and the setting it stands for."""

    name: str
    path: tuple[str, ...]


ENVIRONMENT = tuple(
    Variable(name=name, path=tuple(path.split(".")))
    for name, path in {
        "AWS_ROLE_ARN": "role_arn",
        "AWS_WEB_IDENTITY_TOKEN_FILE": "web_identity_token_file",
        "AWS_ROLE_SESSION_NAME": "role_session_name",
        "AWS_REGION": "region",
        "AWS_DEFAULT_REGION": "region",
        "AWS_ENDPOINT_URL_STS": "sts.endpoint_url",
        "AWS_USE_FIPS_ENDPOINT": "sts.use_fips_endpoint",
        "AWS_USE_DUALSTACK_ENDPOINT": "sts.use_dualstack_endpoint",
        "AWS_CA_BUNDLE": "sts.ca_bundle",
        "BROKER_AUDIENCE": "audience",
        "BROKER_DURATION_SECONDS": "duration_seconds",
        "BROKER_SESSION_POLICY": "session_policy",
        "BROKER_SESSION_POLICY_FILE": "session_policy_file",
        "BROKER_POLICY_ARNS": "policy_arns",
        "BROKER_PUBLISH_DIRECTORY": "publish.directory",
        "BROKER_PUBLISH_MODE": "publish.mode",
        "BROKER_PUBLISH_GROUP": "publish.group",
        "BROKER_PUBLISH_ENV": "publish.env",
        "BROKER_MINIMUM_INTERVAL_SECONDS": "minimum_interval_seconds",
        "BROKER_HEALTH_ADDRESS": "health.address",
        "BROKER_LOG_FORMAT": "log.format",
        "BROKER_LOG_LEVEL": "log.level",
    }.items()
)
"""In the order of precedence where two stand for the same setting."""
CONFIG_VARIABLE = "BROKER_CONFIG"
# What Kubernetes puts into every pod of a namespace that has a Service named broker, or broker-something.
SERVICE_LINK = re.compile(r"BROKER_(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)")
