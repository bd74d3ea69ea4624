"""Make operator commands available, or report what they lack and where to get it.

The sidecar image contains neither the packages of the operator commands nor boto3 and cryptography. There, an operator
command is listed in the help; when called, it prints one message and ends with exit code 2.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from typing import TYPE_CHECKING, Final

from broker.core.images import OPERATOR_IMAGE

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.cli.parser import Parser

_EXIT_MISSING: Final = 2
_NEEDED_MODULES: Final = {
    "inject": ("broker.inject",),
    "issuer": ("broker.issuer", "cryptography"),
    "trust": ("broker.trust",),
    "trust audit": ("broker.trust", "boto3", "jinja2", "rich"),
    "doctor --policy": ("broker.trust",),
    "doctor --policy iam": ("broker.trust", "boto3"),
}
"""The modules that each operator command needs and the sidecar image does not contain."""


def add_arguments(command: str, parser: Parser, add: Callable[[Parser], None]) -> None:
    """Add an operator command's arguments to its parser with `add`.

    Where a needed module is missing, the parser accepts any arguments instead, and the command reports what is missing.
    """
    if not _find_missing_module(command):
        add(parser)
        return
    parser.prefix_chars = "\0"  # no argument is an option, not even --help
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    parser.set_defaults(verb=lambda _: report_missing_module(command))


def check_doctor_policy(policy: str) -> int:
    """Return 0 where `doctor` can check this --policy. Otherwise report what is missing, and return the exit code."""
    if not policy:
        return 0
    return report_missing_module("doctor --policy iam" if policy == "iam" else "doctor --policy")


def report_missing_module(command: str) -> int:
    """Return 0 where nothing is missing for a command. Otherwise report what is missing, and return the exit code."""
    missing = _find_missing_module(command)
    if not missing:
        return 0
    sys.stderr.write(
        f"sts-broker: {command} is an operator command, and this installation lacks the Python module {missing}. "
        f"Use the operator image {OPERATOR_IMAGE}, "
        "or run: pip install 'sts-federation-broker[operator]'\n"
    )
    return _EXIT_MISSING


def _find_missing_module(command: str) -> str:
    return next((name for name in _NEEDED_MODULES[command] if not _is_installed(name)), "")


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # its parent package is missing, or an import hook hides the module
        return False
