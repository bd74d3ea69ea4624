"""An issued session: its temporary credentials, role, tags and policies."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from sandbox.aws.session_tags import SessionTags


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Issued temporary credentials and their identity.

    `policies` are its session policies, or None. `provider` is the ARN of the OIDC provider of its token, or "".
    """

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expires_at: datetime
    role_arn: str
    role_id: str
    session_name: str
    tags: SessionTags
    source_identity: str | None = None
    policies: tuple[str, ...] | None = None
    provider: str = ""

    @property
    def account_id(self) -> str:
        """The account of the role."""
        return self.role_arn.split(":")[4]

    @property
    def arn(self) -> str:
        """The assumed-role ARN with the session name. It does not contain the role's path."""
        partition = self.role_arn.split(":")[1]
        role_name = self.role_arn.rpartition("/")[2]
        return f"arn:{partition}:sts::{self.account_id}:assumed-role/{role_name}/{self.session_name}"

    @property
    def user_id(self) -> str:
        """The unique id: `<role id>:<session name>`."""
        return f"{self.role_id}:{self.session_name}"
