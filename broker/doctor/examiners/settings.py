"""Report the settings that were loaded, and a variable that looks like a setting but is not one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.settings.variables import IGNORED_ENDPOINT_REMEDY, IGNORED_ENDPOINT_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.core.model import Configuration
    from broker.doctor.checks import Report


def examine_settings(environ: Mapping[str, str], configuration: Configuration, report: Report) -> None:
    """Report the profiles and their roles. The settings are valid: otherwise there is no configuration."""
    profiles = configuration.profiles
    roles = ", ".join(f"{profile.name} for {profile.role_arn}" for profile in profiles)
    found = f"{len(profiles)} profile{'s' if len(profiles) > 1 else ''}: {roles}."
    if environ.get(IGNORED_ENDPOINT_VARIABLE) and not configuration.sts.endpoint_url:
        found = f"{found} {IGNORED_ENDPOINT_VARIABLE} is set, but the broker does not read it."
        report.warning("settings", found, IGNORED_ENDPOINT_REMEDY)
    else:
        report.ok("settings", found)
