"""The schema of the settings: every key with its type, default, bounds and description.

The environment variables are in `variables`, the checks of single values in `validators`, and the checks of whole
profiles in `cross_checks`. The settings table of the README is generated from this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from broker.core.model import (
    DEFAULT_AUDIENCE,
    DEFAULT_PROCESS_COMMAND,
    DEFAULT_PUBLISH_DIRECTORY,
    DEFAULT_TERMINATION_MESSAGE_PATH,
    DEFAULT_TOKEN_FILE,
)
from broker.core.role_arns import LENGTH_MAXIMUM, LENGTH_MINIMUM
from broker.core.web_identity_spec import (
    DEFAULT_LIFETIME,
    MAXIMUM_AUDIENCES,
    MAXIMUM_LIFETIME,
    MINIMUM_LIFETIME,
)
from broker.settings import validators

if TYPE_CHECKING:
    from pydantic_settings import PydanticBaseSettingsSource

    from broker.settings.sources import EnvironmentSource, YamlSource

_ARN = rf"^arn:[\x21-\x7e]{{{LENGTH_MINIMUM - 4},}}$"  # fault_lines has what AWS requires of it
_REGION = r"^[a-z]{2,8}(-[a-z]+)+-\d+$"
_SESSION_NAME = r"^[A-Za-z0-9_+=,.@-]{2,64}$"
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
_DIRECTORY = r"^/[A-Za-z0-9_./+@=-]*$"
_PROCESS_NAME = r"^[^/\x00-\x1f\x7f]{1,15}$"  # the kernel keeps 15 bytes (TASK_COMM_LEN)
_MAXIMUM_GROUP = 2**32 - 2  # chown takes the number above it as "do not change the group"


# The nested models are built as parts of Settings. Building each one separately as well took a quarter of this module's
# import time. For the same reason their defaults use model_construct.
_STRICT = ConfigDict(extra="forbid", defer_build=True)


class Notify(BaseModel):
    """An entry of `notify:`. `cross_checks` checks which keys belong together."""

    model_config = _STRICT

    url: Annotated[str, AfterValidator(validators.loopback_url)] | None = Field(
        default=None, description="Request this URL: `http://`, on loopback."
    )
    method: Literal["GET", "POST", "PUT"] = Field(default="POST", description="With `url`: the HTTP method.")
    bearer_file: Annotated[str, AfterValidator(validators.absolute)] | None = Field(
        default=None, description="With `url`: path of a file with a bearer token to send."
    )
    signal: Annotated[str, AfterValidator(validators.signal_name)] | None = Field(
        default=None, description="Send this signal, such as `HUP`, to a process of the pod."
    )
    pid_file: Annotated[str, AfterValidator(validators.absolute)] | None = Field(
        default=None, description="With `signal`: path of a file with the process ID."
    )
    process: str | None = Field(
        default=None, pattern=_PROCESS_NAME, description="With `signal`: name of the process, as in `/proc/PID/comm`."
    )


class WebIdentityTokenKeys(BaseModel):
    """The section `web_identity_token:`, at the top of the file or in a profile."""

    model_config = _STRICT

    audience: Annotated[
        tuple[str, ...], BeforeValidator(validators.comma_separated), AfterValidator(validators.token_audiences)
    ] = Field(
        default=(),
        max_length=MAXIMUM_AUDIENCES,
        description="Audiences of the [web identity token](outbound.md), comma-separated. If empty, there is none.",
    )
    duration_seconds: int = Field(
        default=int(DEFAULT_LIFETIME.total_seconds()),
        ge=int(MINIMUM_LIFETIME.total_seconds()),
        le=int(MAXIMUM_LIFETIME.total_seconds()),
        description="Lifetime of the web identity token in seconds.",
    )
    signing_algorithm: Literal["RS256", "ES384"] = Field(
        default="RS256", description="Signature of the web identity token: `RS256` or `ES384`."
    )


class ProfileKeys(BaseModel):
    """The keys of a profile. At the top of the file, and in the environment, they are the defaults of all profiles."""

    model_config = _STRICT

    role_arn: str | None = Field(default=None, pattern=_ARN, max_length=LENGTH_MAXIMUM, description="Role to assume.")
    region: str | None = Field(
        default=None, pattern=_REGION, description="Region of the STS endpoint, and the app's default Region."
    )
    web_identity_token_file: Annotated[str, AfterValidator(validators.absolute)] = Field(
        default=DEFAULT_TOKEN_FILE, description="Path of the token, such as a projected service account token."
    )
    audience: str = Field(
        default=DEFAULT_AUDIENCE, min_length=1, max_length=255, description="Audience that the token must have."
    )
    role_session_name: str | None = Field(
        default=None,
        pattern=_SESSION_NAME,
        description="Role session name. If not set: `<namespace>.<pod>`, from the token.",
    )
    duration_seconds: int = Field(default=3600, ge=900, le=43200, description="Session duration in seconds.")
    session_policy: (
        Annotated[str, BeforeValidator(validators.policy_value), AfterValidator(validators.policy_text)] | None
    ) = Field(default=None, description="Inline session policy, as JSON text; in the file also as YAML.")
    session_policy_file: str | None = Field(default=None, description="Path of a file with the session policy.")
    policy_arns: Annotated[
        tuple[str, ...], BeforeValidator(validators.comma_separated), AfterValidator(validators.policy_arns)
    ] = Field(
        default=(),
        max_length=10,
        description="ARNs of managed policies that limit the session; comma-separated in the environment.",
    )
    web_identity_token: WebIdentityTokenKeys = WebIdentityTokenKeys.model_construct()
    required: bool = Field(default=True, description="Whether `/readyz` waits for this profile.")
    notify: tuple[Notify, ...] = Field(
        default=(),
        max_length=8,
        description="Programs to [notify about new credentials](notify.md). A list, at most 8 entries:",
    )


class NamedProfile(ProfileKeys):
    """An entry of `profiles:`."""

    name: Annotated[str, AfterValidator(validators.profile_name)] = Field(
        pattern=_NAME, description="Name of the profile, as in the AWS config file."
    )
    source_profile: str | None = Field(
        default=None,
        pattern=_NAME,
        description="Makes this a chained role: the profile whose credentials are used to assume it.",
    )
    external_id: Annotated[str, AfterValidator(validators.external_id)] | None = Field(
        default=None, description="Chained role: external ID that its trust policy requires."
    )
    tags: Annotated[dict[str, str], AfterValidator(validators.tags)] = Field(
        default={}, description="Chained role: session tags, at most 50."
    )
    transitive_tag_keys: tuple[str, ...] = Field(
        default=(), description="Chained role: keys of the session tags that pass to the next roles in the chain."
    )
    source_identity: Annotated[str, AfterValidator(validators.source_identity)] | None = Field(
        default=None,
        pattern=_SESSION_NAME,
        description="Chained role: source identity. The next roles in the chain cannot change it.",
    )

    @model_validator(mode="after")
    def _check_transitive_tags(self) -> Self:
        for key in self.transitive_tag_keys:
            if key not in self.tags:
                raise ValueError(f"transitive_tag_keys: {key!r} is not in tags; add it to tags, or remove it here")
        return self


class Publish(BaseModel):
    """The section `publish:`."""

    model_config = _STRICT

    directory: str = Field(
        default=DEFAULT_PUBLISH_DIRECTORY, pattern=_DIRECTORY, description="Directory of the published files."
    )
    mode: Annotated[int, BeforeValidator(validators.mode)] = Field(
        default=0o640, description="Mode of the published files, in octal."
    )
    group: int | None = Field(
        default=None,
        ge=0,
        le=_MAXIMUM_GROUP,
        description="Group ID of the published files. If not set: the group of the directory or of the process.",
    )
    env: bool = Field(default=False, description="Whether to publish `<profile>.env` too.")
    process_command: Annotated[str, AfterValidator(validators.process_command)] = Field(
        default=DEFAULT_PROCESS_COMMAND,
        description="`credential_process` in `config`. `{file}`, `{profile}` and `{directory}` are replaced.",
    )


class Health(BaseModel):
    """The section `health:`."""

    model_config = _STRICT

    address: Annotated[str, AfterValidator(validators.address)] = Field(
        default="*:9910", description="Address of the health listener."
    )


class Endpoint(BaseModel):
    """The section `endpoint:`."""

    model_config = _STRICT

    address: Annotated[str, AfterValidator(validators.loopback_address)] = Field(
        default="127.0.0.1:9911", description="Loopback address of the credentials endpoint."
    )


class Log(BaseModel):
    """The section `log:`."""

    model_config = _STRICT

    format: Literal["auto", "json", "console"] = Field(
        default="auto", description="Log format. `auto`: console on a terminal, otherwise JSON."
    )
    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Minimum log level.")


class Sts(BaseModel):
    """The section `sts:`."""

    model_config = _STRICT

    endpoint_url: Annotated[str, AfterValidator(validators.sts_url)] | None = Field(
        default=None, description="URL of a custom STS endpoint: `https://`, or `http://` on loopback."
    )
    use_fips_endpoint: bool = Field(default=False, description="Whether to call the FIPS endpoint.")
    use_dualstack_endpoint: bool = Field(default=False, description="Whether to call the dual-stack endpoint.")
    ca_bundle: Annotated[str, AfterValidator(validators.readable)] | None = Field(
        default=None, description="Path of a CA bundle to trust instead of the default one."
    )

    @model_validator(mode="after")
    def _check_endpoint_choice(self) -> Self:
        if self.endpoint_url and (self.use_fips_endpoint or self.use_dualstack_endpoint):
            raise ValueError(
                "a custom endpoint cannot be combined with the FIPS or dual-stack endpoint; unset "
                "AWS_ENDPOINT_URL_STS, or AWS_USE_FIPS_ENDPOINT and AWS_USE_DUALSTACK_ENDPOINT"
            )
        return self


class Settings(BaseSettings, ProfileKeys):
    """All settings, from the environment, the YAML file and the defaults, and from nowhere else."""

    model_config = SettingsConfigDict(extra="forbid", defer_build=False, validate_default=False)

    profiles: tuple[NamedProfile, ...] = Field(
        default=(), description="One entry for each role. If empty: one profile, `default`."
    )
    sts: Sts = Sts.model_construct()
    publish: Publish = Publish.model_construct()
    endpoint: Endpoint = Endpoint.model_construct()
    health: Health = Health.model_construct()
    log: Log = Log.model_construct()
    token_source: Literal["file", "token-request"] = Field(
        default="file", description="`token-request`: request tokens from the Kubernetes API instead of reading a file."
    )
    minimum_interval_seconds: int = Field(
        default=60, ge=1, le=3600, description="Minimum time between two exchanges, in seconds."
    )
    termination_message_path: Annotated[str, AfterValidator(validators.absolute)] = Field(
        default=DEFAULT_TERMINATION_MESSAGE_PATH,
        description="Existing file for the current faults: the container's `terminationMessagePath`.",
    )

    def __init__(self, *, environment: EnvironmentSource, file: YamlSource) -> None:
        """Read and validate the settings. Raises ValidationError with all faults of single values."""
        super().__init__(environment=environment, file=file)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the interface
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - replaced by `environment`
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - .env files are not read
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - secrets directories are not read
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources in order of precedence: environment, file. Defaults apply to what neither of them sets."""
        given = init_settings()
        return given["environment"], given["file"]
