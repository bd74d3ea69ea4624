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

if TYPE_CHECKING:
    from sandbox.exchange_request import ExchangeRequest

DEFAULT_ACCOUNT_ID = "123456789012"
_DEFAULT_MAX_SESSION_SECONDS = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """An IAM role as far as STS looks at it; `trust_policy` is the stored JSON text."""

    arn: str
    role_id: str
    trust_policy: str
    max_session: timedelta


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
        found = next((one for one in _iam(account_id, partition).get_roles() if one.arn == arn), None)
        if found is None:
            return None
        seconds = int(found.max_session_duration or _DEFAULT_MAX_SESSION_SECONDS)
        document = str(found.assume_role_policy_document)
        return Role(arn=arn, role_id=found.id, trust_policy=document, max_session=timedelta(seconds=seconds))

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


def user_of(access_key_id: str) -> str | None:
    """Give the ARN of the IAM user whom a long-lived access key belongs to."""
    user = _iam(get_account_id_from(access_key_id), "aws").get_user_from_access_key_id(access_key_id)
    return str(user.arn) if user else None


def _iam(account_id: str, partition: str) -> Any:  # noqa: ANN401 - moto's own class, which has no types
    return iam_backends[account_id][partition]
