"""`sts-broker doctor`: looks at everything between the settings and the app's credentials, and names what is wrong.

Rules: exit code 0: nothing failed; 1: something did; 2: the settings, or the question, cannot be used. On a terminal it
says what it waits for. Why it is so, and what it does not judge: docs/adr/0014-doctor.md.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from broker.core.errors import ConfigurationError
from broker.core.model import printable, redacted
from broker.doctor.checks import CHECKS, POLICY_OF_IAM, Sheet, causes
from broker.doctor.environment import Surroundings
from broker.doctor.report import as_json, as_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.core.model import Configuration
    from broker.doctor.checks import Line

_STANDARD_INPUT = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What was asked: "" stands for what the settings say. `token` and `policy` are files, or - for standard input.

    `policy` may be `iam`: the one that IAM has of each role.
    """

    token: str = ""
    policy: str = ""
    profile: str = ""
    as_json: bool = False


def run(question: Question, environ: Mapping[str, str]) -> int:
    """Look, print what was found, and return the exit code. Raises ConfigurationError for a question without sense."""
    is_watched = sys.stderr.isatty() and not question.as_json
    lines, code = examine(question, Surroundings(environ=environ, tell=_show if is_watched else lambda _: None))
    if is_watched:
        _show("")
    sys.stdout.write(as_json(lines) if question.as_json else as_text(lines))
    return code


def _show(what: str) -> None:
    """Say on the terminal what is being looked at, in place of what was said before."""
    sys.stderr.write(f"\r\x1b[K{f'looking at {redacted(printable(what))} ...' if what else ''}")
    sys.stderr.flush()


def examine(question: Question, around: Surroundings) -> tuple[list[Line], int]:
    """Look at everything. Return the lines in their order, and the exit code."""
    if question.policy == question.token == _STANDARD_INPUT:
        raise ConfigurationError(("--policy and --token are both -: standard input holds one of them",))
    sheet = Sheet(around.tell)
    try:
        configuration = around.load(around.environ)
    except ConfigurationError as error:
        sheet.failed("settings", "; ".join(error.faults) + ".", "Mend what is named here.")
        sheet.not_checked(CHECKS[1:], "", because="settings")
        return sheet.lines, error.exit_code
    # What follows is imported when the child that loads the settings has given its memory back.
    from broker.doctor.examination import Examination  # noqa: PLC0415

    Examination(
        _narrowed(configuration, question),
        around,
        sheet,
        policy=question.policy,
        asked=question.profile or configuration.default_profile,
        has_token=bool(question.token),
        published={profile.name: profile.role_arn for profile in configuration.profiles},
    ).make()
    return sheet.lines, 1 if causes(sheet.lines) else 0


def _narrowed(configuration: Configuration, question: Question) -> Configuration:
    """Return the settings with the profiles that are asked for, sources included, and the token that was handed in."""
    profiles = {profile.name: profile for profile in configuration.profiles}
    if question.profile:
        if question.profile not in profiles:
            raise ConfigurationError((f"--profile {question.profile}: there is none; known are {', '.join(profiles)}",))
        wanted, name = set[str](), question.profile
        while name:
            wanted.add(name)
            chain = profiles[name].chain
            name = chain.source if chain else ""
        profiles = {name: profile for name, profile in profiles.items() if name in wanted}
    if question.policy not in ("", POLICY_OF_IAM):
        name = question.profile or configuration.default_profile
        if not name or profiles[name].chain:
            said = f"for {name} none is sent: it is chained" if name else "there are several profiles: add --profile"
            raise ConfigurationError((f"--policy is asked what it says to a token: {said}",))
    if question.token == _STANDARD_INPUT and len({each.audience for each in profiles.values() if not each.chain}) > 1:
        raise ConfigurationError(("--token - is read once, and the profiles expect several audiences: add --profile",))
    if question.token:
        profiles = {
            name: profile if profile.chain else replace(profile, token_file=question.token)
            for name, profile in profiles.items()
        }
    return replace(configuration, profiles=tuple(profiles.values()))
