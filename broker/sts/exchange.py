"""Calls to STS: AssumeRoleWithWebIdentity with a bound token, AssumeRole with the credentials of a source profile.

Only this module calls STS, and `web_identity_token` through it. Calls go to the regional endpoint. Each response is
checked before it is used. Every fault is raised as an ExchangeError that says what to change. Exceptions of libraries
never leave this module, because some of them quote the body of a response, which contains credentials.
"""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError, ParamValidationError

from broker.core.errors import (
    ExchangeError,
    ExchangeUnavailable,
    RequestInvalid,
    ResponseInvalid,
    RoleDenied,
    TokenRejected,
)
from broker.core.ignored_endpoint import IGNORED_ENDPOINT_REMEDY, find_ignored_endpoint
from broker.core.model import BoundToken, Secret, TemporaryCredentials
from broker.core.role_arns import is_session_of, read_account
from broker.core.session_names import session_name_for
from broker.core.session_sizes import SessionSizes
from broker.net.http_dates import server_time
from broker.sts.answers import NotSts
from broker.sts.client import Signer, new_client
from broker.sts.connection_faults import ENDPOINT_SETTING, explain_failure
from broker.sts.network_path import find_call_path
from broker.sts.refusals import explain, explain_foreign_answer
from broker.sts.remedies import FOREIGN_ANSWER
from broker.sts.transport import ConnectionFailed, Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from broker.core.clock import Clock, Instant
    from broker.core.model import ChainSpec, ProfileSpec, Proof, StsSpec

    Explain = Callable[[Mapping[str, Any], ProfileSpec, Proof], ExchangeError]

_MAXIMUM_DURATION_FOR_SKEW = timedelta(seconds=5)
"""A call that takes longer gives no clock skew: its `Date` header may be that old."""
_DEFAULT_SESSION_NAME = "sts-broker"
_KEYS = ("AccessKeyId", "SecretAccessKey", "SessionToken")


