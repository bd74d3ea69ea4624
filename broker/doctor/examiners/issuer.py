"""`sts-broker doctor` on who vouches for the token: its issuer as STS fetches it.

Rules: what is wrong with an issuer is `issuer_check`'s word. The pod may not reach it, which STS must: that alone is no
fault. Knows nothing of what STS said; `doctor_causes` does.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from broker.core.findings import Verdict
from broker.doctor.checks import Outcome
from broker.issuer.check import IssuerCheck
from broker.net.https_client import Route, Silence, get

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from broker.core.findings import Finding
    from broker.core.model import BoundToken
    from broker.doctor.checks import Report
    from broker.issuer.certificates import Certificate
    from broker.net.https_client import Answer

OF_ISSUER: Final = ("issuer", "issuer-documents", "issuer-keys", "signature")
_CHECK_OF: Final = {
    "url": "issuer",
    "certificate": "issuer-documents",
    "discovery": "issuer-documents",
    "issuer": "issuer-documents",
    "jwks_uri": "issuer-documents",
    "jwks": "issuer-documents",
    "keys": "issuer-keys",
    "key": "issuer-keys",
    "token": "signature",
}
"""`issuer_check`'s words, as checks of the doctor; `route` is left out, for the pod's way is not STS's."""
_OVER: Final = re.compile("certificate (has expired|is not valid yet)")
"""`issuer_check`'s words for dates that this node's clock does not lie between."""
_TOLD_ELSEWHERE: Final = ("The token's iss is", "The token expired at")


def examine_issuer(  # noqa: PLR0913 - all that it takes to fetch, by keyword
    token: BoundToken, sheet: Report, *, environ: Mapping[str, str], ca_bundle: str, now: datetime, of: str
) -> None:
    """Look at the issuer's URL, documents and keys, and at the token's signature."""
    url = token.claims.issuer
    sheet.announce(f"the issuer {url}")
    route, silent = Route(ca_bundle=ca_bundle, environ=environ), list[Silence]()

    def fetch(address: str) -> Answer | Silence:
        answer = get(address, route)
        if isinstance(answer, Silence):
            silent.append(answer)
        return answer

    trusted_by = ca_bundle or "the system's CAs"
    report = IssuerCheck(url, token=token, fetch=fetch, trusted_by=trusted_by, now=now).run()
    told = [each for each in report.findings if each.check in _CHECK_OF and not each.found.startswith(_TOLD_ELSEWHERE)]
    if silent:
        told = [each for each in told if silent[0].found not in each.found]
    _add(told, sheet, of)
    documents = sheet.find("issuer-documents", of, Outcome.FAILED)
    chain = [each for chain in report.chains.values() for each in chain]
    if documents is not None and _OVER.search(documents.found) and all(_is_valid(each, now) for each in chain):
        sheet.change(documents, Outcome.FOLLOWS, because="clock")
    keys, signature = (sheet.find(check, of, Outcome.FAILED) for check in ("issuer-keys", "signature"))
    if keys is not None and signature is not None:
        sheet.change(signature, Outcome.FOLLOWS, because=keys.label)
    rest = [check for check in OF_ISSUER if sheet.find(check, of) is None]
    if silent:
        sheet.not_checked(rest, f"It cannot be fetched from here ({silent[0].found}); STS fetches it by itself.", of=of)
    else:
        cause = sheet.first_failed(OF_ISSUER, of)
        sheet.not_checked(rest, "", because=cause.label if cause else "issuer", of=of)


def _is_valid(certificate: Certificate, now: datetime) -> bool:
    return certificate.not_before <= now <= certificate.not_after


def _add(findings: Iterable[Finding], sheet: Report, of: str) -> None:
    """Add a line for each check: of the worst that was found, all that is as bad."""
    by_check: dict[str, list[Finding]] = {}
    for finding in findings:
        by_check.setdefault(_CHECK_OF[finding.check], []).append(finding)
    for check, group in by_check.items():
        for verdict, add in ((Verdict.FAILED, sheet.failed), (Verdict.WARNING, sheet.warning)):
            found = [finding for finding in group if finding.verdict is verdict]
            if found:
                remedies = " ".join(dict.fromkeys(finding.remedy for finding in found))
                add(check, " ".join(finding.found for finding in found), remedies, of=of)
                break
        else:
            sheet.ok(check, " ".join(finding.found for finding in group), of=of)
