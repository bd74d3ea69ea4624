"""What can be wrong with a statement that lets other roles take this one: a chained role's.

Rules: principals of AWS are legitimate here; each action is judged with the condition keys that AWS gives for it
(docs.aws.amazon.com/service-authorization/latest/reference/list_awssecuritytokenservice.html).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from broker.trust.linter import conditions
from broker.trust.linter.conditions import has_wildcard
from broker.trust.linter.statement import ASSUME_ROLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.trust.linter.statement import Condition, Statement

_ARN = re.compile(r"arn:aws[a-z-]*:(?:iam|sts)::(\d{12}):((?:role|user|assumed-role|federated-user)/[^*?]+|root)")
_ACCOUNT = re.compile(r"\d{12}")
_UNIQUE_ID = re.compile(r"A(?:RO|ID)A[A-Z0-9]{8,}")
"""What IAM writes in place of a role or user that is gone."""
_TAG_KEYS = ("aws:requesttag/", "aws:tagkeys", "sts:transitivetagkeys")
_KEYS_OF_ACTIONS = {
    "sts:assumerole": ("sts:externalid", "sts:rolesessionname", "sts:sourceidentity", *_TAG_KEYS),
    "sts:tagsession": _TAG_KEYS,
    "sts:setsourceidentity": ("sts:sourceidentity",),
}
_KEYS_OF_SOME = _KEYS_OF_ACTIONS["sts:assumerole"]
_GLOBAL_PREFIXES = ("aws:", "iam:resourcetag/", "sts:awsservicename")
_GUARDS = ("sts:externalid", "aws:principalarn", "aws:principalorgid", "aws:principalorgpaths")


def find_weaknesses(statement: Statement, *, account: str) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with an Allow statement for AWS principals; `account` is the role's, "" where unknown."""
    for condition in statement.conditions:
        yield from conditions.find_slips(condition)
        yield from conditions.find_openings(condition)
        yield from _of_keys(condition, statement)
    yield from conditions.find_needless_like(statement.conditions)
    for action in statement.actions:
        if action.lower().startswith("sts:assumerolewith"):
            yield "action-mismatch", f"{action} is nothing that an AWS principal can do"
    for name in statement.principals["AWS"]:
        yield from _of_principal(name, statement, account)


def _of_principal(name: str, statement: Statement, account: str) -> Iterator[tuple[str, str]]:
    if name == "*":
        return
    arn = _ARN.fullmatch(name)
    if arn is None and not _ACCOUNT.fullmatch(name):
        gone = "it stands for a role or user that is gone" if _UNIQUE_ID.fullmatch(name) else "it is no ARN or account"
        yield "principal-spelling", f"{name}: {gone}"
        return
    if not statement.covers(ASSUME_ROLE):
        return
    owner = arn[1] if arn else name
    guards = {one.key.lower() for one in statement.conditions if _guards(one)}
    if (arn is None or arn[2] == "root") and "aws:principalarn" not in guards:
        yield "account-root", f"all of account {owner} may ask"
    if owner != account and not guards:
        doubt = "" if account else ", unless this role is in the same account: say so with --account"
        yield "cross-account", f"{name} is in account {owner}{doubt}"


def _guards(condition: Condition) -> bool:
    """Say whether a condition keeps a stranger from using the principal that is named."""
    key = condition.key.lower()
    return key in _GUARDS and condition.is_kept and all(_is_narrow(key, value) for value in condition.values)


def _is_narrow(key: str, value: str) -> bool:
    """Say whether a guard's value names somebody, wildcards aside."""
    if key == "sts:externalid":
        return bool(value.strip("*?"))
    if key == "aws:principalarn":  # arn:aws:iam::123456789012:role/NAME
        return not has_wildcard(value) or bool(value.partition("/")[2].strip("*?/"))
    return not has_wildcard(value.partition("/")[0])  # the organisation


def _of_keys(condition: Condition, statement: Statement) -> Iterator[tuple[str, str]]:
    key, place = condition.key.lower(), f"{condition.operator} {condition.key}"
    if not key.startswith((*_GLOBAL_PREFIXES, *_KEYS_OF_SOME)):
        yield "unknown-key", f"{place}: AWS gives no such key when a role takes another"
        return
    if not key.startswith(_KEYS_OF_SOME) or not (condition.is_kept or condition.parsed.bare == "Null"):
        return
    for action, keys in _KEYS_OF_ACTIONS.items():
        named = next((one for one in statement.actions if one.lower() == action), None)
        if named and not key.startswith(keys):
            yield "key-not-of-action", f"{place}: {named} never has it"
