"""The simulated AWS account: moto's server, and direct access to the IAM objects in it.

IAM objects are read from moto's memory each time, so that a change by any client takes effect at once. moto has one
state for each process, which contains all accounts. moto verifies no tokens or policies; `sandbox.aws.sts` does.
"""

from __future__ import annotations

import http.client
import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from moto.iam.models import get_account_id_from, iam_backends
from moto.moto_server.threaded_moto_server import ThreadedMotoServer
from moto.sts.models import sts_backends
from moto.utilities.utils import PARTITION_NAMES

from sandbox.aws.permissions import Permissions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sandbox.aws.exchange_request import ExchangeRequest

DEFAULT_ACCOUNT_ID = "123456789012"
_DEFAULT_MAX_SESSION_SECONDS = 3600
_EMPTY_POLICY = '{"Statement": []}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """The properties of an IAM role that STS uses. `trust_policy` is the stored JSON text."""

    arn: str
    role_id: str
    trust_policy: str
    max_session: timedelta
    permissions: Permissions
    tags: Mapping[str, str]

    @property
    def account_id(self) -> str:
        """The account of the role."""
        return self.arn.split(":")[4]


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """The properties of an IAM user that STS uses."""

    arn: str
    permissions: Permissions
    tags: Mapping[str, str]


class MotoAccount:
    """moto's server on loopback, from construction until `stop()`. Port 0 means any free port."""

    def __init__(self, *, port: int = 0) -> None:
        logging.getLogger("werkzeug").setLevel(logging.WARNING)  # otherwise each request is logged on stderr
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
        self._server.start()
        self.host, self.port = self._server.get_host_and_port()

    @property
    def url(self) -> str:
        """The base URL for every AWS service that moto serves."""
        return f"http://{self.host}:{self.port}"

    def stop(self) -> None:
        """Stop the server. The account's objects stay until the process ends."""
        self._server.stop()

    def provider_audiences(self, issuer: str, *, account_id: str, partition: str) -> tuple[str, ...] | None:
        """Return the client ids of the OIDC provider for `issuer`, or None if the account has no such provider."""
        provider = _iam(account_id, partition).open_id_providers.get(provider_arn(issuer, account_id, partition))
        return tuple(provider.client_id_list) if provider else None

    def role(self, arn: str) -> Role | None:
        """Return the role with this ARN, or None."""
        _, partition, _, _, account_id, _ = arn.split(":", 5)
        roles = list(_iam(account_id, partition).get_roles())  # a copy, because another thread may create a role
        found = next((one for one in roles if one.arn == arn), None)
        if found is None:
            return None
        return Role(
            arn=arn,
            role_id=found.id,
            trust_policy=str(found.assume_role_policy_document),
            max_session=timedelta(seconds=int(found.max_session_duration or _DEFAULT_MAX_SESSION_SECONDS)),
            permissions=Permissions(identity=_read_policies(found), boundary=self._read_boundary(found)),
            tags=_read_tags(found.tags),
        )

    def managed_policy(self, arn: str, account_id: str) -> str:
        """Return the text of a managed policy in `account_id`. A policy that does not exist allows nothing."""
        policy = _iam(account_id, arn.split(":")[1]).managed_policies.get(arn)
        return _read_default_version(policy) if policy else _EMPTY_POLICY

    def _read_boundary(self, found: Any) -> tuple[str, ...] | None:  # noqa: ANN401 - moto's class has no types
        arn = found.permissions_boundary_arn
        return (self.managed_policy(arn, found.account_id),) if arn else None

    def forward(self, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """Send an STS request to moto. Return status and body of the response."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        try:
            connection.request("POST", "/", body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def issue_keys(self, request: ExchangeRequest) -> tuple[str, str, str]:
        """Return new credentials of moto: access key id, secret access key and session token.

        This calls moto's function instead of its server. That saves 2 ms, and the server would use the partition `aws`
        for an unsigned request for a role in China.
        """
        issued = sts_backends[request.account_id][request.partition].assume_role_with_web_identity(
            region_name=request.partition,  # moto accepts a partition's name in place of a Region
            role_session_name=request.session_name,
            role_arn=request.role_arn,
            policy=request.policy,
            duration=int(request.duration.total_seconds()),
            external_id=request.external_id,
        )
        return issued.access_key_id, issued.secret_access_key, issued.session_token


def provider_arn(issuer: str, account_id: str, partition: str = "aws") -> str:
    """Return the ARN of an issuer's OIDC provider."""
    return f"arn:{partition}:iam::{account_id}:oidc-provider/{issuer.removeprefix('https://')}"


def find_user(access_key_id: str) -> User | None:
    """Return the IAM user that owns a long-lived access key, or None."""
    account_id = get_account_id_from(access_key_id)
    for partition in PARTITION_NAMES:
        backend = _iam(account_id, partition)
        if found := backend.get_user_from_access_key_id(access_key_id):
            groups = backend.get_groups_for_user(found.name)
            policies = tuple(text for one in (found, *groups) for text in _read_policies(one))
            tags = backend.tagger.list_tags_for_resource(found.arn)["Tags"]
            return User(arn=str(found.arn), permissions=Permissions(identity=policies), tags=_read_tags(tags))
    return None


def act_in(account_id: str, partition: str = "aws") -> dict[str, str]:
    """Return keys that moto assigns to this account, as options for a boto3 client. STS does not know them."""
    key = _iam(account_id, partition).create_temp_access_key()
    return {"aws_access_key_id": key.access_key_id, "aws_secret_access_key": key.secret_access_key}


def _read_policies(found: Any) -> tuple[str, ...]:  # noqa: ANN401 - moto's roles, users and groups
    managed = [_read_default_version(policy) for policy in list(found.managed_policies.values())]
    return (*map(str, list(found.policies.values())), *managed)


def _read_default_version(policy: Any) -> str:  # noqa: ANN401 - moto's class has no types
    version = next(one for one in policy.versions if one.version_id == policy.default_version_id)
    return str(version.document)


def _read_tags(tags: Iterable[Mapping[str, str]]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in tags}


def _iam(account_id: str, partition: str) -> Any:  # noqa: ANN401 - moto's class has no types
    return iam_backends[account_id][partition]
