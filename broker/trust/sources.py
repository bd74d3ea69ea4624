"""Read the inputs of `sts-broker trust`: JSON policies, Terraform plans and states, from files or standard input.

An input that cannot be read is a fault with the file's name; the faults of all files are reported together. This module
does not judge policies.
"""

from __future__ import annotations

import codecs
import json
import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from broker.policy.document import Document, PolicyMalformedError, read_json
from broker.trust import input_formats, terraform_plan, terraform_resources

if TYPE_CHECKING:
    from collections.abc import Iterable

STANDARD_INPUT = "-"
_MAXIMUM_BYTES = 64_000_000
_ZIP = b"PK\x03\x04"
"""The start of a saved plan, which is an archive (hashicorp/terraform, internal/plans/planfile)."""
_EMPTY_INPUT = "nothing to read; the command before the pipe may have failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One policy and where it was found.

    `file` is the name as given. `address` is the resource's address in a plan, "" elsewhere. `line` is where the policy
    begins in the file. `account` is the role's account where the plan has it, "" otherwise. `is_partial` is true where
    the plan knows the policy in parts only; the other parts are then `UNKNOWN` in the text.
    """

    file: str
    text: str
    address: str = ""
    line: int = 1
    account: str = ""
    is_partial: bool = False

    @property
    def place(self) -> str:
        """The file, and the resource in it."""
        return f"{self.file} ({self.address})" if self.address else self.file


@dataclass(slots=True, kw_only=True)
class Sources:
    """The policies found.

    `faults` has the inputs that cannot be read, `unknown` the policies that nobody can judge yet, and `notes` the
    inputs without a policy to check.
    """

    policies: list[Source] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class UnreadableInputError(ValueError):
    """An input that cannot be read. The message has the name of the input, and why."""


def find_sources(paths: Iterable[str]) -> Sources:
    """Find the policies in these files. The path `-` is standard input."""
    found = Sources()
    for path in dict.fromkeys(paths):
        try:
            name, text, document = read_input(path)
        except UnreadableInputError as error:
            found.faults.append(str(error))
        else:
            _add_document(document, text, name, found)
    return found


def read_input(path: str) -> tuple[str, str, Document]:
    """Return the name, the text and the document of a JSON file, or of standard input for `-`.

    Raises UnreadableInputError.
    """
    name, text = name_input(path), ""
    try:
        text = read_text(path)
        return name, text, read_json(text)
    except PolicyMalformedError as error:
        reason = input_formats.describe(path, text) or str(error)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
    except ValueError as error:
        reason = str(error)
    raise UnreadableInputError(f"{name}: {reason}")


def name_input(path: str) -> str:
    """Return the name of an input for messages."""
    return "standard input" if path == STANDARD_INPUT else path


def read_text(path: str) -> str:
    """Read a file or standard input. Raises OSError, or ValueError where the content is not UTF-8 or too large."""
    if path == STANDARD_INPUT:
        content = sys.stdin.buffer.read(_MAXIMUM_BYTES + 1)
    else:
        # From the command line, so it may be a pipe, such as that of `<(terraform show -json plan)`.
        with open(path, "rb") as file:  # noqa: PTH123 - reads like standard input above
            content = file.read(_MAXIMUM_BYTES + 1)
    if len(content) > _MAXIMUM_BYTES:
        raise ValueError(f"larger than {_MAXIMUM_BYTES:,} bytes")
    if not content.strip():
        raise ValueError(_EMPTY_INPUT if path == STANDARD_INPUT else "the file is empty")
    if content.startswith(_ZIP):
        raise ValueError(f"a saved Terraform plan or another archive; pass the output of `{input_formats.SHOW_PLAN}`")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError("the encoding is UTF-16; save the file as UTF-8")
    if content.startswith(codecs.BOM_UTF8):
        raise ValueError("the file begins with a byte order mark; save it as UTF-8 without one")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("not a UTF-8 text") from None


def _add_document(document: Document, text: str, name: str, found: Sources) -> None:
    """Add what a document has to `found`: a policy, the policies of a plan, or a fault."""
    root = document.root
    if "Statement" in root.members:
        found.policies.append(Source(file=name, text=text))
    elif "errored" in root.members and root.members["errored"].value is True:
        found.faults.append(f"{name}: the Terraform plan failed, so it is incomplete; plan again without errors")
    elif fault := terraform_resources.find_state_fault(root):
        found.faults.append(f"{name}: {fault}")
    elif terraform_resources.is_terraform(root):
        _add_plan(terraform_plan.read_plan(root), name, found)
        if "complete" in root.members and root.members["complete"].value is False:
            found.unknown.append(f"{name}: the plan leaves changes for later plans, whose policies it does not have")
    else:
        found.faults.append(f"{name}: {input_formats.describe_json(root)}")


def _add_plan(plan: terraform_plan.Plan, name: str, found: Sources) -> None:
    found.policies += [
        Source(
            file=name,
            text=policy.text,
            address=policy.address,
            line=policy.line,
            account=policy.account,
            is_partial=policy.is_partial,
        )
        for policy in plan.policies
    ]
    found.unknown += [f"{name}: {sentence}" for sentence in plan.unknown]
    if not plan.policies and not plan.unknown:
        found.notes.append(f"{name}: the plan has no trust policy")


def as_policy_text(policy: Any) -> str:  # noqa: ANN401 - a JSON value
    """Return the text of a policy that IAM answered. boto3 and the AWS CLI decode it, unless it is not JSON."""
    return policy if isinstance(policy, str) else json.dumps(policy, indent=2)
