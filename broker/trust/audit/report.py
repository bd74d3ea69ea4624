"""The report of an audit: as JSON, as SARIF, and as the texts that the table and the HTML page share.

Names in an account are untrusted, so control characters are escaped and tokens redacted. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.core.model import printable, redacted
from broker.trust.audit.admission import Verdict
from broker.trust.audit.rules import ALL_RULES
from broker.trust.linter import report as lint_report
from broker.trust.linter.report import LintReport

if TYPE_CHECKING:
    from broker.trust.audit.audit import Audit, AuditedRole
    from broker.trust.audit.matrix import Entry

TOOL = "sts-broker trust audit"


def as_lint_report(audit: Audit) -> LintReport:
    """Return the findings, and what could not be read or judged, as the linter reports them."""
    account = audit.account
    return LintReport(
        findings=list(audit.findings),
        policies=len(audit.roles),
        faults=account.faults,
        unjudged=account.unjudged,
        notes=account.notes,
    )


def as_sarif(audit: Audit) -> dict[str, object]:
    """Return the findings as a SARIF log."""
    return lint_report.as_sarif(as_lint_report(audit), tool=TOOL, rules=ALL_RULES)


def as_json(audit: Audit) -> dict[str, object]:
    """Return the whole audit as JSON values."""
    account = audit.account
    cluster = audit.cluster
    return {
        "roles": [_describe_role(one) for one in audit.roles],
        "other_roles": audit.other_roles,
        "providers": [
            {
                "arn": clean(one.arn),
                "issuer": clean(f"https://{one.issuer}"),
                "audiences": None if one.audiences is None else [clean(audience) for audience in one.audiences],
                "roles": audit.users.get(one.arn, 0),
            }
            for one in account.providers
        ],
        "matrix": [_describe_entry(one) for one in audit.entries],
        "cluster": None
        if cluster is None
        else {
            "issuer": f"https://{audit.issuer}",
            "service_accounts": len(cluster.accounts),
            "workloads": len(cluster.workloads),
        },
        "findings": [lint_report.describe_finding(one) for one in audit.findings],
        "unjudged": lint_report.clean(account.unjudged),
        "notes": lint_report.clean(account.notes),
        "faults": lint_report.clean(account.faults),
    }


def _describe_role(one: AuditedRole) -> dict[str, object]:
    role = one.policy.role
    return {
        "arn": clean(role.arn),
        "reached": one.reached,
        "providers": [clean(name) for name in one.policy.providers],
        "max_session_seconds": role.maximum_seconds,
        "permissions_boundary": None if role.boundary is None else clean(role.boundary),
        "subjects": len(one.entries),
    }


def _describe_entry(one: Entry) -> dict[str, object]:
    return {
        "subject": clean(one.subject),
        "meaning": clean(one.meaning),
        "kind": one.kind,
        "provider": clean(one.provider),
        "audiences": [clean(audience) for audience in one.audiences],
        "role": clean(one.role),
        "through": [clean(arn) for arn in one.through],
        "verdict": one.admission.verdict.value,
        "conditions": [clean(text) for text in one.admission.conditions],
        "exists": one.exists,
        "max_session_seconds": one.maximum_seconds,
        "permissions_boundary": None if one.boundary is None else clean(one.boundary),
    }


def clean(text: str) -> str:
    """Return text of another party without tokens and control characters."""
    return redacted(printable(text))


def shorten_arn(arn: str) -> str:
    """Return the path and name in the ARN of a role or a policy, or the issuer in that of a provider. Else the text."""
    name = arn.split(":", 5)[-1].partition("/")[2] if arn.startswith("arn:") else ""
    return clean(name or arn)


def describe_verdict(one: Entry) -> str:
    """Return the verdict on a row, with its conditions."""
    verdict = one.admission.verdict
    if one.exists is False:
        return "yes, but the service account doesn't exist"
    if verdict is Verdict.CONDITIONAL:
        return clean(f"if {'; '.join(one.admission.conditions)}")
    return clean(f"{verdict.value}: {one.admission.reason}") if verdict is Verdict.UNJUDGED else verdict.value


def describe_subject(one: Entry) -> str:
    """Return the subject of a row; a pattern has its meaning, too."""
    subject = clean(one.subject)
    if one.meaning == one.subject:
        return subject
    return clean(one.meaning) if one.subject in one.meaning else f"{subject} ({clean(one.meaning)})"


def describe_path(one: Entry) -> str:
    """Return the roles between a subject and its role, in their order."""
    return " > ".join(map(shorten_arn, one.through))


def describe_duration(seconds: int | None) -> str:
    """Return a maximum session duration for people."""
    if seconds is None:
        return "?"
    hours, minutes = divmod(seconds // 60, 60)
    return (
        " ".join(filter(None, (f"{hours} h" if hours else "", f"{minutes} min" if minutes else ""))) or f"{seconds} s"
    )


def describe_boundary(arn: str | None) -> str:
    """Return the name of a permissions boundary."""
    return "?" if arn is None else shorten_arn(arn) if arn else "none"


def summarize(audit: Audit) -> str:
    """Return the numbers of an audit in one line."""
    errors = sum(one.finding.rule.severity.value == "error" for one in audit.findings)
    parts = (
        count(len(audit.roles), "role that tokens can reach", "roles that tokens can reach"),
        count(audit.other_roles, "other role"),
        count(len(audit.account.providers), "OIDC provider"),
        count(errors, "error"),
        count(len(audit.findings) - errors, "warning"),
        f"{len(audit.account.unjudged)} not judged",
    )
    return ", ".join(parts)


def count(number: int, one: str, several: str = "") -> str:
    """Return a number with its noun."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"
