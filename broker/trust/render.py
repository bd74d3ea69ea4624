"""Write the trust policy for given subjects of one issuer, from the template in `iam-policies/`.

The policy has no findings in `trust lint` and admits exactly what it was written for. Where that is impossible, such as
for a wildcard, the findings are raised as faults and nothing is written.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from broker.core.errors import ConfigurationError
from broker.core.model import printable
from broker.discovery.issuer_url import examine
from broker.trust.linter.lint import Expected, lint
from broker.trust.policy_templates import TRUST_STATEMENT, fill_template

_SCHEME = "https://"
_ACCOUNT = re.compile(r"\d{12}", re.ASCII)
_PARTITION = re.compile(r"aws(-[a-z]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedIdentities:
    """The identities that the role trusts: these subjects, with one of these audiences, of this issuer (a URL).

    `account` and `partition` are those of the OIDC provider, and so of the role. `sid` names the statement.
    """

    issuer: str
    audiences: tuple[str, ...]
    subjects: tuple[str, ...]
    account: str
    partition: str = "aws"
    sid: str = "TrustCluster"


def render(trusted: TrustedIdentities) -> str:
    """Return the trust policy as JSON text. Raises ConfigurationError with every fault of the input."""
    faults = _find_faults(trusted)
    if faults:
        raise ConfigurationError(faults)
    issuer = trusted.issuer.removeprefix(_SCHEME)
    statement = fill_template(
        TRUST_STATEMENT,
        {
            "sid": trusted.sid,
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
        raise ConfigurationError(
            tuple(printable(f"{one.rule.title}: {one.detail}. {one.rule.fix}") for one in findings)
        )
    return text + "\n"


def _find_faults(trusted: TrustedIdentities) -> tuple[str, ...]:
    faults = [f"{one.found} {one.remedy}" for one in examine(trusted.issuer)]
    if not trusted.account:
        faults.append("The role's account is unknown. Pass --account with its 12 digits, or set AWS_ROLE_ARN.")
    elif not _ACCOUNT.fullmatch(trusted.account):
        faults.append(f"--account is {trusted.account}; expected 12 digits.")
    if not _PARTITION.fullmatch(trusted.partition):
        faults.append(f"--partition is {trusted.partition}; expected aws, aws-cn, aws-us-gov or another AWS partition.")
    return tuple(faults)
