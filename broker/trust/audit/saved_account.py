"""Read an account from files: answers of IAM as the AWS CLI prints them, and Terraform plans and states.

Of IAM: `get-account-authorization-details`, `list-roles`, `list-open-id-connect-providers` and
`get-open-id-connect-provider`. Several files complete each other. Terraform knows only what it manages, so nothing is
reported as missing or unused on its word. This module does not judge policies.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from broker.trust import terraform_plan, terraform_resources
from broker.trust.audit.account import Account, Provider, Role
from broker.trust.sources import Source, UnreadableInputError, as_policy_text, read_input

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from broker.policy.document import Document, Node
    from broker.trust.terraform_resources import Resource

_ROLE_LISTS: Final = ("RoleDetailList", "Roles")
_EXPECTED: Final = (
    "neither the output of `aws iam get-account-authorization-details`, `list-roles`, `list-open-id-connect-providers` "
    "or `get-open-id-connect-provider`, nor a Terraform plan or state in JSON"
)


def read_files(paths: Iterable[str]) -> Account:
    """Return what these files have. The path `-` is standard input."""
    reader = _Reader()
    for path in dict.fromkeys(paths):
        try:
            name, _, document = read_input(path)
        except UnreadableInputError as error:
            reader.account.faults.append(str(error))
        else:
            reader.add(document, name)
    return reader.finish()


class _Reader:
    """Collects roles and providers by ARN."""

    def __init__(self) -> None:
        self.account = Account()
        self._roles: dict[str, Role] = {}
        self._providers: dict[str, Provider] = {}
        self._audiences: dict[str, tuple[str, ...]] = {}

    def add(self, document: Document, name: str) -> None:
        """Add a document, or a fault."""
        members = document.root.members
        account = self.account
        account.unjudged += [
            f"{name}, line {one.line}: the key {one.key} appears twice in one object" for one in document.duplicates
        ]
        if any(key in members for key in _ROLE_LISTS):
            self._add_role_lists(members, name)
        elif "OpenIDConnectProviderList" in members:
            account.has_all_providers = True
            for one in members["OpenIDConnectProviderList"].items:
                self._add_provider(_read(one, "Arn"), None, name, one.line)
        elif "Url" in members and "ClientIDList" in members:
            self._audiences[_strip(_read(document.root, "Url"))] = _read_strings(members["ClientIDList"])
        elif fault := terraform_resources.find_state_fault(document.root):
            account.faults.append(f"{name}: {fault}")
        elif terraform_resources.is_terraform(document.root):
            self._add_terraform(document.root, name)
        else:
            account.faults.append(f"{name}: {_EXPECTED}")

    def finish(self) -> Account:
        """Return the account."""
        account = self.account
        account.roles = list(self._roles.values())
        account.providers = [
            replace(one, audiences=self._audiences.get(one.issuer, one.audiences)) for one in self._providers.values()
        ]
        if account.roles and not account.has_all_providers:
            account.notes.append(
                "the inputs have no list of all OIDC providers (aws iam list-open-id-connect-providers), so missing "
                "and unused ones are not reported"
            )
        return account

    def _add_role_lists(self, members: Mapping[str, Node], name: str) -> None:
        self.account.has_all_roles = True
        if "IsTruncated" in members and members["IsTruncated"].value is True:
            self.account.has_all_roles = False
            self.account.unjudged.append(f"{name}: the answer is incomplete (IsTruncated); read all pages")
        for one in (item for key in _ROLE_LISTS if key in members for item in members[key].items):
            arn, policy = _read(one, "Arn"), one.members.get("AssumeRolePolicyDocument")
            text = "" if policy is None else as_policy_text(policy.value)
            source = Source(file=name, text=text, address=arn, line=one.line)
            boundary = (
                _read_boundary(one) if "RoleDetailList" in members or "PermissionsBoundary" in one.members else None
            )
            seconds = one.members["MaxSessionDuration"].value if "MaxSessionDuration" in one.members else None
            self._add_role(Role(arn=arn, source=source, boundary=boundary, maximum_seconds=seconds))

    def _add_role(self, role: Role) -> None:
        """Add a role, or what an earlier file lacks of it."""
        before = self._roles.get(role.arn, role)
        self._roles[role.arn] = replace(
            before,
            source=before.source if before.source.text else role.source,
            boundary=role.boundary if before.boundary is None else before.boundary,
            maximum_seconds=before.maximum_seconds or role.maximum_seconds,
        )

    def _add_provider(self, arn: str, audiences: tuple[str, ...] | None, name: str, line: int) -> None:
        source = Source(file=name, text="", address=arn, line=line)
        before = self._providers.get(arn)
        if before is None or before.audiences is None:
            self._providers[arn] = Provider(arn=arn, source=source, audiences=audiences)

    def _add_terraform(self, root: Node, name: str) -> None:
        plan = terraform_plan.read_plan(root)
        self.account.unjudged += [f"{name}: {sentence}" for sentence in plan.unknown]
        self.account.unjudged += [
            f"{name}: the plan knows {one.address} in parts only; trust lint checks these parts"
            for one in plan.policies
            if one.is_partial
        ]
        policies = {one.address: one for one in plan.policies if not one.is_partial}
        resources: dict[tuple[str, str], Resource] = {}
        for one in terraform_resources.list_resources(root):  # a plan has a resource twice; the first has its values
            resources.setdefault((one.type, one.address), one)
        for (kind, address), one in resources.items():
            if kind == "aws_iam_role" and address in policies:
                policy = policies[address]
                self._add_role(_read_terraform_role(one, policy, name))
            elif kind == "aws_iam_openid_connect_provider" and one.read("arn"):  # no policy names one without an ARN
                audiences = one.values.get("client_id_list")
                listed = _read_strings(audiences) if audiences else None
                self._add_provider(one.read("arn"), listed, name, one.values["arn"].line)


def _read_terraform_role(resource: Resource, policy: terraform_plan.PlannedPolicy, name: str) -> Role:
    """Return a role. Where the plan does not know its ARN yet, its account and name make one."""
    own_name = f"{resource.read('path') or '/'}{resource.read('name') or resource.address}"
    arn = resource.read("arn") or f"arn:aws:iam::{policy.account}:role{own_name}"
    seconds = resource.values.get("max_session_duration")
    is_unknown = bool(resource.unknown.get("permissions_boundary"))
    return Role(
        arn=arn,
        source=Source(file=name, text=policy.text, address=policy.address, line=policy.line, account=policy.account),
        maximum_seconds=seconds.value if seconds and isinstance(seconds.value, int) else None,
        boundary=None if is_unknown else resource.read("permissions_boundary"),
    )


def _read_boundary(role: Node) -> str:
    boundary = role.members.get("PermissionsBoundary")
    return _read(boundary, "PermissionsBoundaryArn") if boundary is not None else ""


def _read(node: Node, key: str) -> str:
    member = node.members.get(key)
    return member.value if member and isinstance(member.value, str) else ""


def _read_strings(node: Node) -> tuple[str, ...]:
    return tuple(one.value for one in node.items if isinstance(one.value, str))


def _strip(url: str) -> str:
    return url.removeprefix("https://")
