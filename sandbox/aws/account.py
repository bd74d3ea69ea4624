"""The AWS account in the box: moto's real server, and a direct view of the IAM objects that it holds.

Rules: IAM is read from moto's memory at every look, so a change through any client counts at once; moto's state is one
per process, so all accounts of a process live in it.
It refuses to know tokens and faults. moto checks nothing by itself: `sandbox.sts` does.
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
_NOTHING = '{"Statement": []}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """An IAM role as far as STS looks at it; `trust_policy` is the stored JSON text."""

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
    """An IAM user, likewise."""

    arn: str
    permissions: Permissions
    tags: Mapping[str, str]


class MotoAccount:
    """moto's server on loopback, from construction until `stop()`; `port` 0 means any free one."""

    def __init__(self, *, port: int = 0) -> None:
        logging.getLogger("werkzeug").setLevel(logging.WARNING)  # or it logs each request on stderr
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
        self._server.start()
        self.host, self.port = self._server.get_host_and_port()

    @property
    def url(self) -> str:
        """The base URL for every AWS service that moto serves."""
        return f"http://{self.host}:{self.port}"

    def stop(self) -> None:
        """Stop the server; the account's content stays until the process ends."""
        self._server.stop()

    def provider_audiences(self, issuer: str, *, account_id: str, partition: str) -> tuple[str, ...] | None:
        """Give the client ids of the OIDC provider for `issuer`; None: the account has no such provider."""
        provider = _iam(account_id, partition).open_id_providers.get(provider_arn(issuer, account_id, partition))
        return tuple(provider.client_id_list) if provider else None

    def role(self, arn: str) -> Role | None:
        """Look a role up by its ARN."""
        _, partition, _, _, account_id, _ = arn.split(":", 5)
        roles = list(_iam(account_id, partition).get_roles())  # a copy: another thread may create one meanwhile
        found = next((one for one in roles if one.arn == arn), None)
        if found is None:
            return None
        return Role(
            arn=arn,
            role_id=found.id,
            trust_policy=str(found.assume_role_policy_document),
            max_session=timedelta(seconds=int(found.max_session_duration or _DEFAULT_MAX_SESSION_SECONDS)),
            permissions=Permissions(identity=_policies_of(found), boundary=self._boundary(found)),
            tags=_pairs(found.tags),
        )

    def managed_policy(self, arn: str, account_id: str) -> str:
        """Give the text of a managed policy as `account_id` sees it; one that does not exist permits nothing."""
        policy = _iam(account_id, arn.split(":")[1]).managed_policies.get(arn)
        return _default_version(policy) if policy else _NOTHING

    def _boundary(self, found: Any) -> tuple[str, ...] | None:  # noqa: ANN401 - moto's own class, which has no types
        arn = found.permissions_boundary_arn
        return (self.managed_policy(arn, found.account_id),) if arn else None

    def forward(self, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """Let moto answer an STS request; returns status and body."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        try:
            connection.request("POST", "/", body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def issue_keys(self, request: ExchangeRequest) -> tuple[str, str, str]:
        """Let moto issue credentials; returns access key id, secret access key and session token.

        moto's own function is called rather than its server: that saves 2 ms, and the server would put an unsigned
        request for a role in China into the partition `aws`.
        """
        issued = sts_backends[request.account_id][request.partition].assume_role_with_web_identity(
            region_name=request.partition,  # moto takes a partition's name for one of its Regions
            role_session_name=request.session_name,
            role_arn=request.role_arn,
            policy=request.policy,
            duration=int(request.duration.total_seconds()),
            external_id=request.external_id,
        )
        return issued.access_key_id, issued.secret_access_key, issued.session_token


def provider_arn(issuer: str, account_id: str, partition: str = "aws") -> str:
    """Name the OIDC provider of an issuer."""
    return f"arn:{partition}:iam::{account_id}:oidc-provider/{issuer.removeprefix('https://')}"


def user_of(access_key_id: str) -> User | None:
    """Give the IAM user whom a long-lived access key belongs to."""
    account_id = get_account_id_from(access_key_id)
    for partition in PARTITION_NAMES:
        backend = _iam(account_id, partition)
        if found := backend.get_user_from_access_key_id(access_key_id):
            groups = backend.get_groups_for_user(found.name)
            policies = tuple(text for one in (found, *groups) for text in _policies_of(one))
            tags = backend.tagger.list_tags_for_resource(found.arn)["Tags"]
            return User(arn=str(found.arn), permissions=Permissions(identity=policies), tags=_pairs(tags))
    return None


def act_in(account_id: str, partition: str = "aws") -> dict[str, str]:
    """Make keys that moto takes for this account's, as options for a boto3 client. STS does not know them."""
    key = _iam(account_id, partition).create_temp_access_key()
    return {"aws_access_key_id": key.access_key_id, "aws_secret_access_key": key.secret_access_key}


def _policies_of(found: Any) -> tuple[str, ...]:  # noqa: ANN401 - moto's roles, users and groups alike
    managed = [_default_version(policy) for policy in list(found.managed_policies.values())]
    return (*map(str, list(found.policies.values())), *managed)


def _default_version(policy: Any) -> str:  # noqa: ANN401 - moto's own class
    version = next(one for one in policy.versions if one.version_id == policy.default_version_id)
    return str(version.document)


def _pairs(tags: Iterable[Mapping[str, str]]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in tags}


def _iam(account_id: str, partition: str) -> Any:  # noqa: ANN401 - moto's own class, which has no types
    return iam_backends[account_id][partition]
