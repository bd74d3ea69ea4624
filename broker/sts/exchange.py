"""The only door to STS: AssumeRoleWithWebIdentity with a bound token, AssumeRole with a source's credentials.

Rules: the call goes to the Region's own endpoint, by the clients of `sts_client`; what STS answers is checked before
anybody relies on it; every fault leaves as an ExchangeError that says what to change. Foreign exceptions stay inside,
because some of them quote the body of an answer, which holds the keys.
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

_PROMPT = timedelta(seconds=5)
"""What takes longer says nothing about the clocks."""
_NAMELESS_SOURCE = "sts-broker"
_KEYS = ("AccessKeyId", "SecretAccessKey", "SessionToken")


class StsExchanger:
    """Exchanges bound tokens, and sources' credentials for those of chained roles. Safe to call from any thread.

    `signer` lends the calling thread's credentials to signed clients.
    """

    def __init__(self, spec: StsSpec, clock: Clock) -> None:
        self._spec = spec
        self._clock = clock
        self._lock = threading.Lock()
        self.signer = Signer()
        self._clients: dict[tuple[str, bool], Any] = {}
        self._heard = threading.local()  # `status`: the HTTP status of the answer to this thread's call

    def exchange(self, profile: ProfileSpec, proof: Proof) -> TemporaryCredentials:
        """Return the temporary credentials that STS gives for the token, or for the source's.

        Raises ExchangeError and nothing else.
        """
        session_name = profile.session_name or _session_name(proof)
        self._heard.status, began = None, self._clock.read()
        try:
            answer = self._call(profile, proof, _parameters(profile, session_name))
        except ClientError as error:
            raise explain(error.response, profile, proof) from None
        except Exception as error:  # noqa: BLE001 - the seam: what is foreign stays inside
            status = self._heard.status
            fault = self._unreachable(error, profile) if status is None else self._unreadable(status, profile, proof)
            raise fault from None
        return self._checked(answer, profile, session_name, began)

    def _call(self, profile: ProfileSpec, proof: Proof, parameters: dict[str, Any]) -> Mapping[str, Any]:
        """Make the call that belongs to the proof. ProviderId is left out: it must not be set for OIDC."""
        answer: Mapping[str, Any]
        if isinstance(proof, BoundToken):
            client = self.client(profile.region, signed=False)
            answer = client.assume_role_with_web_identity(WebIdentityToken=proof.raw.reveal(), **parameters)
            return answer
        client = self.client(profile.region, signed=True)
        with self.signer.using(proof.generation.credentials):
            answer = client.assume_role(**parameters, **_chain_parameters(profile.chain))
        return answer

    def client(self, region: str, *, signed: bool) -> Any:  # noqa: ANN401 - botocore has no types
        """Return the Region's client, made at its first use."""
        with self._lock:  # botocore's clients may be shared between threads, their making may not
            if (region, signed) not in self._clients:
                client = new_client(self._spec, region, self.signer if signed else None)
                client.meta.events.register("before-parse.sts", self._hear)
                self._clients[region, signed] = client
            return self._clients[region, signed]

    def _hear(self, response_dict: Mapping[str, Any], **_: object) -> None:
        """Keep the status of an answer that botocore may not be able to read: it would forget it."""
        self._heard.status = int(response_dict["status_code"])
        self._heard.is_aws = "x-amzn-requestid" in response_dict["headers"]

    def _address(self, profile: ProfileSpec) -> str:
        client = self._clients.get((profile.region, profile.chain is not None))
        return client.meta.endpoint_url if client is not None else f"STS in {profile.region}"

    def _unreadable(self, status: int, profile: ProfileSpec, proof: Proof) -> ExchangeError:
        """Return what an answer means of which the HTTP status is all that can be read (Ceph's refusals are JSON)."""
        if status >= HTTPStatus.BAD_REQUEST and (self._heard.is_aws or self._spec.endpoint_url):
            return explain({"ResponseMetadata": {"HTTPStatusCode": status}}, profile, proof)
        return ResponseInvalid(
            f"What answered at {self._address(profile)} (HTTP status {status}) is not STS: its answer cannot be read.",
            "Look at AWS_ENDPOINT_URL_STS and at what stands between the pod and STS: proxy, portal, mesh.",
            http_status=status,
        )

    def _unreachable(  # noqa: PLR0911 - a table in the form of code
        self, error: Exception, profile: ProfileSpec
    ) -> ExchangeError:
        """Return what a failed call means. The exception's own text is not passed on."""
        address = self._address(profile)
        match error:
            case ConnectTimeoutError():
                return ExchangeUnavailable(
                    f"No connection to {address} within {CONNECT_TIMEOUT_SECONDS} s.",
                    "Allow the pod to reach it on that port: NetworkPolicy, firewall, VPC endpoint, HTTPS_PROXY.",
                )
            case ReadTimeoutError():
                return ExchangeUnavailable(f"No answer from {address} within {READ_TIMEOUT_SECONDS} s.")
            case SSLError():
                return ExchangeUnavailable(
                    f"TLS with {address} failed{_because(error)}.",
                    "Where a proxy or private endpoint signs its own certificates, set AWS_CA_BUNDLE to its CA.",
                )
            case ProxyConnectionError():
                return ExchangeUnavailable(
                    f"The proxy on the way to {address} cannot be reached{_because(error)}.",
                    "Look at HTTPS_PROXY; add the STS host to NO_PROXY where no proxy is needed.",
                )
            case BotoConnectionError():
                return ExchangeUnavailable(
                    f"Cannot connect to {address}{_because(error)}.",
                    "Look at DNS, NetworkPolicy and routes of the pod, at AWS_REGION and AWS_ENDPOINT_URL_STS.",
                )
            case HTTPClientError():
                return ExchangeUnavailable(f"The connection to {address} broke off before the answer was complete.")
            case ParamValidationError():
                return RequestInvalid("botocore refuses the request as it is.", "Look at the profile's settings.")
            case _:
                return ExchangeUnavailable(f"The call to {address} failed: {type(error).__name__}.")

    def _checked(
        self, answer: Mapping[str, Any], profile: ProfileSpec, session_name: str, began: Instant
    ) -> TemporaryCredentials:
        """Return the credentials in the answer. Raises ResponseInvalid where they cannot be relied upon.

        They count as received when the call began: however long the answer took, the session was running meanwhile.
        """
        metadata = answer.get("ResponseMetadata", {})
        request_id = str(metadata.get("RequestId", ""))
        ended = self._clock.read()
        took = ended.monotonic - began.monotonic

        def invalid(what: str) -> ResponseInvalid:
            return ResponseInvalid(
                f"The answer of {self._address(profile)} cannot be used: {what}.",
                http_status=metadata.get("HTTPStatusCode"),
                request_id=request_id,
            )

        keys = answer.get("Credentials") or {}
        blank = [name for name in _KEYS if not _is_key(keys.get(name))]
        expires_at = _in_utc(keys.get("Expiration"))
        if expires_at is None:
            blank.append("Expiration")
        if blank or expires_at is None:
            raise invalid(f"{', '.join(blank)} missing or blank, or no plain text")
        date = server_time(metadata.get("HTTPHeaders", {}).get("date", ""))
        lifetime = _lifetime(profile.duration, date, ended.now, expires_at)
        if lifetime <= took:
            raise invalid(f"the credentials expired at {expires_at:%Y-%m-%dT%H:%M:%SZ}")
        assumed_role_arn = str((answer.get("AssumedRoleUser") or {}).get("Arn", ""))
        if not self._is_role_asked_for(assumed_role_arn, profile.role_arn, session_name):
            raise invalid(f"asked for {profile.role_arn}, got {assumed_role_arn or 'no role'}")
        return TemporaryCredentials(
            access_key_id=keys["AccessKeyId"],
            secret_access_key=Secret(keys["SecretAccessKey"]),
            session_token=Secret(keys["SessionToken"]),
            received_at=ended.now - took,
            expires_at=expires_at,
            lifetime=lifetime,
            assumed_role_arn=assumed_role_arn,
            account_id=(assumed_role_arn or profile.role_arn).split(":")[4],
            request_id=request_id,
            clock_skew=date - ended.now if date is not None and took < _PROMPT else None,
        )

    def _is_role_asked_for(self, assumed_role_arn: str, role_arn: str, session_name: str) -> bool:
        """Return whether `…:sts::ACCOUNT:assumed-role/NAME/SESSION` is a session of the role.

        MinIO names no role in its answer (aws-semantics of AssumeRoleWithWebIdentity there); AWS always does.
        """
        if not assumed_role_arn:
            return bool(self._spec.endpoint_url)
        account, role_name = role_arn.split(":")[4], role_arn.rsplit("/", 1)[-1]
        return assumed_role_arn.split(":", 4)[-1] == f"{account}:assumed-role/{role_name}/{session_name}"


