"""Combines account, issuer and STS: everything that a broker needs, on loopback, in one context manager.

From the start, there is a role whose trust policy works. `stop` stops all servers in reverse order. This module does
not know the broker: it provides an environment and a token volume.
"""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

import boto3
import botocore.config
import botocore.exceptions

from sandbox.aws.account import DEFAULT_ACCOUNT_ID, MotoAccount, act_in, provider_arn
from sandbox.aws.sts import StsServer
from sandbox.cluster.issuer import DEFAULT_ISSUER, Issuer
from sandbox.cluster.kubelet import ProjectedToken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

DEFAULT_AUDIENCE = "sts.amazonaws.com"
DEFAULT_SUBJECT = "system:serviceaccount:demo:app"
CHAINING = ("sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity")
_IDP_TIMEOUT = timedelta(seconds=5)


class Sandbox:
    """A simulated AWS account and a cluster's issuer, from construction until `stop()`. A context manager.

    `session_lifetime` shortens every session that STS issues. `now` is the clock of issuer, STS and kubelet. Port 0
    means any free port. All instances in one process share moto's account: a role that is created twice is replaced.
    """

    region = "eu-west-1"
    account_id = DEFAULT_ACCOUNT_ID

    def __init__(  # noqa: PLR0913 - the options of a simulator, all by keyword
        self,
        *,
        issuer: str = DEFAULT_ISSUER,
        session_lifetime: timedelta | None = None,
        idp_timeout: timedelta = _IDP_TIMEOUT,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        moto_port: int = 0,
        issuer_port: int = 0,
        sts_port: int = 0,
    ) -> None:
        self._now = now
        self.addresses: dict[str, str] = {}  # the loopback URL of each issuer's documents, in place of DNS
        self._session = boto3.session.Session()  # one for all clients, because loading service models is slow
        with contextlib.ExitStack() as started:
            self.account = MotoAccount(port=moto_port)
            started.callback(self.account.stop)
            self.issuer = started.enter_context(Issuer(issuer=issuer, port=issuer_port, now=now))
            self.sts = started.enter_context(
                StsServer(
                    account=self.account,
                    addresses=self.addresses,
                    port=sts_port,
                    session_lifetime=session_lifetime,
                    idp_timeout=idp_timeout,
                    now=now,
                )
            )
            self.iam: Any = self.boto3_client("iam")
            started.callback(self.iam.close)
            self.provider_arn = self.register_provider(self.issuer)
            self.role_arn = self.create_role("app")
            self._started = started.pop_all()

    def __enter__(self) -> Self:
        """Return the simulator, which already runs."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop everything."""
        self.stop()

    def stop(self) -> None:
        """Stop every server. A second call does nothing."""
        self._started.close()

    @property
    def moto_url(self) -> str:
        """The endpoint of every AWS service except STS. It does not check credentials."""
        return self.account.url

    def boto3_client(self, service: str, **options: Any) -> Any:  # noqa: ANN401 - boto3's clients have no static type
        """Return a client of one of moto's services. `options` go to boto3. The caller closes it."""
        keys = {"aws_access_key_id": "sandbox", "aws_secret_access_key": "sandbox"}
        if "aws_access_key_id" in options:
            keys = {}
        config = botocore.config.Config(proxies={}, retries={"total_max_attempts": 1})
        return self._session.client(
            service,
            **{"region_name": self.region, "endpoint_url": self.moto_url, "config": config, **keys, **options},
        )

    def register_provider(self, issuer: Issuer, audiences: Sequence[str] = (DEFAULT_AUDIENCE,)) -> str:
        """Create the account's OIDC provider for an issuer, or replace it. Return its ARN."""
        self.addresses[issuer.issuer] = issuer.url
        arn = provider_arn(issuer.issuer, self.account_id)
        with contextlib.suppress(self.iam.exceptions.NoSuchEntityException):
            self.iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)
        created = self.iam.create_open_id_connect_provider(Url=issuer.issuer, ClientIDList=list(audiences))
        return str(created["OpenIDConnectProviderArn"])

    def create_role(  # noqa: PLR0913 - the properties of a role, all by keyword
        self,
        name: str,
        *,
        subjects: Sequence[str] = (DEFAULT_SUBJECT,),
        audience: str = DEFAULT_AUDIENCE,
        trust_policy: dict[str, Any] | None = None,
        max_session: timedelta = timedelta(hours=1),
        may_assume: Sequence[str] = (),
        account_id: str = DEFAULT_ACCOUNT_ID,
        partition: str = "aws",
    ) -> str:
        """Create a role that trusts these subjects, or one with this `trust_policy`. Return its ARN.

        `may_assume` has ARNs of roles that the new role may assume. Wildcards are allowed. A role of another account or
        partition needs a `trust_policy`, because the issuer has no provider there.
        """
        policy = trust_policy or self.trust_policy(subjects=subjects, audience=audience)
        with self.iam_client(account_id, partition) as iam:
            with contextlib.suppress(iam.exceptions.NoSuchEntityException):
                _delete_role(iam, name)
            created = iam.create_role(
                RoleName=name,
                AssumeRolePolicyDocument=json.dumps(policy),
                MaxSessionDuration=int(max_session.total_seconds()),
            )
        arn = str(created["Role"]["Arn"])
        if may_assume:
            self.permit_chaining(arn, may_assume)
        return arn

    def permit_chaining(self, role_arn: str, may_assume: Sequence[str], actions: Sequence[str] = CHAINING) -> None:
        """Allow a role these actions on the roles in `may_assume`. This replaces an earlier permission."""
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": list(may_assume)}
        _, partition, _, _, account_id, resource = role_arn.split(":", 5)
        with self.iam_client(account_id, partition) as iam:
            iam.put_role_policy(
                RoleName=resource.rpartition("/")[2],
                PolicyName="chaining",
                PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
            )

    @contextlib.contextmanager
    def iam_client(self, account_id: str, partition: str = "aws") -> Iterator[Any]:
        """Yield a client of any account's IAM. A client of another account is closed at the end."""
        if (account_id, partition) == (self.account_id, "aws"):
            yield self.iam
            return
        region = {"aws": self.region, "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}[partition]
        with contextlib.closing(self.boto3_client("iam", region_name=region, **act_in(account_id, partition))) as iam:
            yield iam

    @staticmethod
    def chain_trust(
        *principals: str, actions: Sequence[str] = CHAINING, condition: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return a trust policy that allows these ARNs or account ids these actions under this condition."""
        statement = {
            "Sid": "TrustChain",
            "Effect": "Allow",
            "Principal": {"AWS": list(principals)},
            "Action": list(actions),
            "Condition": condition or {},
        }
        return {"Version": "2012-10-17", "Statement": [statement]}

    def trust_policy(
        self, *, subjects: Sequence[str] = (DEFAULT_SUBJECT,), audience: str = DEFAULT_AUDIENCE
    ) -> dict[str, Any]:
        """Return a trust policy for subjects of this simulator's issuer, with conditions on audience and subject."""
        prefix = self.issuer.issuer.removeprefix("https://")
        return {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Sid": "TrustServiceAccounts",
                    "Effect": "Allow",
                    "Principal": {"Federated": self.provider_arn},
                    "Action": "sts:AssumeRoleWithWebIdentity",
                    "Condition": {"StringEquals": {f"{prefix}:aud": audience, f"{prefix}:sub": list(subjects)}},
                }
            ],
        }

    def projected_token(  # noqa: PLR0913 - the properties of a projected volume
        self,
        directory: Path,
        *,
        lifetime: timedelta = timedelta(hours=1),
        namespace: str = "demo",
        service_account: str = "app",
        pod: str = "app-7d9c5b6f8-x2x7k",
        audience: str = DEFAULT_AUDIENCE,
        **options: Any,  # noqa: ANN401 - the options of ProjectedToken
    ) -> ProjectedToken:
        """Project a bound token into `directory`. `options` go to ProjectedToken. It rotates only after `start()`."""
        default_audience = audience

        def mint(lifetime: timedelta, *, audience: str | None = None, not_before: datetime | None = None) -> str:
            return self.issuer.mint(
                namespace=namespace,
                service_account=service_account,
                audience=audience or default_audience,
                lifetime=lifetime,
                pod=pod,
                not_before=not_before,
            )

        return ProjectedToken(directory, mint=mint, lifetime=lifetime, **{"now": self._now, **options})

    def environment(self, token: ProjectedToken, role_arn: str | None = None) -> dict[str, str]:
        """Return the variables of the EKS webhook (without AWS_DEFAULT_REGION), and the endpoint of this STS."""
        return {
            "AWS_ROLE_ARN": role_arn or self.role_arn,
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(token.path),
            "AWS_REGION": self.region,
            "AWS_ENDPOINT_URL_STS": self.sts.url,
        }


def _delete_role(iam: Any, name: str) -> None:  # noqa: ANN401 - boto3's clients have no static type
    """Delete a role, and first the policies that prevent its deletion."""
    for policy_name in iam.list_role_policies(RoleName=name)["PolicyNames"]:
        iam.delete_role_policy(RoleName=name, PolicyName=policy_name)
    for policy in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
        iam.detach_role_policy(RoleName=name, PolicyArn=policy["PolicyArn"])
    iam.delete_role(RoleName=name)
