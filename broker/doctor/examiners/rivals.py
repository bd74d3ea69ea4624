"""Examine this container's environment for credential sources that SDKs prefer to the broker.

The app's own container is out of reach: what a webhook or an `envFrom` sets in one container, it usually sets in all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.runtime.rival_credentials import find_rival_sources

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.core.model import Configuration
    from broker.doctor.checks import Report


def examine_rivals(environ: Mapping[str, str], configuration: Configuration, report: Report) -> None:
    """Warn about every credential source that makes an SDK bypass the broker."""
    endpoint = f"http://{configuration.endpoint_host}:{configuration.endpoint_port}"
    rivals = list(find_rival_sources(environ, endpoint=endpoint, directory=configuration.publish.directory))
    if not rivals:
        report.ok("hidden", "Nothing in this container's environment makes SDKs bypass the broker.")
        return
    found = " ".join(f"{rival.name} {rival.effect}" for rival in rivals)
    remedies = [f"{rival.name}: {rival.remedy}" for rival in rivals] if len(rivals) > 1 else [rivals[0].remedy]
    report.warning("hidden", found, " ".join(remedies))