def _session_name(proof: Proof) -> str:
    """Return the session name: made from the token, and kept along a chain, so that CloudTrail names the pod."""
    if isinstance(proof, BoundToken):
        return session_name_for(proof.claims)
    return proof.generation.credentials.assumed_role_arn.rpartition("/")[2] or _NAMELESS_SOURCE


def _parameters(profile: ProfileSpec, session_name: str) -> dict[str, Any]:
    """Return what both calls have in common."""
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


def _chain_parameters(chain: ChainSpec | None) -> dict[str, Any]:
    """Return what AssumeRole takes beyond that; what is not set is left out."""
    assert chain is not None
    parameters = {
        "ExternalId": chain.external_id,
        "Tags": [{"Key": key, "Value": value} for key, value in chain.tags],
        "TransitiveTagKeys": list(chain.transitive_tag_keys),
        "SourceIdentity": chain.source_identity,
    }
    return {name: value for name, value in parameters.items() if value}


def _is_key(text: object) -> bool:
    """Return whether this can stand in a file of keys: text without white space or control characters."""
    return isinstance(text, str) and text != "" and text.isprintable() and " " not in text


def _in_utc(instant: object) -> datetime | None:
    """Return an aware instant in UTC, None where it is none."""
    if not isinstance(instant, datetime) or instant.tzinfo is None:
        return None
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        return None


def _lifetime(asked: timedelta, date: datetime | None, now: datetime, expires_at: datetime) -> timedelta:
    """Return how long the session was granted for; zero or less if it is over already.

    Counted on STS's own clock where it told us its time, because this node's may be off (docs/adr/0005-lifetime.md).
    """
    by_their_clock = timedelta(0) if date is None else expires_at - date
    return min(by_their_clock if by_their_clock > timedelta(0) else expires_at - now, asked)


def _because(error: BaseException) -> str:
    """Return `: reason` where the system gave one for the failure underneath, else nothing."""
    seen: list[BaseException] = [error]
    for cause in seen:  # grows while it is walked
        if isinstance(cause, OSError) and cause.strerror:
            return f": {cause.strerror}"
        related = (cause.__cause__, cause.__context__, getattr(cause, "kwargs", {}).get("error"), *cause.args)
        seen += [each for each in related if isinstance(each, BaseException) and each not in seen]
    return ""
