"""Finds trust policies where infra teams have them: JSON files, Terraform plans as JSON, standard input.

Rules: what cannot be read is a fault with the file's name, and all faults of all files are told at once; a policy in a
plan is known by its resource's address. It refuses to judge policies.
"""

from __future__ import annotations

import codecs
import os
import sys
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from broker.policy.document import Document, Node, PolicyMalformedError, read_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

STANDARD_INPUT = "-"
_MAXIMUM_BYTES = 64_000_000
_AFTERWARDS = ("planned_values", "resource_changes", "values")
"""Where a plan, or a state, tells what there will be, or is."""
_BEFORE = "prior_state"
_PLAN_KEYS = (*_AFTERWARDS, _BEFORE, "terraform_version")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One policy: `file` as it was named, `address` of the resource in a plan or "", `line` where its text begins.

    `account` is the role's, as far as the plan tells; "" otherwise.
    """

    file: str
    text: str
    address: str = ""
    line: int = 1
    account: str = ""

    @property
    def place(self) -> str:
        """What names it for a person."""
        return f"{self.file} ({self.address})" if self.address else self.file


@dataclass(slots=True, kw_only=True)
class Sources:
    """All that was found; `faults` are inputs that cannot be read, `notes` what there was nothing to look at in."""

    policies: list[Source] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_sources(paths: Iterable[str]) -> Sources:
    """Find the policies in these files; `-` is standard input."""
    found = Sources()
    for path in dict.fromkeys(paths):
        name = "standard input" if path == STANDARD_INPUT else path
        try:
            text = _read(path)
            document = read_json(text)
        except PolicyMalformedError as error:
            found.faults.append(f"{name}: {error}")
        except OSError as error:
            found.faults.append(f"{name}: {os.strerror(error.errno or 0)}")
        except ValueError as error:
            found.faults.append(f"{name}: {error}")
        else:
            _sort_out(document, text, name, found)
    return found


def _read(path: str) -> str:
    """Read a file or standard input. OSError, or ValueError with a sentence where it is no text, or endless."""
    if path == STANDARD_INPUT:
        content = sys.stdin.buffer.read(_MAXIMUM_BYTES + 1)
    else:
        with open(path, "rb") as file:  # noqa: PTH123 - one way to read in this package
            content = file.read(_MAXIMUM_BYTES + 1)
    if len(content) > _MAXIMUM_BYTES:
        raise ValueError(f"it has over {_MAXIMUM_BYTES:,} bytes")
    if not content.strip():
        raise ValueError("it is empty")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError("it is UTF-16: save it as UTF-8")
    if content.startswith(codecs.BOM_UTF8):
        raise ValueError("it begins with a byte order mark: save it as UTF-8 without one")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("it is no UTF-8 text") from None


def _sort_out(document: Document, text: str, name: str, found: Sources) -> None:
    root = document.root
    if "Statement" in root.members:
        found.policies.append(Source(file=name, text=text))
    elif "errored" in root.members and root.members["errored"].value is True:
        found.faults.append(f"{name}: the plan has failed, and does not tell everything")
    elif any(key in root.members for key in _PLAN_KEYS):
        policies = list(_of_plan(root, name))
        unknown = sorted(_unknown_addresses(root))
        found.policies += policies
        found.notes += [
            f"{name}: the trust policy of {address} is not known before it is applied" for address in unknown
        ]
        if not policies and not unknown:
            found.notes.append(f"{name}: there is no trust policy in it")
    else:
        told = "; of a role, take what --query Role.AssumeRolePolicyDocument prints" if "Role" in root.members else ""
        found.faults.append(
            f"{name}: neither a policy, which has a Statement, nor what `terraform show -json` prints{told}"
        )


def _of_plan(root: Node, name: str) -> Iterator[Source]:
    """Yield the trust policy of each role, then the documents that no role was made of."""
    resources = list(_resources(root))
    account = _account(resources)
    roles: dict[str, Source] = {}
    documents: dict[str, Source] = {}
    for resource in resources:
        address, kind, values = _told(resource, "address"), _told(resource, "type"), _values(resource)
        if kind == "aws_iam_role" and "assume_role_policy" in values:
            _keep(roles, values["assume_role_policy"], address, name)
        elif kind == "aws_iam_policy_document" and "json" in values and _is_trust(values["json"].value):
            _keep(documents, values["json"], address, name)
    texts = [_canonical(role.text) for role in roles.values()]
    apart = [document for document in documents.values() if _canonical(document.text) not in texts]
    yield from (replace(source, account=account) for source in (*roles.values(), *apart))


def _keep(found: dict[str, Source], policy: Node, address: str, name: str) -> None:
    """Remember a policy, once for each address: planned values and changes both tell it."""
    if isinstance(policy.value, str) and policy.value:
        found.setdefault(address, Source(file=name, text=policy.value, address=address, line=policy.line))


def _resources(root: Node) -> Iterator[Node]:
    """Yield the resources that there will be, in modules within modules; of what there is before, the data only."""
    for part in (*_AFTERWARDS, _BEFORE):
        for one in root.members[part].walk() if part in root.members else ():
            is_resource = "address" in one.members and "type" in one.members
            if is_resource and (part != _BEFORE or _text(one.members.get("mode")) == "data"):
                yield one


def _values(resource: Node) -> dict[str, Node]:
    """Return a resource's values: planned, known before, or after its change."""
    change = resource.members.get("change")
    holder = resource.members.get("values") or (change and change.members.get("after"))
    return dict(holder.members) if holder else {}


def _unknown_addresses(root: Node) -> set[str]:
    return {
        _told(resource, "address")
        for resource in _resources(root)
        if _told(resource, "type") == "aws_iam_role" and "change" in resource.members
        if _unknown(resource.members["change"].value)
    }


def _unknown(change: Any) -> bool:  # noqa: ANN401 - a JSON value
    unknown = change.get("after_unknown") if isinstance(change, dict) else None
    return isinstance(unknown, dict) and bool(unknown.get("assume_role_policy"))


def _account(resources: Iterable[Node]) -> str:
    """Return the account that the plan is for, where it knows one alone."""
    known = {
        _text(_values(resource).get("account_id"))
        for resource in resources
        if _told(resource, "type") == "aws_caller_identity"
    } - {""}
    return known.pop() if len(known) == 1 else ""


def _told(resource: Node, key: str) -> str:
    return _text(resource.members[key])


def _text(node: Node | None) -> str:
    return node.value if node and isinstance(node.value, str) else ""


def _is_trust(text: object) -> bool:
    """Say whether a rendered document is a trust policy: every statement of one names a principal."""
    statements = _canonical(text) if isinstance(text, str) else None
    found = statements.get("Statement") if isinstance(statements, dict) else None
    listed = found if isinstance(found, list) else [found]
    return any(
        isinstance(one, dict) and ("Principal" in one or "NotPrincipal" in one) and "sts:" in repr(one).lower()
        for one in listed
    )


def _canonical(text: str) -> Any:  # noqa: ANN401 - a JSON value, or the text that is none
    try:
        return read_json(text).root.value
    except PolicyMalformedError:
        return text
