"""Completion of commands, options and files in bash and zsh, by argcomplete.

`register-python-argcomplete sts-broker` prints the shell's part. That part starts `sts-broker` with `VARIABLE` set and
reads the completions from a file descriptor of its own. Without the variable, nothing of this is imported.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from broker.cli.parser import Parser

VARIABLE: Final = "_ARGCOMPLETE"
"""Set by the shell's part. Source: https://kislyuk.github.io/argcomplete/."""


def complete(parser: Parser) -> int:
    """Write the completions of the shell's command line, and exit. Return without any where argcomplete is missing."""
    try:
        import argcomplete  # noqa: PLC0415 - part of the operator tools
    except ModuleNotFoundError:
        return os.EX_UNAVAILABLE
    argcomplete.autocomplete(parser, always_complete_options=False)
    return os.EX_OK
