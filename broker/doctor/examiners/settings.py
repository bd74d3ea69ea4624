"""Report the settings that were loaded, and variables that are not settings but look like one or have effects."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from broker.core.ignored_endpoint import IGNORED_ENDPOINT_REMEDY, find_ignored_endpoint
from broker.core.library_variables import explain_library_variables
from broker.net.routes import NO_PROXY_REMEDY, find_no_proxy_fault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.core.model import Configuration
    from broker.doctor.checks import Report


def examine_settings(environ: Mapping[str, str], configuration: Configuration, report: Report) -> None:
    """Report the profiles and their roles. The settings are valid: otherwise there is no configuration."""
    profiles = configuration.profiles
    roles = ", ".join(f"{profile.name} for {profile.role_arn}" for profile in profiles)
    found = f"{len(profiles)} profile{'s' if len(profiles) > 1 else ''}: {roles}."
    warnings = list(explain_library_variables(environ, is_read_by_python=not sys.flags.ignore_environment))
    ignored = find_ignored_endpoint(environ, configuration.sts.endpoint_url)
    if ignored:
        warnings.append((ignored, IGNORED_ENDPOINT_REMEDY))
    no_proxy_fault = find_no_proxy_fault(environ)
    if no_proxy_fault:
        warnings.append((no_proxy_fault, NO_PROXY_REMEDY))
    if warnings:
        causes, remedies = zip(*warnings, strict=True)
        report.warning("settings", " ".join((found, *causes)), " ".join(remedies))
    else:
        report.ok("settings", found)
