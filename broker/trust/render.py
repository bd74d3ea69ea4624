"""Writes the trust policy for a token in hand, or for what was said of one.

Rules: the text is that of `iam-policies/`; what is printed has no finding of `trust lint`, and lets in what it was made
for. Whatever would not is refused, with the finding as the reason: so wildcards are never written.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from broker.core.errors import ConfigurationError
from broker.core.model import printable
from broker.discovery.issuer_url import examine
from broker.trust.linter.lint import Expected, lint
from broker.trust.policy_templates import TRUST_STATEMENT, fill

_SCHEME = "https://"
_ACCOUNT = re.compile(r"\d{12}", re.ASCII)
_PARTITION = re.compile(r"aws(-[a-z]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trusted:
    """Who is to be let in: these subjects with one of these audiences, by tokens of this issuer (a URL)."""

    issuer: str
    audiences: tuple[str, ...]
    subjects: tuple[str, ...]
    account: str
    partition: str = "aws"


def render(trusted: Trusted) -> str:
    """Return the trust policy as JSON text. Raises ConfigurationError with all that keeps it from being a good one."""
    faults = _faults(trusted)
    if faults:
        raise ConfigurationError(faults)
    issuer = trusted.issuer.removeprefix(_SCHEME)
    statement = fill(
        TRUST_STATEMENT,
        {
            "sid": "TrustCluster",
            "provider_arn": f"arn:{trusted.partition}:iam::{trusted.account}:oidc-provider/{issuer}",
            "audience_key": f"{issuer}:aud",
            "audiences": list(trusted.audiences),
            "operator": "StringEquals",
            "subject_key": f"{issuer}:sub",
            "subjects": list(trusted.subjects),
        },
    )
    text = json.dumps({"Version": "2012-10-17", "Statement": [statement]}, indent=2)
    findings = lint(text, Expected(issuer=issuer, account=trusted.account))
    if findings:
        told = (printable(f"{one.rule.title}: {one.detail}. {one.rule.mend}") for one in findings)
        raise ConfigurationError(tuple(told))
    return text + "\n"


def _faults(trusted: Trusted) -> tuple[str, ...]:
    faults = [f"{one.found} {one.remedy}" for one in examine(trusted.issuer)]
    if not trusted.account:
        faults.append("no account: give --account, the 12 digits of the role's account, or set AWS_ROLE_ARN")
    elif not _ACCOUNT.fullmatch(trusted.account):
        faults.append(f"--account {trusted.account}: expected 12 digits")
    if not _PARTITION.fullmatch(trusted.partition):
        faults.append(f"--partition {trusted.partition}: expected aws, aws-cn, aws-us-gov, …")
    return tuple(faults)
