"""Calls to STS: AssumeRoleWithWebIdentity with a bound token, AssumeRole with the credentials of a source profile.

Only this module calls STS. Calls go to the regional endpoint. Each response is checked before it is used. Every fault
is raised as an ExchangeError that says what to change. Exceptions of libraries never leave this module, because some of
them quote the body of a response, which contains credentials.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    HTTPClientError,
    ParamValidationError,
    ProxyConnectionError,
    ReadTimeoutError,
    SSLError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError

from broker.core.errors import ExchangeError, ExchangeUnavailable, RequestInvalid, ResponseInvalid
from broker.core.model import BoundToken, Secret, TemporaryCredentials, session_name_for
from broker.net.http_dates import server_time
from broker.sts.client import CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS, Signer, new_client
from broker.sts.refusals import explain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.core.clock import Clock, Instant
    from broker.core.model import ChainSpec, ProfileSpec, Proof, StsSpec

_MAXIMUM_DURATION_FOR_SKEW = timedelta(seconds=5)
"""A call that takes longer gives no clock skew: its `Date` header may be that old."""
_DEFAULT_SESSION_NAME = "sts-broker"
_ENDPOINT_SETTING = "sts.endpoint_url (AWS_ENDPOINT_URL_STS)"
_KEYS = ("AccessKeyId", "SecretAccessKey", "SessionToken")


class StsExchanger:
    """Exchanges bound tokens, or the credentials of source profiles, for temporary credentials. Thread-safe.

    `signer` supplies the calling thread's credentials to signed clients.
    """

    def __init__(self, spec: StsSpec, clock: Clock) -> None:
        self._spec = spec
        self._clock = clock
        self._lock = threading.Lock()
        self.signer = Signer()
        self._clients: dict[tuple[str, bool], Any] = {}
        self._response = threading.local()  # of this thread's call: `status`, the HTTP status, and `is_aws`

    def exchange(self, profile: ProfileSpec, proof: Proof) -> TemporaryCredentials:
        """Return the temporary credentials that STS issues for the proof.

        Raises ExchangeError and nothing else.
        """
        session_name = profile.session_name or _choose_session_name(proof)
        self._response.status, began = None, self._clock.read()
        try:
            response = self._call_sts(profile, proof, _build_parameters(profile, session_name))
        except ClientError as error:
            raise explain(error.response, profile, proof) from None
        except Exception as error:  # noqa: BLE001 - exceptions of libraries must not leave this module
            status = self._response.status
            if status is None:
                raise self._explain_failure(error, profile) from None
            raise self._explain_unreadable(status, profile, proof) from None
        return self._check(response, profile, session_name, began)

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
                client.meta.events.register("before-parse.sts", self._keep_status)
                self._clients[region, signed] = client
            return self._clients[region, signed]

    def _keep_status(self, response_dict: Mapping[str, Any], **_: object) -> None:
        """Keep the HTTP status of a response before botocore parses it: its parser errors do not carry the status."""
        self._response.status = int(response_dict["status_code"])
        self._response.is_aws = "x-amzn-requestid" in response_dict["headers"]

    def _find_address(self, profile: ProfileSpec) -> str:
        """Return the URL of the endpoint that the profile's calls go to."""
        client = self._clients.get((profile.region, profile.chain is not None))
        return client.meta.endpoint_url if client is not None else f"STS in {profile.region}"

    def _explain_unreadable(self, status: int, profile: ProfileSpec, proof: Proof) -> ExchangeError:
        """Return the fault for a response that botocore cannot parse. Refusals of Ceph are JSON, for example."""
        if status >= HTTPStatus.BAD_REQUEST and (self._response.is_aws or self._spec.endpoint_url):
            return explain({"ResponseMetadata": {"HTTPStatusCode": status}}, profile, proof)
        return ResponseInvalid(
            f"{self._find_address(profile)} is not STS: its response (HTTP status {status}) cannot be parsed.",
            f"Check {_ENDPOINT_SETTING}, and any proxy, captive portal or service mesh on the network path to STS.",
            http_status=status,
        )

    def _explain_failure(  # noqa: PLR0911 - one return for each kind of error
        self, error: Exception, profile: ProfileSpec
    ) -> ExchangeError:
        """Return the fault for a call without a response. It does not quote the text of the exception."""
        address = self._find_address(profile)
        match error:
            case ConnectTimeoutError():
                return ExchangeUnavailable(
                    f"Cannot connect to {address}: no connection within {CONNECT_TIMEOUT_SECONDS} s.",
                    "Allow the pod to reach that host and port: check NetworkPolicy, firewall, VPC endpoint and "
                    "HTTPS_PROXY.",
                )
            case ReadTimeoutError():
                return ExchangeUnavailable(f"No response from {address} within {READ_TIMEOUT_SECONDS} s.")
            case SSLError():
                return ExchangeUnavailable(
                    f"The TLS connection to {address} failed{_format_cause(error)}.",
                    "If a proxy or a private endpoint has certificates of its own CA, set sts.ca_bundle "
                    "(AWS_CA_BUNDLE) to a file with that CA.",
                )
            case ProxyConnectionError():
                return ExchangeUnavailable(
                    f"Cannot reach the proxy for {address}{_format_cause(error)}.",
                    "Check HTTPS_PROXY. If STS is reachable without the proxy, add its host to NO_PROXY.",
                )
            case BotoConnectionError():
                return ExchangeUnavailable(
                    f"Cannot connect to {address}{_format_cause(error)}.",
                    f"Check DNS, NetworkPolicy and routes of the pod, region (AWS_REGION), and {_ENDPOINT_SETTING}.",
                )
            case HTTPClientError():
                return ExchangeUnavailable(f"The connection to {address} closed before the response was complete.")
            case ParamValidationError():
                return RequestInvalid(
                    f"botocore rejected the request of profile {profile.name} as invalid.",
                    f"Check the settings of profile {profile.name}.",
                )
            case _:
                return ExchangeUnavailable(f"The call to {address} failed: {type(error).__name__}.")

    def _check(
        self, response: Mapping[str, Any], profile: ProfileSpec, session_name: str, began: Instant
    ) -> TemporaryCredentials:
        """Return the credentials in the response. Raises ResponseInvalid if they are not usable.

        `received_at` is the start of the call, because the session may have started at any time since then.
        """
        metadata, keys = response.get("ResponseMetadata", {}), response.get("Credentials") or {}
        ended = self._clock.read()
        took = ended.monotonic - began.monotonic
        unusable, expires_at = _list_unusable_fields(keys), _convert_to_utc(keys.get("Expiration"))
        if unusable or expires_at is None:
            raise self._reject(f"missing, blank or malformed fields: {', '.join(unusable)}", metadata, profile)
        date = server_time(metadata.get("HTTPHeaders", {}).get("date", ""))
        lifetime = _compute_lifetime(profile.duration, date, ended.now, expires_at)
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
            account_id=(assumed_role_arn or profile.role_arn).split(":")[4],
            request_id=str(metadata.get("RequestId", "")),
            clock_skew=date - ended.now if date is not None and took < _MAXIMUM_DURATION_FOR_SKEW else None,
        )

    def _reject(self, found: str, metadata: Mapping[str, Any], profile: ProfileSpec) -> ResponseInvalid:
        """Return the fault for a response whose credentials are not usable, because of what was found in it."""
        return ResponseInvalid(
            f"The response of {self._find_address(profile)} is not usable: {found}.",
            f"Check {_ENDPOINT_SETTING}, and any proxy on the network path to STS.",
            http_status=metadata.get("HTTPStatusCode"),
            request_id=str(metadata.get("RequestId", "")),
        )

    def _is_requested_role(self, assumed_role_arn: str, role_arn: str, session_name: str) -> bool:
        """Return whether `…:sts::ACCOUNT:assumed-role/NAME/SESSION` is the requested session of the requested role.

        AWS always returns this ARN. MinIO does not, so its absence is accepted from a custom endpoint.
        """
        if not assumed_role_arn:
            return bool(self._spec.endpoint_url)
        account, role_name = role_arn.split(":")[4], role_arn.rsplit("/", 1)[-1]
        return assumed_role_arn.split(":", 4)[-1] == f"{account}:assumed-role/{role_name}/{session_name}"


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
    return unusable if _convert_to_utc(keys.get("Expiration")) else [*unusable, "Expiration"]