class StsExchanger:
    """Exchanges bound tokens, or the credentials of source profiles, for temporary credentials. Thread-safe.

    `signer` supplies the calling thread's credentials to signed clients.
    """

    def __init__(self, spec: StsSpec, clock: Clock) -> None:
        self._spec = spec
        self.clock = clock
        self._lock = threading.Lock()
        self.signer = Signer()
        self._clients: dict[tuple[str, bool], Any] = {}
        self._response = threading.local()  # of this thread's call: `status`, the HTTP status

    def exchange(self, profile: ProfileSpec, proof: Proof) -> TemporaryCredentials:
        """Return the temporary credentials that STS issues for the proof.

        Raises ExchangeError and nothing else.
        """
        session_name = profile.session_name or _choose_session_name(proof)
        began, parameters = self.clock.read(), _build_parameters(profile, session_name)
        response = self.call(profile, proof, lambda: self._call_sts(profile, proof, parameters), explain)
        return self._check(response, profile, session_name, began)

    def call(
        self, profile: ProfileSpec, proof: Proof, make_call: Callable[[], Mapping[str, Any]], explain_refusal: Explain
    ) -> Mapping[str, Any]:
        """Return the response to a call of one of the clients. Raises ExchangeError and nothing else.

        `explain_refusal` makes the error for an error response of STS.
        """
        self._response.status = None
        try:
            return make_call()
        except Exception as error:  # noqa: BLE001 - exceptions of libraries must not leave this module
            fault = self._explain_failure(error, profile, proof, explain_refusal)
            ignored = find_ignored_endpoint(os.environ, self._spec.endpoint_url)
            if ignored and (
                isinstance(error, ConnectionFailed | NotSts) or isinstance(fault, TokenRejected | RoleDenied)
            ):
                fault = _add_remedy(fault, f"{ignored} {IGNORED_ENDPOINT_REMEDY}")
            raise fault from None

    def _call_sts(self, profile: ProfileSpec, proof: Proof, parameters: dict[str, Any]) -> Mapping[str, Any]:
        """Make the call for this kind of proof. ProviderId is not sent: it must not be set for OIDC."""
        response: Mapping[str, Any]
        if isinstance(proof, BoundToken):
            client = self.client(profile.region, signed=False)
            response = client.assume_role_with_web_identity(WebIdentityToken=proof.raw.reveal(), **parameters)
            return response
        client = self.client(profile.region, signed=True)
        with self.signer.using(proof.generation.credentials):
            response = client.assume_role(**parameters, **_build_chain_parameters(profile.chain))
        return response

    def client(self, region: str, *, signed: bool) -> Any:  # noqa: ANN401 - botocore has no types
        """Return the client for the Region, which is made at its first use."""
        with self._lock:  # botocore's clients are thread-safe, but making them is not
            if (region, signed) not in self._clients:
                client = new_client(self._spec, region, self.signer if signed else None)
                transport = Transport(
                    find_call_path(client, self._spec), is_custom_endpoint=bool(self._spec.endpoint_url)
                )
                client.meta.events.register("before-send.sts", transport.send)
                client.meta.events.register("before-parse.sts", self._keep_status)
                self._clients[region, signed] = client
            return self._clients[region, signed]

    def _keep_status(self, response_dict: Mapping[str, Any], **_: object) -> None:
        """Keep the HTTP status of a response before botocore parses it: its parser errors do not carry the status."""
        self._response.status = int(response_dict["status_code"])

    def _explain_failure(
        self, error: Exception, profile: ProfileSpec, proof: Proof, explain_refusal: Explain
    ) -> ExchangeError:
        """Return the fault for a call that ended in an exception. It does not quote the text of the exception."""
        address = self._find_address(profile)
        match error:
            case ClientError():
                return explain_refusal(error.response, profile, proof)
            case ConnectionFailed():
                explanation = explain_failure(error.failure, address, self._spec)
                return ExchangeUnavailable(explanation.found, explanation.remedy)
            case NotSts():
                return explain_foreign_answer(error, address, self._spec, proof)
            case ParamValidationError():
                return RequestInvalid(
                    f"botocore rejected the request of profile {profile.name} as invalid.",
                    f"Check the settings of profile {profile.name}.",
                )
        if self._response.status is None:
            return ExchangeUnavailable(f"The call to {address} failed: {type(error).__name__}.")
        return ResponseInvalid(
            f"{address} is not STS: its response (HTTP status {self._response.status}) cannot be parsed.",
            FOREIGN_ANSWER,
            http_status=self._response.status,
        )

    def _find_address(self, profile: ProfileSpec) -> str:
        """Return the URL of the endpoint that the profile's calls go to."""
        clients = (self._clients.get((profile.region, signed)) for signed in (False, True))
        client = next((each for each in clients if each is not None), None)
        return client.meta.endpoint_url if client is not None else f"STS in {profile.region}"

    def _check(
        self, response: Mapping[str, Any], profile: ProfileSpec, session_name: str, began: Instant
    ) -> TemporaryCredentials:
        """Return the credentials in the response. Raises ResponseInvalid if they are not usable.

        `received_at` is the start of the call, because the session may have started at any time since then.
        """
        metadata, keys = response.get("ResponseMetadata", {}), response.get("Credentials") or {}
        ended = self.clock.read()
        took = ended.monotonic - began.monotonic
        unusable, expires_at = _list_unusable_fields(keys), convert_to_utc(keys.get("Expiration"))
        if unusable or expires_at is None:
            raise self._reject(f"missing, blank or malformed fields: {', '.join(unusable)}", metadata, profile)
        date = server_time(metadata.get("HTTPHeaders", {}).get("date", ""))
        lifetime = compute_lifetime(profile.duration, date, ended.now, expires_at)
        if lifetime <= took:
            raise self._reject(f"the credentials expired at {expires_at:%Y-%m-%dT%H:%M:%SZ}", metadata, profile)
        assumed_role_arn = str((response.get("AssumedRoleUser") or {}).get("Arn", ""))
        if not self._is_requested_role(assumed_role_arn, profile.role_arn, session_name):
            found = f"requested role {profile.role_arn}, received {assumed_role_arn or 'no role'}"
            raise self._reject(found, metadata, profile)
        return TemporaryCredentials(
            access_key_id=keys["AccessKeyId"],
            secret_access_key=Secret(keys["SecretAccessKey"]),
            session_token=Secret(keys["SessionToken"]),
            received_at=ended.now - took,
            expires_at=expires_at,
            lifetime=lifetime,
            assumed_role_arn=assumed_role_arn,
            account_id=read_account(assumed_role_arn or profile.role_arn),
            request_id=str(metadata.get("RequestId", "")),
            clock_skew=date - ended.now if date is not None and took < _MAXIMUM_DURATION_FOR_SKEW else None,
            sizes=_read_sizes(response),
        )

    def _reject(self, found: str, metadata: Mapping[str, Any], profile: ProfileSpec) -> ResponseInvalid:
        """Return the fault for a response whose credentials are not usable, because of what was found in it."""
        return reject_response(f"The response of {self._find_address(profile)}", found, metadata)

    def _is_requested_role(self, assumed_role_arn: str, role_arn: str, session_name: str) -> bool:
        """Return whether the ARN in the response is the requested session of the requested role.

        AWS always returns this ARN. MinIO does not, so its absence is accepted from a custom endpoint.
        """
        if not assumed_role_arn:
            return bool(self._spec.endpoint_url)
        is_custom = bool(self._spec.endpoint_url)
        return is_session_of(assumed_role_arn, role_arn, session_name, is_custom_endpoint=is_custom)


