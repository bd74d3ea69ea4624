"""Run `sts-broker doctor`: examine everything between the settings and the app's credentials, and print the report.

Exit code 0: nothing failed. Exit code 1: a check failed, or an exchange could not be checked. Exit code 2: the settings
or the options are not usable. On a terminal, the step that is running is shown. docs/adr/0014-doctor.md explains the
design and what is not judged.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from broker.core.errors import ConfigurationError
from broker.core.model import printable, redacted
from broker.core.records import Struct, replace
from broker.core.spelling import suggest
from broker.doctor.checks import CHECKS, POLICY_FROM_IAM, Report
from broker.doctor.environment import Environment
from broker.doctor.memory_protection import hold_lock, prefer_as_oom_victim
from broker.doctor.report import as_json, as_text, is_passed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.core.model import Configuration, ProfileSpec
    from broker.doctor.checks import CheckResult

_STANDARD_INPUT: Final = "-"


class Options(Struct, frozen=True, kw_only=True):
    """The options of the command; an empty one means what the settings say.

    `token` and `policy` are paths, or `-` for standard input. `policy` may also be `iam`: the policy that each role has
    in IAM.
    """

    token: str = ""
    policy: str = ""
    profile: str = ""
    as_json: bool = False


def run(options: Options, environ: Mapping[str, str]) -> int:
    """Examine the pod, print the report, and return the exit code.

    Raises ConfigurationError for options that contradict each other or the settings.
    """
    is_interactive = sys.stderr.isatty() and not options.as_json
    announce = _show_step if is_interactive else lambda _: None
    results, code = examine(options, Environment(environ=environ, announce=announce))
    if is_interactive:
        _show_step("")
    sys.stdout.write(as_json(results) if options.as_json else as_text(results))
    return code


def _show_step(step: str) -> None:
    """Replace the line on the terminal that names the running step; "" clears it."""
    sys.stderr.write(f"\r\x1b[K{f'checking {redacted(printable(step))} ...' if step else ''}")
    sys.stderr.flush()


def examine(options: Options, environment: Environment) -> tuple[list[CheckResult], int]:
    """Run all checks. Return their results in the order of the report, and the exit code.

    Raises ConfigurationError as `run` does.
    """
    if options.policy == options.token == _STANDARD_INPUT:
        raise ConfigurationError(
            ("--policy and --token are both -, but standard input can hold only one of them: give one as a file",)
        )
    prefer_as_oom_victim(environment.proc)
    environment.harden()  # after the line before, because it makes root the owner of that file
    report = Report(environment.announce)
    with hold_lock(environment.environ) as is_alone:
        if is_alone:
            code = _examine_alone(options, environment, report)
            return report.results, code
    found = "Another sts-broker doctor is running in this container. Together they could exceed its memory limit."
    report.failed("memory", found, "Wait until the other one ends, then run the doctor again.")
    report.not_checked((each for each in CHECKS if each != "memory"), "", because="memory")
    return report.results, 1


def _examine_alone(options: Options, environment: Environment, report: Report) -> int:
    """Run all checks, and return the exit code."""
    try:
        configuration = environment.load(environment.environ)
    except ConfigurationError as error:
        report.failed("settings", "; ".join(error.faults) + ".", "Correct every setting that is listed here.")
        report.not_checked(CHECKS[1:], "", because="settings")
        return error.exit_code
    # Imported only now, when the process that validates the settings has ended and its memory is free again.
    from broker.doctor.examination import Examination  # noqa: PLC0415

    Examination(
        _apply_options(configuration, options),
        environment,
        report,
        policy=options.policy,
        policy_profile=options.profile or configuration.default_profile,
        is_copied_token=bool(options.token),
        published_roles={profile.name: profile.role_arn for profile in configuration.profiles},
    ).run()
    return 0 if is_passed(report.results) else 1


def _apply_options(configuration: Configuration, options: Options) -> Configuration:
    """Return the settings reduced to the selected profile and its sources, with the token that was given."""
    profiles = {profile.name: profile for profile in configuration.profiles}
    if options.profile:
        profiles = _select(options.profile, profiles)
    if options.policy not in ("", POLICY_FROM_IAM):
        _check_policy_profile(options.profile or configuration.default_profile, profiles)
    audiences = {profile.audience for profile in profiles.values() if not profile.chain}
    if options.token == _STANDARD_INPUT and len(audiences) > 1:
        raise ConfigurationError(
            ("--token - holds one token, but the profiles expect several audiences: add --profile NAME",)
        )
    if options.token:
        profiles = {
            name: profile if profile.chain else replace(profile, token_file=options.token)
            for name, profile in profiles.items()
        }
    return replace(configuration, profiles=tuple(profiles.values()))


def _select(selected: str, profiles: Mapping[str, ProfileSpec]) -> dict[str, ProfileSpec]:
    """Return the profile and the sources that it is chained to. Raises ConfigurationError for an unknown name."""
    if selected not in profiles:
        hint = suggest(selected, profiles) or f"; known profiles: {', '.join(profiles)}"
        raise ConfigurationError((f"--profile {selected}: the settings have no profile of this name{hint}",))
    wanted, name = set[str](), selected
    while name:
        wanted.add(name)
        chain = profiles[name].chain
        name = chain.source if chain else ""
    return {name: profile for name, profile in profiles.items() if name in wanted}


def _check_policy_profile(name: str, profiles: Mapping[str, ProfileSpec]) -> None:
    """Raise ConfigurationError unless the policy can be compared with the token of one profile."""
    if not name:
        raise ConfigurationError(
            ("--policy is compared with the token of one profile, but there are several profiles: add --profile NAME",)
        )
    if profiles[name].chain:
        raise ConfigurationError(
            (f"--policy is compared with a token, but profile {name} sends none: it is chained to a source profile",)
        )
