"""Check a statement that lets other roles assume this one, as a chained role has it.

AWS principals are expected here. Each action is checked against the condition keys that AWS provides for it
(docs.aws.amazon.com/service-authorization/latest/reference/list_awssecuritytokenservice.html).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from broker.trust.linter import conditions
from broker.trust.linter.conditions import has_wildcard
from broker.trust.linter.statement import ASSUME_ROLE
from broker.trust.planned_document import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.trust.linter.statement import Condition, Statement

_ARN = re.compile(r"arn:aws[a-z-]*:(?:iam|sts)::(\d{12}):((?:role|user|assumed-role|federated-user)/[^*?]+|root)")
_ACCOUNT = re.compile(r"\d{12}")
_UNIQUE_ID = re.compile(r"A(?:RO|ID)A[A-Z0-9]{8,}")
"""The ID that IAM shows in place of a deleted role or user."""
_TAG_KEYS = ("aws:requesttag/", "aws:tagkeys", "sts:transitivetagkeys")
_KEYS_OF_ACTIONS = {
    "sts:assumerole": ("sts:externalid", "sts:rolesessionname", "sts:sourceidentity", *_TAG_KEYS),
    "sts:tagsession": _TAG_KEYS,
    "sts:setsourceidentity": ("sts:sourceidentity",),
}
_KEYS_OF_SOME_ACTIONS = _KEYS_OF_ACTIONS["sts:assumerole"]
_GLOBAL_PREFIXES = ("aws:", "iam:resourcetag/", "sts:awsservicename")
_GUARDS = ("sts:externalid", "aws:principalarn", "aws:principalorgid", "aws:principalorgpaths")


def find_weaknesses(statement: Statement, *, account: str) -> Iterator[tuple[str, str]]:
    """Yield the rule and the detail of each fault of an Allow statement for AWS principals.

    `account` is the account of the role, "" where it is unknown.
    """
    for condition in statement.conditions:
        yield from conditions.find_mistakes(condition)
        yield from conditions.find_loopholes(condition)
        yield from _check_key(condition, statement)
    yield from conditions.find_needless_like(statement.conditions)
    for action in statement.actions:
        if action.lower().startswith("sts:assumerolewith"):
            yield "action-mismatch", f"an AWS principal can't call {action}"
    for name in statement.principals["AWS"]:
        yield from _check_principal(name, statement, account)


def _check_principal(name: str, statement: Statement, account: str) -> Iterator[tuple[str, str]]:
    if name in ("*", UNKNOWN):
        return
    arn = _ARN.fullmatch(name)
    if arn is None and not _ACCOUNT.fullmatch(name):
        is_deleted = _UNIQUE_ID.fullmatch(name)
        reason = "the ID of a deleted role or user" if is_deleted else "not an ARN or account ID"
        yield "principal-spelling", f"{name}: {reason}"
        return
    if not statement.has_action(ASSUME_ROLE):
        return
    owner = arn[1] if arn else name
    guards = {one.key.lower() for one in statement.conditions if _is_guard(one)}
    if (arn is None or arn[2] == "root") and "aws:principalarn" not in guards:
        yield "account-root", f"all principals of account {owner}"
    if owner != account and not guards:
        hint = "" if account else "; if this role is in the same account, pass --account"
        yield "cross-account", f"{name} is in account {owner}{hint}"


def _is_guard(condition: Condition) -> bool:
    """Return whether a condition keeps third parties from using the named principal."""
    key = condition.key.lower()
    return key in _GUARDS and condition.is_strict and all(_is_narrow(key, value) for value in condition.values)


def _is_narrow(key: str, value: str) -> bool:
    """Return whether a guard's value identifies somebody, apart from its wildcards."""
    if key == "sts:externalid":
        return bool(value.strip("*?"))
    if key == "aws:principalarn":  # arn:aws:iam::123456789012:role/NAME
        return not has_wildcard(value) or bool(value.partition("/")[2].strip("*?/"))
    return not has_wildcard(value.partition("/")[0])  # the organization


def _check_key(condition: Condition, statement: Statement) -> Iterator[tuple[str, str]]:
    key, place = condition.key.lower(), f"{condition.operator} {condition.key}"
    if condition.key == UNKNOWN:
        return
    if not key.startswith((*_GLOBAL_PREFIXES, *_KEYS_OF_SOME_ACTIONS)):
        yield "unknown-key", f"{place}: AWS doesn't provide this key when a role assumes another"
        return
    if not key.startswith(_KEYS_OF_SOME_ACTIONS) or not (condition.is_strict or condition.parsed.bare == "Null"):
        return
    for action, keys in _KEYS_OF_ACTIONS.items():
        named = next((one for one in statement.actions if one.lower() == action), None)
        if named and not key.startswith(keys):
            yield "key-not-of-action", f"{place}: {named} never has this key"
