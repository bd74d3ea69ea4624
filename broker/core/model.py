"""The values of the broker: tokens, credentials, generations, and the configuration.

Rules: values are frozen; a secret is wrapped in `Secret` as soon as it is read; the type of unverified claims is named
accordingly. This module does not know files, networks or clocks.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from broker.core.records import Struct
from broker.core.session_sizes import UNKNOWN_SIZES, SessionSizes

if TYPE_CHECKING:
    from broker.core.notify_targets import NotifyTarget
    from broker.core.web_identity_spec import WebIdentityTokenSpec


DEFAULT_TOKEN_FILE = "/var/run/secrets/sts.amazonaws.com/token"  # noqa: S105 - a path
SERVICE_ACCOUNT_DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Where Kubernetes mounts the credentials for its API in every pod (ServiceAccount admission controller)."""
DEFAULT_PUBLISH_DIRECTORY = "/var/run/aws"
DEFAULT_TERMINATION_MESSAGE_PATH = "/dev/termination-log"
"""The default of `terminationMessagePath` in Kubernetes."""
DEFAULT_PROCESS_COMMAND = "cat {file}"
DEFAULT_PROFILE = "default"
ENDPOINT_TOKEN_FILE = "endpoint-token"  # noqa: S105 - a file's name
"""The file in the publish directory with the bearer token of the credentials endpoint."""
WEB_IDENTITY_TOKEN_RECORD = ".web-identity-tokens.json"  # noqa: S105 - a file's name
"""The file in the publish directory with the names of the web identity tokens there."""
DEFAULT_AUDIENCE = "sts.amazonaws.com"
"""The same in every partition, including the China Regions."""
SPIFFE_SCHEME = "spiffe://"
"""The start of the subject of every JWT-SVID (SPIFFE-ID standard, section 2)."""
SERVICE_LINK = re.compile(r"BROKER_(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)")
"""Variables that Kubernetes sets in every pod of a namespace with a Service named broker, or broker-something."""
TOKEN_LIKE = re.compile(r"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,2}")


def redacted(text: str) -> str:
    """Return the text without anything that looks like a JWT."""
    return TOKEN_LIKE.sub("<redacted>", text)


def printable(text: str) -> str:
    """Return the text without control characters, because claims and responses are written by other parties."""
    return "".join(each if each.isprintable() else "?" for each in text)


class Secret:
    """Text that prints as `<redacted>`.

    Only code that sends, publishes or verifies the secret, or removes it from other text, may call `reveal()`.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself. Pass it on, and do not keep it."""
        return self._text

    def __repr__(self) -> str:
        return "<redacted>"

    def __format__(self, format_spec: str) -> str:
        return "<redacted>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> str:
        raise TypeError("a Secret cannot be serialized")


class UnverifiedClaims(Struct, frozen=True, kw_only=True):
    """The claims of a token. Only STS verifies them.

    The broker uses them to schedule refreshes, to explain errors and to name sessions. `issued_at` is None if the token
    has no `iat`. The names of Kubernetes are "" in other tokens. So are `repository` and `run_id`, which GitHub Actions
    writes, and `project_path` and `job_id`, which GitLab writes.
    """

    issuer: str
    subject: str
    audiences: tuple[str, ...]
    issued_at: datetime | None
    not_before: datetime | None
    expires_at: datetime
    namespace: str = ""
    service_account: str = ""
    pod: str = ""
    pod_uid: str = ""
    node: str = ""
    repository: str = ""
    run_id: str = ""
    project_path: str = ""
    job_id: str = ""
    key_id: str = ""
    algorithm: str = ""


class BoundToken(Struct, frozen=True, kw_only=True):
    """A token as it was read. `fingerprint` is a short hash that identifies it in logs."""

    raw: Secret
    fingerprint: str
    claims: UnverifiedClaims


class TemporaryCredentials(Struct, frozen=True, kw_only=True):
    """The result of one exchange.

    `received_at` is on the clock of the node. `expires_at` is the expiry in the response, which readers get. `lifetime`
    is the session's lifetime by the clock of STS, so that a wrong clock of the node does not change when credentials
    are refreshed. `clock_skew` is the clock of STS minus the clock of the node; None if the response had no date.
    """

    access_key_id: str
    secret_access_key: Secret
    session_token: Secret
    received_at: datetime
    expires_at: datetime
    lifetime: timedelta
    assumed_role_arn: str
    account_id: str
    request_id: str = ""
    clock_skew: timedelta | None = None
    sizes: SessionSizes = UNKNOWN_SIZES

    @property
    def lapses_at(self) -> datetime:
        """When the session ends, on the clock of the node."""
        return self.received_at + self.lifetime

    @property
    def usable_until(self) -> datetime:
        """Until when readers can use the credentials, on the clock of the node. Readers compare `expires_at`."""
        return min(self.lapses_at, self.expires_at)

    @property
    def planned_lifetime(self) -> timedelta:
        """The lifetime that refreshes are planned by: how long readers can use the credentials, from their receipt.

        If the node's clock is so far ahead that they never can, it is the lifetime of the session.
        """
        usable_lifetime = self.usable_until - self.received_at
        return usable_lifetime if usable_lifetime > timedelta(0) else self.lifetime

    @property
    def planned_expiry(self) -> datetime:
        """The end of `planned_lifetime`, on the clock of the node."""
        return self.received_at + self.planned_lifetime


