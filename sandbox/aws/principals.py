"""The caller of AssumeRole: a role's session or an IAM user, with everything that policies can refer to."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from broker.policy.trust_policy import Caller
from sandbox.aws.session_tags import SessionTags

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox.aws.permissions import Permissions


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A caller. `arn` is that of the session or user; `entity_arn` is that of the role or user.

    `entity_tags` are the role's or user's own tags. `session_tags` and `source_identity` belong to the session.
    """

    arn: str
    entity_arn: str
    permissions: Permissions
    entity_tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    session_tags: SessionTags = field(default_factory=SessionTags)
    source_identity: str | None = None

    @property
    def is_session(self) -> bool:
        """Whether the caller is a role's session, so that this call chains roles."""
        return self.arn != self.entity_arn

    @property
    def partition(self) -> str:
        """The partition: aws, aws-cn, …."""
        return self.arn.split(":")[1]

    @property
    def account_id(self) -> str:
        """The account of the role or user."""
        return self.arn.split(":")[4]

    @property
    def tags(self) -> dict[str, str]:
        """The principal tags. Session tags override those of the role; keys are compared without case."""
        overridden = {key.lower() for key in self.session_tags.pairs}
        own = {key: value for key, value in self.entity_tags.items() if key.lower() not in overridden}
        return {**own, **self.session_tags.pairs}

    def with_every_name(self) -> Caller:
        """Return the caller with every name by which a trust policy can refer to it."""
        root = f"arn:{self.partition}:iam::{self.account_id}:root"
        return Caller(kind="AWS", names=(self.arn, self.entity_arn, root, self.account_id, "*"))

    def with_session_arn(self) -> Caller:
        """Return the caller with only its own ARN."""
        return Caller(kind="AWS", names=(self.arn,))

    def without_account(self) -> Caller:
        """Return the caller with its own names and the wildcard, but without the names of its account."""
        return Caller(kind="AWS", names=(self.arn, self.entity_arn, "*"))
