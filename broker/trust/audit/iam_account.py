"""Read the roles and OIDC providers of an account from IAM, with boto3 and the credentials of the shell.

Four operations, all of which only read: `GetAccountAuthorizationDetails` has trust policies and permissions boundaries,
but no maximum session durations. `ListRoles` has these, but no boundaries. Both are asked for 1,000 roles at a time.
Where the first is refused, the second is enough for everything but the boundaries. A refused call is a part that
was not judged, not an error. IAM limits the rate of calls; a throttled call is repeated for two minutes at most.
Of answers, only error codes and ARNs are quoted.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
)
from tenacity import RetryCallState, Retrying
from tenacity.retry import retry_if_exception
from tenacity.stop import stop_after_delay
from tenacity.wait import wait_random_exponential

from broker.core.errors import ConfigurationError
from broker.core.role_arns import read_partition
from broker.trust.audit.account import Account, Provider, Role
from broker.trust.iam_role import read_refusal
from broker.trust.sources import Source, as_policy_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from broker.trust.audit.progress import ReadingProgress

_PAGE_SIZE: Final = 1000
"""The maximum of both operations (botocore's IAM model, maxItemsType)."""
_PATIENCE_SECONDS: Final = 120
_LONGEST_WAIT_SECONDS: Final = 20
_CONNECT_SECONDS, _READ_SECONDS = 10, 60
_THROTTLED: Final = ("Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException")
_SERVER_ERROR: Final = 500
_BAD_CREDENTIALS: Final = (
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "MissingAuthenticationToken",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
)
_REGIONS: Final = {"aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}
_POLICY_FILE: Final = "iam-policies/permissions/account-audit.json.tftpl"
_SESSION_NAME: Final = "sts-broker-trust-audit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Whose credentials to use: a profile, "" for the shell's own, and a role to assume first, "" for none."""

    profile: str = ""
    role_arn: str = ""


def open_iam(access: Access, environ: Mapping[str, str]) -> Any:  # noqa: ANN401 - boto3 ships no types
    """Return a client for IAM. Raises ConfigurationError where the credentials cannot be had."""
    try:
        session = boto3.Session(profile_name=access.profile or None)
        default = _REGIONS.get(read_partition(access.role_arn), "us-east-1")  # IAM is global; a region says which cloud
        region = environ.get("AWS_REGION") or session.region_name or default
        if access.role_arn:
            session = _assume(session, access.role_arn, region)
        return session.client("iam", region_name=region, config=_make_config())
    except ClientError as error:
        refusal = read_refusal(error)
        by = f" to {refusal.caller}" if refusal.caller else ""
        fault = f"--role-arn {access.role_arn}: STS refused it{by} ({refusal.code}). Check the role's trust policy."
        raise ConfigurationError((fault,)) from None
    except BotoCoreError as error:
        raise ConfigurationError((_describe_credentials(error),)) from None


def _assume(session: boto3.Session, role_arn: str, region: str) -> boto3.Session:
    sts = session.client("sts", region_name=region, config=_make_config())
    keys = sts.assume_role(RoleArn=role_arn, RoleSessionName=_SESSION_NAME)["Credentials"]
    return boto3.Session(
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
        region_name=region,
    )


def _make_config() -> Config:
    return Config(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": 1},  # tenacity repeats, and says so
        user_agent_extra="sts-federation-broker",
    )


def _describe_credentials(error: BotoCoreError) -> str:
    if isinstance(error, ProfileNotFound):
        return "--profile: the AWS config has no such profile. `aws configure list-profiles` lists those that exist."
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return "No AWS credentials found. Log in, or name a profile (--profile, AWS_PROFILE)."
    found = f"AWS cannot be called with these credentials ({type(error).__name__})."
    return f"{found} Log in again, name a profile (--profile), or check the network."


class AccountReader:
    """Reads the account of an IAM client. `sleep` waits while IAM throttles."""

    def __init__(self, iam: Any, progress: ReadingProgress, sleep: Callable[[float], None] = time.sleep) -> None:  # noqa: ANN401 - boto3 ships no types
        self._iam = iam
        self._progress = progress
        self._retrying = Retrying(
            retry=retry_if_exception(_is_temporary),
            wait=wait_random_exponential(multiplier=1, max=_LONGEST_WAIT_SECONDS),
            stop=stop_after_delay(_PATIENCE_SECONDS),
            before_sleep=self._report_wait,
            reraise=True,
            sleep=sleep,
        )
        self._account = Account()

    def read(self) -> Account:
        """Return the account. What could not be read is in its lists.

        Raises ConfigurationError where AWS refuses the credentials themselves.
        """
        try:
            self._read_roles()
            self._read_providers()
        except BotoCoreError as error:
            if isinstance(error, NoCredentialsError | PartialCredentialsError):
                raise ConfigurationError((_describe_credentials(error),)) from None
            address = self._iam.meta.endpoint_url
            self._account.faults.append(f"calling {address} failed ({type(error).__name__}); check the network")
        return self._account

    def _read_roles(self) -> None:
        gap = "permissions boundaries are unknown"
        details, has_details = self._list("get_account_authorization_details", "RoleDetailList", gap, Filter=["Role"])
        gap = "maximum session durations are unknown"
        listed, has_list = self._list("list_roles", "Roles", gap)
        seconds = {one["Arn"]: one.get("MaxSessionDuration") for one in listed}
        self._account.has_all_roles = has_details or has_list
        known = {one["Arn"]: _read_boundary(one) for one in details}
        self._account.roles = [
            Role(arn=arn, source=_make_source(one), maximum_seconds=seconds.get(arn), boundary=known.get(arn))
            for arn, one in {one["Arn"]: one for one in (*listed, *details)}.items()
        ]

    def _read_providers(self) -> None:
        gap = "OIDC providers are unknown, so missing and unused ones are not reported"
        answer = self._call("list_open_id_connect_providers", gap)
        if answer is None:
            return
        self._account.has_all_providers = True
        arns = [one["Arn"] for one in answer["OpenIDConnectProviderList"]]
        self._progress.begin("OIDC providers", len(arns))
        for arn in arns:
            gap = f"the audiences of {arn} are unknown"
            found = self._call("get_open_id_connect_provider", gap, OpenIDConnectProviderArn=arn)
            audiences = None if found is None else tuple(found.get("ClientIDList", ()))
            self._account.providers.append(
                Provider(arn=arn, source=Source(file="", text="", address=arn), audiences=audiences)
            )
            self._progress.advance()

    def _list(self, operation: str, key: str, gap: str, **parameters: Any) -> tuple[list[dict[str, Any]], bool]:  # noqa: ANN401 - as boto3 takes them
        """Return all items of a listing, and whether nothing is missing."""
        self._progress.begin(f"roles ({operation})")
        found: list[dict[str, Any]] = []
        page: dict[str, Any] = {}
        while True:
            answer = self._call(operation, gap, MaxItems=_PAGE_SIZE, **parameters, **page)
            if answer is None:
                return found, False
            found += answer[key]
            self._progress.advance(len(answer[key]))
            if not answer.get("IsTruncated"):
                return found, True
            page = {"Marker": answer["Marker"]}

    def _call(self, operation: str, gap: str, **parameters: Any) -> dict[str, Any] | None:  # noqa: ANN401 - as boto3 takes them
        """Return an answer, or None and a sentence in the account's list where AWS refuses the call."""
        try:
            answer: dict[str, Any] = self._retrying(getattr(self._iam, operation), **parameters)
        except ClientError as error:
            refusal = read_refusal(error)
            code, caller = refusal.code, refusal.caller
            if code in _BAD_CREDENTIALS:
                fault = (
                    f"AWS refuses the credentials ({code}). Log in again, or name a profile (--profile, AWS_PROFILE)."
                )
                raise ConfigurationError((fault,)) from None
            name = self._iam.meta.method_to_api_mapping[operation]
            if _is_temporary(error):
                remedy = f"after {_PATIENCE_SECONDS} s of attempts; try again later"
            else:
                remedy = f"{f'to {caller}; ' if caller else ''}allow it with {_POLICY_FILE}"
            sentence = f"iam:{name} was refused ({code}) {remedy}; {gap}"
            if sentence not in self._account.unjudged:
                self._account.unjudged.append(sentence)
            return None
        return answer

    def _report_wait(self, state: RetryCallState) -> None:
        seconds = state.next_action.sleep if state.next_action else 0
        self._progress.report(f"IAM throttles the calls; attempt {state.attempt_number + 1} in {seconds:.0f} s")


def _is_temporary(error: BaseException) -> bool:
    if not isinstance(error, ClientError):
        return False
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return error.response.get("Error", {}).get("Code") in _THROTTLED or status >= _SERVER_ERROR


def _make_source(role: Mapping[str, Any]) -> Source:
    text = as_policy_text(role.get("AssumeRolePolicyDocument", ""))
    return Source(file="", text=text, address=role["Arn"])


def _read_boundary(role: Mapping[str, Any]) -> str:
    boundary: str = role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn", "")
    return boundary
