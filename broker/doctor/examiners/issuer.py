"""`sts-broker doctor` on the token's issuer: its URL, its two documents, and the token's key.

broker.discovery judges the documents, as for `sts-broker issuer check`, but without cryptography: STS verifies the
token's signature. The pod may be unable to reach the issuer while STS can, so that alone is not a failure. What STS
answered is not known here; broker.doctor.causes weighs both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.core.findings import Verdict, ok
from broker.discovery import issuer_url
from broker.discovery.documents import DocumentCheck
from broker.discovery.examiners import StructureExaminer
from broker.discovery.fetching import describe_failure, document_fetcher
from broker.doctor.checks import Outcome
from broker.net.https_client import fetch
from broker.net.routes import Route

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from broker.core.findings import Finding
    from broker.core.model import BoundToken
    from broker.discovery.documents import DocumentReport
    from broker.doctor.checks import Report

OF_ISSUER: Final = ("issuer", "issuer-documents", "issuer-keys", "signature")
_CHECKS: Final = {
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
"""The doctor's check for each check of broker.discovery. `route` is left out: the pod's route is not STS's."""


def examine_issuer(  # noqa: PLR0913 - the token, and everything needed to fetch, by keyword
    token: BoundToken, report: Report, *, environ: Mapping[str, str], ca_bundle: str, now: datetime, of: str
) -> None:
    """Check the issuer's URL, documents and keys, and whether the token's key is published.

    `now` is the time by STS's clock. `of` is the label of the token's results.
    """
    url = token.claims.issuer
    report.announce(f"the issuer {url}")
    refused = issuer_url.examine(url)
    _add_findings(refused or [ok("url", f"{url} is an issuer that IAM accepts.")], report, of)
    result = report.find("issuer", of, Outcome.FAILED)
    if result is not None:
        report.not_checked(OF_ISSUER[1:], "", because=result.label, of=of)
        return
    route = Route(ca_bundle=ca_bundle, environ=environ, reads_unverified=True, tries_tls_12_first=True)
    documents = DocumentCheck(
        url,
        token=token,
        fetch=document_fetcher(fetch, route),
        examiner=StructureExaminer(),
        trusted_by=ca_bundle or "the system's CAs",
        now=now,
    ).run()
    _add_results(documents, report, now, of)


def _add_results(documents: DocumentReport, report: Report, now: datetime, of: str) -> None:
    """Add one result for each check. A failure that another failure explains names that one."""
    unreached = [describe_failure(failure)[0] for failure in documents.failures]
    findings = [each for each in documents.findings if each.check in _CHECKS]
    _add_findings((each for each in findings if not any(reason in each.found for reason in unreached)), report, of)
    result = report.find("issuer-documents", of, Outcome.FAILED)
    if result is not None and any(session.is_valid_at(now) for session in documents.sessions.values()):
        report.change(result, Outcome.FOLLOWS, because="clock")
    keys, signature = (report.find(check, of, Outcome.FAILED) for check in ("issuer-keys", "signature"))
    if keys is not None and signature is not None:
        report.change(signature, Outcome.FOLLOWS, because=keys.label)
    rest = [check for check in OF_ISSUER if report.find(check, of) is None]
    if unreached:
        found = f"The documents cannot be fetched from this pod ({unreached[0]}). STS fetches them itself."
        report.not_checked(rest, found, of=of)
    else:
        cause = report.first_failed(OF_ISSUER, of)
        report.not_checked(rest, "", because=cause.label if cause else "issuer", of=of)


def _add_findings(findings: Iterable[Finding], report: Report, of: str) -> None:
    """Add one result for each check: all its findings of the worst verdict."""
    by_check: dict[str, list[Finding]] = {}
    for finding in findings:
        by_check.setdefault(_CHECKS[finding.check], []).append(finding)
    for check, group in by_check.items():
        for verdict, add in ((Verdict.FAILED, report.failed), (Verdict.WARNING, report.warning)):
            found = [finding for finding in group if finding.verdict is verdict]
            if found:
                remedies = " ".join(dict.fromkeys(finding.remedy for finding in found))
                add(check, " ".join(finding.found for finding in found), remedies, of=of)
                break
        else:
            report.ok(check, " ".join(finding.found for finding in group), of=of)