def _add_remedy(fault: ExchangeError, remedy: str) -> ExchangeError:
    """Return the fault with a further remedy."""
    return type(fault)(
        fault.message,
        f"{fault.remedy} {remedy}".lstrip(),
        code=fault.code,
        http_status=fault.http_status,
        request_id=fault.request_id,
    )


def _choose_session_name(proof: Proof) -> str:
    """Return the session name, so that CloudTrail shows the pod: made from the token, and kept along a chain."""
    if isinstance(proof, BoundToken):
        return session_name_for(proof.claims)
    return proof.generation.credentials.assumed_role_arn.rpartition("/")[2] or _DEFAULT_SESSION_NAME


def _build_parameters(profile: ProfileSpec, session_name: str) -> dict[str, Any]:
    """Return the request parameters that both calls have."""
    parameters: dict[str, Any] = {
        "RoleArn": profile.role_arn,
        "RoleSessionName": session_name,
        "DurationSeconds": int(profile.duration.total_seconds()),
    }
    if profile.session_policy is not None:
        parameters["Policy"] = profile.session_policy
    if profile.policy_arns:
        parameters["PolicyArns"] = [{"arn": arn} for arn in profile.policy_arns]
    return parameters


def _build_chain_parameters(chain: ChainSpec | None) -> dict[str, Any]:
    """Return the further request parameters of AssumeRole, without those that are not set."""
    assert chain is not None
    parameters = {
        "ExternalId": chain.external_id,
        "Tags": [{"Key": key, "Value": value} for key, value in chain.tags],
        "TransitiveTagKeys": list(chain.transitive_tag_keys),
        "SourceIdentity": chain.source_identity,
    }
    return {name: value for name, value in parameters.items() if value}


def _list_unusable_fields(keys: Mapping[str, Any]) -> list[str]:
    """Return the names of the fields of Credentials that are missing, blank or malformed."""
    unusable = [name for name in _KEYS if not _is_printable_word(keys.get(name))]
    return unusable if convert_to_utc(keys.get("Expiration")) else [*unusable, "Expiration"]


def _read_sizes(response: Mapping[str, Any]) -> SessionSizes:
    """Return the sizes in the response. Each field is optional, and nonsense counts as missing."""

    def read(field: str) -> int | None:
        value = response.get(field)
        return value if isinstance(value, int) and value >= 0 else None

    return SessionSizes(
        packed_policy_percent=read("PackedPolicySize"),
        session_token_percent=read("SessionTokenUtilization"),
        session_token_bytes=read("SessionTokenSize"),
    )


def _is_printable_word(text: object) -> bool:
    """Return whether this is text without spaces and control characters, as every credentials file needs it."""
    return isinstance(text, str) and text != "" and text.isprintable() and " " not in text


def reject_response(what: str, found: str, metadata: Mapping[str, Any]) -> ResponseInvalid:
    """Return the fault for a response, `what`, that is not usable because of what was found in it."""
    return ResponseInvalid(
        f"{what} is not usable: {found}.",
        f"Check {ENDPOINT_SETTING}, and any proxy on the network path to STS.",
        http_status=metadata.get("HTTPStatusCode"),
        request_id=str(metadata.get("RequestId", "")),
    )


def convert_to_utc(instant: object) -> datetime | None:
    """Return the instant in UTC, or None if it is not a datetime with a time zone."""
    if not isinstance(instant, datetime) or instant.tzinfo is None:
        return None
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        return None


def compute_lifetime(requested: timedelta, date: datetime | None, now: datetime, expires_at: datetime) -> timedelta:
    """Return the lifetime of a session or token, zero or less if it has expired, and no more than `requested`.

    It is computed on the clock of STS if the response has a `date`, because the node's clock `now` may be wrong
    (docs/adr/0005-lifetime.md).
    """
    by_sts_clock = timedelta(0) if date is None else expires_at - date
    return min(by_sts_clock if by_sts_clock > timedelta(0) else expires_at - now, requested)
