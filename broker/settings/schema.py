"""What the settings may say: every key with its type, default, bounds and one sentence, and the variable it goes by.

What a value must look like is in `forms`. The settings table of the README is checked against this module.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from broker.core.model import (
    DEFAULT_AUDIENCE,
    DEFAULT_PROCESS_COMMAND,
    DEFAULT_PUBLISH_DIRECTORY,
    DEFAULT_TOKEN_FILE,
)
from broker.settings import validators

_ROLE_ARN = r"^arn:[a-z0-9-]+:iam::(\d{12})?:role/[\x21-\x7e]+$"
FORMS = {
    "role_arn": "the ARN of a role, such as arn:aws:iam::123456789012:role/app",
    "region": "the name of a Region, such as eu-west-1",
    "role_session_name": "2 to 64 letters, digits and any of +=,.@_-",
    "name": "up to 64 letters, digits and any of ._-",
    "source_profile": "the name of another profile",
    "source_identity": "2 to 64 letters, digits and any of +=,.@_-",
    "directory": "an absolute path of letters, digits and any of /._+=@-",
}
"""What to write where a pattern of this module does not match, by key."""
TYPES = {
    "string_type": "write text, in quotes where YAML takes it for something else",
    "tuple_type": "write a list",
    "dict_type": "write keys with their values",
    "model_type": "write keys with their values",
}
"""What to write where YAML has a value of another type, by pydantic's name for that fault."""
_REGION = r"^[a-z]{2,8}(-[a-z]+)+-\d+$"
_SESSION_NAME = r"^[A-Za-z0-9_+=,.@-]{2,64}$"
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
_DIRECTORY = r"^/[A-Za-z0-9_./+@=-]*$"
_LAST_GROUP = 2**32 - 2  # the number above it means "leave as it is" to chown


# What is part of Settings is built with it, not each by itself: a quarter of what this module costs. So defaults are
# constructed, for which nothing is built.
_STRICT = ConfigDict(extra="forbid", defer_build=True)


class ProfileKeys(BaseModel):
    """What a profile may say; at the top of the file, or in the environment, it is the default for every profile."""

    model_config = _STRICT

    role_arn: str | None = Field(default=None, pattern=_ROLE_ARN, max_length=1024, description="The role to assume.")
    region: str | None = Field(
        default=None, pattern=_REGION, description="Region whose STS is called, and readers' default."
    )
    web_identity_token_file: Annotated[str, AfterValidator(validators.absolute)] = Field(
        default=DEFAULT_TOKEN_FILE, description="File of the projected bound token."
    )
    audience: str = Field(
        default=DEFAULT_AUDIENCE, min_length=1, max_length=255, description="Audience expected of the token."
    )
    role_session_name: str | None = Field(
        default=None, pattern=_SESSION_NAME, description="Session name; unset: `namespace.pod`, from the token."
    )
    duration_seconds: int = Field(default=3600, ge=900, le=43200, description="How long sessions last.")
    session_policy: (
        Annotated[str, BeforeValidator(validators.policy_value), AfterValidator(validators.policy_text)] | None
    ) = Field(default=None, description="Inline session policy: JSON text, or YAML in the file.")
    session_policy_file: str | None = Field(default=None, description="File with the session policy.")
    policy_arns: Annotated[
        tuple[str, ...], BeforeValidator(validators.comma_separated), AfterValidator(validators.policy_arns)
    ] = Field(
        default=(),
        max_length=10,
        description="Managed policies that bound the session; comma-separated in the environment.",
    )
    required: bool = Field(default=True, description="Whether `/readyz` waits for it.")


class NamedProfile(ProfileKeys):
    """One of `profiles:`."""

    name: Annotated[str, AfterValidator(validators.profile_name)] = Field(
        pattern=_NAME, description="The profile's name, as in the AWS config file."
    )
    source_profile: str | None = Field(
        default=None, pattern=_NAME, description="Profile whose credentials ask for this role: a chained role."
    )
    external_id: Annotated[str, AfterValidator(validators.external_id)] | None = Field(
        default=None, description="Chained role: external id that its trust policy demands."
    )
    tags: Annotated[dict[str, str], AfterValidator(validators.tags)] = Field(
        default={}, description="Chained role: session tags, 50 at most."
    )
    transitive_tag_keys: tuple[str, ...] = Field(
        default=(), description="Chained role: keys of the tags that go on to the roles after it."
    )
    source_identity: Annotated[str, AfterValidator(validators.source_identity)] | None = Field(
        default=None, pattern=_SESSION_NAME, description="Chained role: source identity, which nobody can change later."
    )

    @model_validator(mode="after")
    def _transitive_tags_are_tags(self) -> Self:
        for key in self.transitive_tag_keys:
            if key not in self.tags:
                raise ValueError(f"transitive_tag_keys: {key!r} is none of the tags: add it there, or drop it here")
        return self


