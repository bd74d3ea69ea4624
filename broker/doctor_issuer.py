"""`broker doctor` on who vouches for the token: its issuer as STS fetches it, and a trust policy that was handed in.

Rules: what is wrong with an issuer is `issuer_check`'s word, what a policy says the evaluator's. The pod may not reach
the issuer, which STS must: that alone is no fault. Knows nothing of what STS said; `doctor_causes` does.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from broker.doctor_lines import Outcome
from broker.findings import Verdict
from broker.https_get import Route, Silence, get
from broker.issuer_check import IssuerCheck
from broker.model import session_name_for
from broker.policy_document import PolicyMalformedError
from broker.trust_explain import Asker, explain
from broker.trust_sources import find_sources

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from broker.certificates import Certificate
    from broker.doctor_lines import Sheet
    from broker.findings import Finding
    from broker.https_get import Answer
    from broker.model import BoundToken, ProfileSpec
    from broker.trust_explain import Explained, Explanation, Obstacle

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
    token: BoundToken, sheet: Sheet, *, environ: Mapping[str, str], ca_bundle: str, now: datetime, of: str
) -> None:
    """Look at the issuer's URL, documents and keys, and at the token's signature."""
    url = token.claims.issuer
    sheet.tell(f"the issuer {url}")
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


def _add(findings: Iterable[Finding], sheet: Sheet, of: str) -> None:
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


def examine_trust(policy: str, token: BoundToken, profile: ProfileSpec, sheet: Sheet, *, of: str) -> None:
    """Ask the policy in this file, or on standard input for "-", whether it lets the token in."""
    _, partition, _, _, account, _ = profile.role_arn.split(":", 5)
    asker = Asker(
        issuer=token.claims.issuer,
        subject=token.claims.subject,
        audiences=(profile.audience,),
        session_name=profile.session_name or session_name_for(token.claims),
        role=(partition, account),
    )
    sources = find_sources([policy])
    if sources.faults or len(sources.policies) != 1:
        said = " ".join(sources.faults) or f"{policy} holds {len(sources.policies)} policies; expected one."
        remedy = "aws iam get-role --role-name NAME --query Role.AssumeRolePolicyDocument > FILE"
        sheet.warning("trust-policy", said, remedy, of=of)
        return
    try:
        explanation = explain(sources.policies[0].text, asker)
    except PolicyMalformedError as error:
        sheet.warning("trust-policy", f"The policy cannot be read: {error}.", "IAM would refuse it too.", of=of)
        return
    if explanation.allowed:
        sheet.ok("trust-policy", f"{explanation.reason}.", of=of)
        return
    nearest = _nearest(explanation)
    if nearest is None:
        remedy = "Add a statement for this token: broker trust render."
        sheet.failed("trust-policy", f"{explanation.reason}.", remedy, of=of)
        return
    reasons = "; ".join(obstacle.reason for obstacle in nearest.obstacles)
    changes = "; ".join(_change(obstacle) for obstacle in nearest.obstacles if obstacle.change)
    remedy = f"In {nearest.name} (line {nearest.line}): {changes or 'take it away, or narrow it'}."
    sheet.failed("trust-policy", f"{explanation.reason}: {reasons}.", remedy, of=of)


def _nearest(explanation: Explanation) -> Explained | None:
    """Return the statement that denies, else the one that needs the fewest changes to let the token in."""
    denying = [one for one in explanation.statements if one.outcome == "denies"]
    mendable = [one for one in explanation.statements if any(obstacle.change for obstacle in one.obstacles)]
    return min(denying or mendable, key=lambda one: len(one.obstacles), default=None)


def _change(obstacle: Obstacle) -> str:
    sentence = obstacle.change.sentence if obstacle.change else ""
    return f"{obstacle.operator} {obstacle.key}: {sentence}" if obstacle.key else sentence
