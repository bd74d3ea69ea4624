"""The values that flow through the broker: tokens, credentials, generations, and what the settings ask for.

Rules: values are frozen; a secret is wrapped in `Secret` from the moment it is read; claims that nobody has verified
say so in their type's name. Knows no file, no network and no clock.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

DEFAULT_TOKEN_FILE = "/var/run/secrets/sts.amazonaws.com/token"  # noqa: S105 - a path
SERVICE_ACCOUNT_DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Where Kubernetes mounts what a pod needs to ask its API, in every pod (ServiceAccount admission)."""
DEFAULT_PUBLISH_DIRECTORY = "/var/run/aws"
DEFAULT_PROCESS_COMMAND = "cat {file}"
DEFAULT_PROFILE = "default"
ENDPOINT_TOKEN_FILE = "endpoint-token"  # noqa: S105 - a file's name
"""In the publish directory: what the loopback endpoint wants to see in `Authorization`."""
DEFAULT_AUDIENCE = "sts.amazonaws.com"
"""The same in every partition, China's included."""
SESSION_NAME_MAXIMUM_LENGTH = 64
SESSION_NAME_MINIMUM_LENGTH = 2
_POD_LENGTH_KEPT = 40
SERVICE_LINK = re.compile(r"BROKER_(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)")
"""What Kubernetes puts into every pod of a namespace that has a Service named broker, or broker-something."""
TOKEN_LIKE = re.compile(r"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,2}")


def redacted(text: str) -> str:
    """Return the text with everything that looks like a token cut out."""
    return TOKEN_LIKE.sub("<redacted>", text)


def printable(text: str) -> str:
    """Return the text without what could move a terminal's cursor: claims and answers are anybody's text."""
    return "".join(each if each.isprintable() else "?" for each in text)


class Secret:
    """Text that prints as `<redacted>`.

    `reveal()` is for `exchange`, `sts_client`, `token_request_call` and `formats`, for `denials` to cut it out, and for
    `token_signature` to check it.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself, to be handed on and not kept."""
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
        raise TypeError("a Secret cannot be serialised")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnverifiedClaims:
    """What a token says of itself. Only STS verifies it; the broker uses it to wait, to explain and to name sessions.

    `issued_at` is None where the token carries no `iat`; the Kubernetes names are "" where it carries none.
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
    key_id: str = ""
    algorithm: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundToken:
    """A token as it was read. `fingerprint` is a short hash that names it in logs."""

    raw: Secret
    fingerprint: str
    claims: UnverifiedClaims


@dataclass(frozen=True, slots=True, kw_only=True)
class TemporaryCredentials:
    """What one exchange returned.

    `received_at` is this node's clock, `expires_at` STS's word (and what readers are told). `lifetime` is how long the
    session was granted for, counted on STS's own clock, so that a node whose clock is off neither counts on time that
    it does not have nor calls too often. `clock_skew` is STS's clock less the node's; None: the answer had no date.
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

    @property
    def lapses_at(self) -> datetime:
        """The instant on this node's clock at which STS ends the session."""
        return self.received_at + self.lifetime

    @property
    def usable_until(self) -> datetime:
        """The instant on this node's clock from which readers cannot use them: theirs go by `expires_at`."""
        return min(self.lapses_at, self.expires_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """The `number`-th credentials (from 1) that a profile got since the broker started.

    `reason` says why they were asked for, `fingerprint` names the token that was sent for them.
    """

    profile: str
    number: int
    credentials: TemporaryCredentials
    reason: str
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSession:
    """Another profile's credentials, with which a chained role is asked for: what a token is to the other profiles."""

    generation: Generation

    @property
    def fingerprint(self) -> str:
        """What names it in logs: the source's name and the number of its generation."""
        return f"{self.generation.profile}-{self.generation.number}"


Proof = BoundToken | SourceSession
"""What an exchange is made with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainSpec:
    """How a chained role is asked for: with the credentials of the profile `source`, by AssumeRole."""

    source: str
    external_id: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    transitive_tag_keys: tuple[str, ...] = ()
    source_identity: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileSpec:
    """One role to hold credentials for. `session_name` None: made from the token (see `session_name_for`).

    Where there is a `chain`, no token is read: `token_file` and `audience` say nothing then. Where tokens are asked of
    the Kubernetes API, `token_file` says nothing.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class StsSpec:
    """How STS is reached: the standard AWS variables, resolved. Empty text stands for "as botocore decides"."""

    endpoint_url: str = ""
    use_fips: bool = False
    use_dualstack: bool = False
    ca_bundle: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequestSpec:
    """Where the Kubernetes API is; `directory` has the pod's own service account token, and the cluster's CA."""

    host: str
    port: int
    directory: str = SERVICE_ACCOUNT_DIRECTORY
    timeout_seconds: float = 10
    """Of each step of a call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishSpec:
    """Where files go and who may read them. `group` None: the group that the directory or the process gives.

    `process_command` is what `config` lets SDKs run, with `{file}`, `{profile}` and `{directory}` to be filled in.
    """

    directory: str = DEFAULT_PUBLISH_DIRECTORY
    mode: int = 0o640
    group: int | None = None
    env: bool = False
    process_command: str = DEFAULT_PROCESS_COMMAND


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """All that the broker was asked to do, valid as a whole. `warnings` are for the log at start.

    `token_request` None: bound tokens stand in files.
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
    warnings: tuple[str, ...] = ()

    @property
    def default_profile(self) -> str:
        """The profile named `default`, else the only one; "" where it could be any of several."""
        names = [profile.name for profile in self.profiles]
        return names[0] if len(names) == 1 else next((name for name in names if name == DEFAULT_PROFILE), "")


def session_name_for(claims: UnverifiedClaims) -> str:
    """Return the session name `namespace.pod`, which CloudTrail then shows, in the 2-64 characters that STS allows.

    Where it must be cut, the pod keeps its unique end. Without a pod the service account stands for it, without either
    the subject's last part.
    """
    name = claims.pod or claims.service_account or claims.subject.rsplit(":", 1)[-1]
    tail = _allowed(name)
    head = _allowed(claims.namespace)
    if head:
        room = SESSION_NAME_MAXIMUM_LENGTH - 1 - len(head)
        tail = tail[-max(room, _POD_LENGTH_KEPT) :]
        head = head[: SESSION_NAME_MAXIMUM_LENGTH - 1 - len(tail)]
        tail = f"{head}.{tail}"
    tail = tail[-SESSION_NAME_MAXIMUM_LENGTH:]
    return tail if len(tail) >= SESSION_NAME_MINIMUM_LENGTH else f"sts-broker-{tail}".rstrip("-")


def _allowed(text: str) -> str:
    """Return `text` with a hyphen for each character that STS refuses in a session name."""
    return re.sub(r"[^A-Za-z0-9_+=,.@-]", "-", text)