class Publish(BaseModel):
    """`publish:`."""

    model_config = _STRICT

    directory: str = Field(
        default=DEFAULT_PUBLISH_DIRECTORY, pattern=_DIRECTORY, description="Where the files are published."
    )
    mode: Annotated[int, BeforeValidator(validators.mode)] = Field(default=0o640, description="Mode of the files.")
    group: int | None = Field(
        default=None,
        ge=0,
        le=_LAST_GROUP,
        description="Group id of the files; unset: the directory's or the process's.",
    )
    env: bool = Field(default=False, description="Also write `<profile>.env`.")
    process_command: Annotated[str, AfterValidator(validators.process_command)] = Field(
        default=DEFAULT_PROCESS_COMMAND,
        description="`credential_process` in `config`; `{file}`, `{profile}` and `{directory}` are filled in.",
    )


class Health(BaseModel):
    """`health:`."""

    model_config = _STRICT

    address: Annotated[str, AfterValidator(validators.address)] = Field(
        default="*:9910", description="Address of the health listener."
    )


class Endpoint(BaseModel):
    """`endpoint:`."""

    model_config = _STRICT

    address: Annotated[str, AfterValidator(validators.loopback_address)] = Field(
        default="127.0.0.1:9911", description="Address of the loopback endpoint that serves credentials."
    )


class Log(BaseModel):
    """`log:`."""

    model_config = _STRICT

    format: Literal["auto", "json", "console"] = Field(
        default="auto", description="`auto`: console on a terminal, else JSON."
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level that is logged."
    )


class Sts(BaseModel):
    """`sts:`."""

    model_config = _STRICT

    endpoint_url: Annotated[str, AfterValidator(validators.plain_url)] | None = Field(
        default=None, description="STS at another address."
    )
    use_fips_endpoint: bool = Field(default=False, description="Call the FIPS endpoint.")
    use_dualstack_endpoint: bool = Field(default=False, description="Call the dual-stack endpoint.")
    ca_bundle: Annotated[str, AfterValidator(validators.readable)] | None = Field(
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

    model_config = ConfigDict(extra="forbid", defer_build=False)

    profiles: tuple[NamedProfile, ...] = Field(default=(), description="One for each role; none: one named default.")
    sts: Sts = Sts.model_construct()
    publish: Publish = Publish.model_construct()
    endpoint: Endpoint = Endpoint.model_construct()
    health: Health = Health.model_construct()
    log: Log = Log.model_construct()
    token_source: Literal["file", "token-request"] = Field(
        default="file", description="`token-request`: the Kubernetes API is asked for tokens, and no file is read."
    )
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
        "BROKER_TOKEN_SOURCE": "token_source",
        "BROKER_DURATION_SECONDS": "duration_seconds",
        "BROKER_SESSION_POLICY": "session_policy",
        "BROKER_SESSION_POLICY_FILE": "session_policy_file",
        "BROKER_POLICY_ARNS": "policy_arns",
        "BROKER_PUBLISH_DIRECTORY": "publish.directory",
        "BROKER_PUBLISH_MODE": "publish.mode",
        "BROKER_PUBLISH_GROUP": "publish.group",
        "BROKER_PUBLISH_ENV": "publish.env",
        "BROKER_PUBLISH_PROCESS_COMMAND": "publish.process_command",
        "BROKER_ENDPOINT_ADDRESS": "endpoint.address",
        "BROKER_MINIMUM_INTERVAL_SECONDS": "minimum_interval_seconds",
        "BROKER_HEALTH_ADDRESS": "health.address",
        "BROKER_LOG_FORMAT": "log.format",
        "BROKER_LOG_LEVEL": "log.level",
    }.items()
)
"""In the order of precedence where two stand for the same setting."""
CONFIG_VARIABLE = "BROKER_CONFIG"
