"""Names of the fields that log lines and `/status` have: one name for one thing in both.

mypy accepts no other name in a log call or in the status document. docs/metrics.md explains each field to readers.
A field without a value is left out. Durations end in `_seconds`. Instants are UTC, written `YYYY-MM-DDTHH:MM:SSZ`.
"""

from __future__ import annotations

from typing import TypedDict


class ReportFields(TypedDict, total=False):
    """Fields of log lines and of `/status`, in alphabetical order. None of them holds a secret."""

    answers: dict[str, int]  # answers of the credentials endpoint, by status code: of a profile, or at the top of none
    assumed_role_arn: str  # the STS session, arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION
    attempts: int  # of a notification: how often it was tried
    clock_skew_seconds: float  # clock of STS minus clock of the node, at the last exchange
    count: int  # of `fault`: attempts that met it; of `refreshes`: refreshes with this outcome and reason
    credential_source: str  # variable or file that gives an SDK other credentials than the broker's
    dropped_lines: int  # log lines that were lost since the last line that got through
    error_code: str  # error code of the STS response
    exchange_duration_seconds: float
    expires_at: str  # expiry of the credentials
    failures: int  # failed attempts in a row
    fault: ReportFields  # current fault of a profile: reason, message, remedy, since, count
    faults: list[str]  # of invalid settings: one sentence for each, with the setting to change
    generation: int  # number of the newest credentials, published or not; restored credentials keep theirs
    host: str
    http_status: int | None  # HTTP status of the STS response
    listener: str  # health or credentials
    message: str
    next_refresh_at: str
    notifications: object  # one document for each target: target, fault if it was not notified of the last ones
    outcome: str  # success or failure; of notifications, also superseded
    packed_policy_percent: int | None  # share of the space for session policies and tags that the session uses
    phase: str
    port: int
    profile: str
    profiles: object  # names in a log line; one document for each profile in /status
    publish_directory: str
    published_generation: int
    ready: bool
    reason: str
    refreshes: object  # one document for each outcome and reason: outcome, reason, count
    remedy: str
    request_id: str  # STS request ID, for AWS Support
    required: bool
    retry_in_seconds: float
    role_arn: str  # the IAM role, as configured
    session_token_bytes: int | None
    session_token_percent: int | None  # share of the maximum size of a session token
    since: str
    sink: str
    source_generation: str  # credentials of the source profile that a chained role was assumed with: PROFILE-NUMBER
    source_profile: str  # profile whose credentials a chained role is assumed with
    stack: str  # where a worker met a bug: function (file:line) of each frame, innermost last
    subject: str  # sub claim of the token
    target: str  # program to notify: its URL without the query, pid_file:PATH or process:NAME
    token_expires_at: str
    token_fingerprint: str  # first 12 hex digits of the token's SHA-256
    token_issued_at: str
    web_identity_token: ReportFields  # of a profile: expires_at, next_refresh_at, refreshes, fault
