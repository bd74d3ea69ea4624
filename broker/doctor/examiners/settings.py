"""Report the settings that were loaded, and a variable that looks like a setting but is not one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.core.ignored_endpoint import IGNORED_ENDPOINT_REMEDY, find_ignored_endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.core.model import Configuration
    from broker.doctor.checks import Report


def examine_settings(environ: Mapping[str, str], configuration: Configuration, report: Report) -> None:
    """Report the profiles and their roles. The settings are valid: otherwise there is no configuration."""
    profiles = configuration.profiles
    roles = ", ".join(f"{profile.name} for {profile.role_arn}" for profile in profiles)
    found = f"{len(profiles)} profile{'s' if len(profiles) > 1 else ''}: {roles}."
    ignored = find_ignored_endpoint(environ, configuration.sts.endpoint_url)
    if ignored:
        report.warning("settings", f"{found} {ignored}", IGNORED_ENDPOINT_REMEDY)
    else:
        report.ok("settings", found)
