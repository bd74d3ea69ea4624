"""Judge an issuer as `sts-broker issuer check` and `sts-broker doctor` do, for every `trust` command.

Only the URL is judged here, not whether STS can reach it: a policy may be for another STS than that of AWS, which
reaches private names. The code is pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.core.findings import Verdict
from broker.discovery.issuer_url import examine, unreachable_reason
from broker.net.urls import split

if TYPE_CHECKING:
    from broker.core.findings import Finding


def find_issuer_faults(issuer: str) -> list[Finding]:
    """Return why IAM does not accept this issuer, a URL; an empty list if it does."""
    parts = split(issuer)
    unreachable = unreachable_reason(parts.hostname or "") if parts else ""
    return [
        one
        for one in examine(issuer)
        if one.verdict is Verdict.FAILED and not (unreachable and one.found.endswith(f": {unreachable}."))
    ]