def _is_printable_word(text: object) -> bool:
    """Return whether this is text without spaces and control characters, as every credentials file needs it."""
    return isinstance(text, str) and text != "" and text.isprintable() and " " not in text


def _convert_to_utc(instant: object) -> datetime | None:
    """Return the instant in UTC, or None if it is not a datetime with a time zone."""
    if not isinstance(instant, datetime) or instant.tzinfo is None:
        return None
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        return None


def _compute_lifetime(requested: timedelta, date: datetime | None, now: datetime, expires_at: datetime) -> timedelta:
    """Return the lifetime of the session, zero or less if it has expired, and no more than `requested`.

    It is computed on the clock of STS if the response has a `date`, because the node's clock `now` may be wrong
    (docs/adr/0005-lifetime.md).
    """
    by_sts_clock = timedelta(0) if date is None else expires_at - date
    return min(by_sts_clock if by_sts_clock > timedelta(0) else expires_at - now, requested)


def _format_cause(error: BaseException) -> str:
    """Return `: ` and the operating system's message for the underlying failure, or "" if there is none."""
    seen: list[BaseException] = [error]
    for cause in seen:  # the loop appends to it
        if isinstance(cause, OSError) and cause.strerror:
            return f": {cause.strerror}"
        related = (cause.__cause__, cause.__context__, getattr(cause, "kwargs", {}).get("error"), *cause.args)
        seen += [each for each in related if isinstance(each, BaseException) and each not in seen]
    return ""
