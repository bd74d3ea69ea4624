"""An argument parser that suggests the nearest name for a misspelled command or option.

It uses the public interface of argparse only. Commands are listed in the help in groups.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from broker.core.model import redacted
from broker.core.records import Struct
from broker.core.spelling import suggest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EXIT_USAGE = 2
_WIDTH = 78
"""Help for 80 columns. Without a width, argparse imports shutil and its compressors to ask for the terminal's."""
_FORMATTER = partial(argparse.RawDescriptionHelpFormatter, width=_WIDTH)


class HelpText(Struct, frozen=True, kw_only=True):
    """The help of one command: a summary for the list of commands, then what its own help adds.

    Empty lines separate the paragraphs of `description`, which are wrapped when they are printed. `examples` are
    printed as they are.
    """

    summary: str
    description: str
    examples: str = ""


class Parser(argparse.ArgumentParser):
    """An ArgumentParser for a command, or for a group of commands.

    `arguments` are the options and positional arguments that are defined. `commands` are the parsers of the commands.
    """

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - the interface of argparse
        self.arguments: list[argparse.Action] = []
        self.commands: dict[str, Parser] = {}
        self._known_commands: tuple[str, ...] = ()
        super().__init__(**{"formatter_class": _FORMATTER, "allow_abbrev": False, **options})

    def add_argument(self, *args: Any, **options: Any) -> argparse.Action:  # noqa: ANN401 - the interface of argparse
        """Define an argument, and remember it."""
        action = super().add_argument(*args, **options)
        self.arguments.append(action)
        return action

    def add_commands(self, groups: Mapping[str, Mapping[str, HelpText]], only: str | None = None) -> dict[str, Parser]:
        """Add commands, which the help lists under the titles of `groups`. Return their parsers by name.

        With `only`, a parser is made for this command alone, and for none if it is not one of them.
        """
        texts = {name: text for group in groups.values() for name, text in group.items()}
        width = max(map(len, texts))
        for title, group in groups.items():
            self.add_argument_group(title, "\n".join(f"  {n:<{width}}  {text.summary}" for n, text in group.items()))
        self._known_commands = tuple(texts)
        self.usage = f"{self.prog} COMMAND [option …]"
        commands = self.add_subparsers(metavar="COMMAND", prog=self.prog, help=argparse.SUPPRESS)
        self.commands = {
            name: commands.add_parser(
                name,
                description=f"{text.summary[:1].upper()}{text.summary[1:]}.\n\n{text.description}",
                epilog=f"Examples:\n{text.examples}" if text.examples else None,
            )
            for name, text in texts.items()
            if only in {None, name}
        }
        return self.commands

    def format_help(self) -> str:
        """Return the help, for 80 columns."""
        if self.description:
            import textwrap  # noqa: PLC0415 - only to print help

            paragraphs = (" ".join(each.split()) for each in self.description.split("\n\n"))
            wrap = partial(textwrap.fill, width=_WIDTH, break_long_words=False, break_on_hyphens=False)
            self.description = "\n\n".join(map(wrap, paragraphs))
        return super().format_help()

    def parse_known_args(  # type: ignore[override]  # the overloads of the base class differ in the namespace's type only
        self,
        args: Sequence[str] | None = None,
        namespace: Any = None,  # noqa: ANN401 - the interface of argparse
    ) -> tuple[Any, list[str]]:
        """Parse the arguments. Print the help if a command is missing. Exit with 2 for anything unknown."""
        arguments = list(sys.argv[1:] if args is None else args)
        command = next((each for each in arguments if each == "-" or not each.startswith("-")), None)
        if self._known_commands and command not in {None, *self._known_commands}:
            self.error(f"unknown command {command!r}{suggest(str(command), self._known_commands)}")
        parsed, unknown = super().parse_known_args(arguments, namespace)
        if unknown:
            self._report_unknown(unknown[0])
        if self._known_commands and command is None:
            self.exit(EXIT_USAGE, self.format_help())
        return parsed, unknown

    def error(self, message: str) -> NoReturn:
        """Print the usage and the message, without anything that looks like a token, and exit with 2."""
        self.exit(EXIT_USAGE, f"{self.format_usage()}{self.prog}: error: {redacted(message)}\n")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Exit. Write the message to standard error before, without waiting until somebody reads it."""
        if message:
            from broker.runtime.log_writer import write_line  # noqa: PLC0415 - only for errors

            write_line(message.removesuffix("\n"))
        raise SystemExit(status)

    def _report_unknown(self, argument: str) -> NoReturn:
        name = argument.partition("=")[0]
        if name.startswith("-"):
            known = [each for action in self.arguments for each in action.option_strings]
            self.error(f"unknown option {name}{suggest(name, known, ignored_prefixes=('--', '-'))}")
        self.error(f"unexpected argument {argument!r}")
