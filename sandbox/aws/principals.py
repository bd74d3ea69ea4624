"""Who calls AssumeRole: a session of a role or an IAM user, with all that policies can ask about it.

It refuses to know how the caller was recognised.
"""

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
    """`arn` is the session's or the user's, `entity_arn` the role's or again the user's.

    `entity_tags` are the role's or user's own; `session_tags` and `source_identity` those of the session.
    """

    arn: str
    entity_arn: str
    permissions: Permissions
    entity_tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    session_tags: SessionTags = field(default_factory=SessionTags)
    source_identity: str | None = None

    @property
    def is_session(self) -> bool:
        """Whether a role's session calls, so that this is a chain."""
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
        """The principal tags: a session's override its role's, whatever the case of their keys."""
        overridden = {key.lower() for key in self.session_tags.pairs}
        own = {key: value for key, value in self.entity_tags.items() if key.lower() not in overridden}
        return {**own, **self.session_tags.pairs}

    def by_every_name(self) -> Caller:
        """Describe the caller to a trust policy with all names that mean it."""
        root = f"arn:{self.partition}:iam::{self.account_id}:root"
        return Caller(kind="AWS", names=(self.arn, self.entity_arn, root, self.account_id, "*"))

    def by_own_arn(self) -> Caller:
        """Describe the caller by its own ARN only."""
        return Caller(kind="AWS", names=(self.arn,))

    def by_own_names(self) -> Caller:
        """Describe the caller by what means itself, or everybody, but not by its account."""
        return Caller(kind="AWS", names=(self.arn, self.entity_arn, "*"))
