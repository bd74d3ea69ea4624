"""The parts of an AWS account that an audit looks at: its roles and its OIDC providers. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from broker.core.role_arns import read_account
from broker.trust.linter.statement import find_issuer

if TYPE_CHECKING:
    from broker.trust.sources import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A role. `source` has its trust policy as JSON text.

    `maximum_seconds` is its maximum session duration, None where it is unknown. `boundary` is the ARN of its
    permissions boundary, "" for none, and None where it is unknown.
    """

    arn: str
    source: Source
    maximum_seconds: int | None = None
    boundary: str | None = None

    @property
    def name(self) -> str:
        """The name, without the path."""
        return self.arn.rpartition("/")[2]

    @property
    def account(self) -> str:
        """The 12 digits of the account, or "" where the ARN has none."""
        return read_account(self.arn)

    @property
    def partition(self) -> str:
        """The partition, such as aws."""
        return self.arn.split(":")[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """An OIDC provider in IAM. `audiences` are its client IDs, None where they are unknown."""

    arn: str
    source: Source
    audiences: tuple[str, ...] | None = None

    @property
    def issuer(self) -> str:
        """The issuer, without https://."""
        return find_issuer(self.arn) or ""


@dataclass(slots=True, kw_only=True)
class Account:
    """What was read of an account.

    `has_all_roles` and `has_all_providers` are true where nothing is missing from the lists, so that an absent one does
    not exist. `faults` has the inputs that cannot be read, `unjudged` what could not be read or judged, and `notes`
    what is left out by design, in sentences.
    """

    roles: list[Role] = field(default_factory=list)
    providers: list[Provider] = field(default_factory=list)
    has_all_roles: bool = False
    has_all_providers: bool = False
    faults: list[str] = field(default_factory=list)
    unjudged: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
