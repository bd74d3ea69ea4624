"""Read a role from IAM with boto3, for `sts-broker doctor --policy iam`.

boto3 resolves profiles, endpoints, proxies and CA bundles as it does for any AWS tool. Two credential sources are
excluded: the metadata services of machines and containers, which time out slowly where they are absent, and the
exchange of the pod's own token, which the doctor makes itself. Every error leaves this module as an OSError with a
sentence. Of answers, only error codes and ARNs are quoted, because a server may echo the signed request. This module
does not judge policies.
"""

from __future__ import annotations

import re
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from broker.trust.sources import as_policy_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.core.model import StsSpec, TemporaryCredentials

_TIMEOUT_SECONDS: Final = 4
"""For the connection and for each read of the answer."""
_EXCLUDED_PROVIDERS: Final = ("assume-role-with-web-identity", "container-role", "iam-role")
_CODE: Final = re.compile(r"[A-Za-z0-9.]{1,64}")
_ARN: Final = re.compile(r"arn:[a-z-]{1,20}:(?:iam|sts)::\d{12}:[\w+=,.@/-]{1,700}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An error that AWS answered: its code, and the ARN of the caller where the message has one."""

    code: str
    caller: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleAnswer:
    """What IAM answered to GetRole: the role's ARN and the JSON text of its trust policy, or a refusal."""

    arn: str = ""
    trust_policy: str = ""
    refusal: Refusal | None = None


class AwsReader:
    """Calls IAM and STS with one session's credentials, once each, in bounded time.

    A call raises OSError where the service cannot be reached, or what answers is not AWS.
    """

    def __init__(self, session: boto3.Session, spec: StsSpec) -> None:
        self._session = session
        self._spec = spec

    def get_role(self, role_arn: str, region: str) -> RoleAnswer:
        """Return the role of this name in the account of the credentials."""
        try:
            with self._open_client("iam", region) as client:
                role = client.get_role(RoleName=role_arn.rpartition("/")[2])["Role"]
                policy = role["AssumeRolePolicyDocument"]  # boto3 decodes it, unless it is not JSON
                if not _ARN.fullmatch(role["Arn"]) or policy == "":
                    raise ValueError
        except ClientError as error:
            return RoleAnswer(refusal=read_refusal(error))
        return RoleAnswer(arn=role["Arn"], trust_policy=as_policy_text(policy))

    def get_account(self, region: str) -> str:
        """Return the account of the credentials, or "" where STS refuses them."""
        try:
            with self._open_client("sts", region, endpoint_url=self._spec.endpoint_url or None) as client:
                return str(client.get_caller_identity()["Account"])
        except ClientError:
            return ""

    @contextmanager
    def _open_client(self, service: str, region: str, endpoint_url: str | None = None) -> Iterator[Any]:
        """Yield a client. Raises ClientError for an error that AWS answered, and OSError for everything else."""
        address = service.upper()
        try:
            client = self._session.client(
                service,
                region_name=region,
                endpoint_url=endpoint_url,
                verify=self._spec.ca_bundle or None,
                config=Config(
                    connect_timeout=_TIMEOUT_SECONDS,
                    read_timeout=_TIMEOUT_SECONDS,
                    retries={"mode": "standard", "total_max_attempts": 1},
                    use_fips_endpoint=self._spec.use_fips or None,
                    use_dualstack_endpoint=self._spec.use_dualstack or None,
                    user_agent_extra="sts-federation-broker",
                ),
            )
            address = client.meta.endpoint_url
            with closing(client):
                yield client
        except BotoCoreError as error:
            reason = f"calling {address} failed ({type(error).__name__}); the network may allow STS only"
            raise ConnectionError(reason) from None
        except Exception as error:
            if isinstance(error, ClientError) and error.response.get("Error", {}).get("Code"):
                raise
            raise ConnectionError(f"the server at {address} isn't {service.upper()}") from None


def open_as_shell(spec: StsSpec) -> AwsReader | None:
    """Return a reader with this shell's credentials, or None where it has none.

    Raises OSError where reading them fails. It names only the type of boto3's error, whose text may contain the output
    of a credential_process.
    """
    try:
        core = botocore.session.Session()
        providers = core.get_component("credential_provider")
        for name in _EXCLUDED_PROVIDERS:
            providers.remove(name)
        session = boto3.Session(botocore_session=core)
        credentials = session.get_credentials()
        if credentials is None:
            return None
        credentials.get_frozen_credentials()
    except Exception as error:  # noqa: BLE001 - providers run code of others, which may raise anything
        raise ConnectionError(f"reading this shell's credentials failed ({type(error).__name__})") from None
    return AwsReader(session, spec)


def open_as_role(credentials: TemporaryCredentials, spec: StsSpec) -> AwsReader:
    """Return a reader with these credentials, whatever profile the shell selects."""
    core = botocore.session.Session(session_vars={"profile": (None, None, None, None)})
    session = boto3.Session(
        botocore_session=core,
        aws_access_key_id=credentials.access_key_id,
        aws_secret_access_key=credentials.secret_access_key.reveal(),
        aws_session_token=credentials.session_token.reveal(),
    )
    return AwsReader(session, spec)


def read_refusal(error: ClientError) -> Refusal:
    """Return what may be quoted of an error that AWS answered."""
    details = error.response.get("Error", {})
    code, caller = str(details.get("Code", "")), _ARN.search(str(details.get("Message") or ""))
    return Refusal(code=code if _CODE.fullmatch(code) else "an invalid error code", caller=caller[0] if caller else "")