class Generation(Struct, frozen=True, kw_only=True):
    """The credentials of a profile, numbered from 1. The numbers continue after a restart that restores credentials.

    `reason` is why they were requested. `fingerprint` identifies the token, or the source's generation, used for them.
    `jitter` was drawn for their refresh (see `first_refresh`). The exchange succeeded at `succeeded_at` (monotonic).
    """

    profile: str
    number: int
    credentials: TemporaryCredentials
    reason: str
    fingerprint: str
    jitter: float = 0.0
    succeeded_at: timedelta = timedelta(0)


class SourceSession(Struct, frozen=True, kw_only=True):
    """The credentials of another profile, which a chained role is assumed with instead of a token."""

    generation: Generation

    @property
    def fingerprint(self) -> str:
        """The identifier in logs: the name of the source and the number of its generation."""
        return f"{self.generation.profile}-{self.generation.number}"


Proof = BoundToken | SourceSession
"""What STS gets as proof of identity: a token, or the credentials of a source."""


class ChainSpec(Struct, frozen=True, kw_only=True):
    """How a chained role is assumed: by AssumeRole, with the credentials of the profile `source`."""

    source: str
    external_id: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    transitive_tag_keys: tuple[str, ...] = ()
    source_identity: str | None = None


class ProfileSpec(Struct, frozen=True, kw_only=True):
    """A role to keep credentials for.

    If `session_name` is None, the name is derived from the token (see `broker.core.session_names`). `token_file` and
    `audience` are not used for a chained role. `token_file` is not used if tokens come from the Kubernetes API.
    `notify` are the programs to notify about new credentials.
    """

    name: str
    role_arn: str
    region: str
    token_file: str
    audience: str = DEFAULT_AUDIENCE
    session_name: str | None = None
    duration: timedelta = timedelta(hours=1)
    session_policy: str | None = None
    policy_arns: tuple[str, ...] = ()
    required: bool = True
    chain: ChainSpec | None = None
    notify: tuple[NotifyTarget, ...] = ()
    web_identity_token: WebIdentityTokenSpec | None = None


class StsSpec(Struct, frozen=True, kw_only=True):
    """How to call STS, from the standard AWS variables. "" means the default of botocore."""

    endpoint_url: str = ""
    use_fips: bool = False
    use_dualstack: bool = False
    ca_bundle: str = ""


class TokenRequestSpec(Struct, frozen=True, kw_only=True):
    """The address of the Kubernetes API. `directory` has the pod's own service account token and the cluster's CA."""

    host: str
    port: int
    directory: str = SERVICE_ACCOUNT_DIRECTORY
    timeout_seconds: float = 10
    """For a whole call."""


class PublishSpec(Struct, frozen=True, kw_only=True):
    """Where files are published, and who can read them.

    If `group` is None, files get the group of the directory or of the process. `process_command` is the
    `credential_process` in `config`, in which `{file}`, `{profile}` and `{directory}` are replaced.
    """

    directory: str = DEFAULT_PUBLISH_DIRECTORY
    mode: int = 0o640
    group: int | None = None
    env: bool = False
    process_command: str = DEFAULT_PROCESS_COMMAND


class Configuration(Struct, frozen=True, kw_only=True):
    """The validated configuration. `warnings` are logged at the start.

    If `token_request` is None, tokens are read from files.
    """

    profiles: tuple[ProfileSpec, ...]
    token_request: TokenRequestSpec | None = None
    sts: StsSpec = StsSpec()
    publish: PublishSpec = PublishSpec()
    minimum_interval: timedelta = timedelta(seconds=60)
    health_host: str = ""
    health_port: int = 9910
    endpoint_host: str = "127.0.0.1"
    endpoint_port: int = 9911
    log_format: str = "auto"
    log_level: str = "info"
    termination_message_path: str = DEFAULT_TERMINATION_MESSAGE_PATH
    warnings: tuple[str, ...] = ()

    @property
    def default_profile(self) -> str:
        """The profile named `default`, otherwise the only one; "" if there are several and none has that name."""
        names = [profile.name for profile in self.profiles]
        return names[0] if len(names) == 1 else next((name for name in names if name == DEFAULT_PROFILE), "")
