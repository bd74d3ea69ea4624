"""The matrix of the audit agrees with the evaluator behind `trust explain`, for every policy and subject."""

from __future__ import annotations

import itertools
import json
from typing import Any

from hypothesis import event, given
from hypothesis import strategies as st

from broker.policy.conditions import matches_wildcard
from broker.policy.document import PolicyMalformedError
from broker.trust.audit.admission import Verdict
from broker.trust.audit.audit import audit
from broker.trust.audit.cluster import Cluster, ServiceAccount
from broker.trust.explain import WebIdentity, explain
from tests.property.trust.test_lint import AUDIENCES, ISSUERS, SUBJECTS, statements
from tests.unit.trust.audit.auditing import make_account

ACCOUNTS = [ServiceAccount(namespace=one.split(":")[2], name=one.split(":")[3]) for one in SUBJECTS]


def list_allowed(policy: str, subject: str) -> list[str]:
    """Return the audiences with which the policy allows the cluster's service account, asked one by one."""
    found = []
    for audience in AUDIENCES:
        identity = WebIdentity(
            issuer=f"https://{ISSUERS[0]}",
            subject=subject,
            audiences=(audience,),
            session_name="app",
            role=("aws", "123456789012"),
        )
        if explain(policy, identity).allowed:
            found.append(audience)
    return found


@given(st.lists(statements(), min_size=1, max_size=3))
def test_matrix_agrees_with_the_evaluator(drawn: list[dict[str, Any]]) -> None:
    policy = json.dumps({"Version": "2012-10-17", "Statement": drawn})
    account = make_account({"app": policy}, dict.fromkeys(ISSUERS, AUDIENCES))
    cluster = Cluster(file="m", accounts={one.subject: one for one in ACCOUNTS})
    result = audit(account, cluster=cluster, issuer=ISSUERS[0], ignored=())
    rows = {one.subject: one for one in result.entries if one.provider.endswith(f"/{ISSUERS[0]}")}
    for subject in SUBJECTS:
        try:
            allowed = list_allowed(policy, subject)
        except PolicyMalformedError:
            assert result.account.unjudged
            return
        verdict = rows[subject].admission.verdict if subject in rows else Verdict.NO
        event(verdict.value)
        if verdict is Verdict.YES:
            assert list(rows[subject].audiences) == allowed
        elif verdict is not Verdict.CONDITIONAL:
            assert allowed == []


@given(st.lists(statements(), min_size=1, max_size=2))
def test_row_without_a_cluster_admits_what_it_says(drawn: list[dict[str, Any]]) -> None:
    """Each allowed service account has a row: its own, that of a pattern, or that of every subject."""
    policy = json.dumps({"Version": "2012-10-17", "Statement": drawn})
    result = audit(
        make_account({"app": policy}, dict.fromkeys(ISSUERS, AUDIENCES)), cluster=None, issuer="", ignored=()
    )
    rows = [one for one in result.entries if one.provider.endswith(f"/{ISSUERS[0]}")]
    if result.account.unjudged:
        return
    for subject, audience in itertools.product(SUBJECTS, AUDIENCES):
        if audience in list_allowed(policy, subject):
            assert any(matches_wildcard(one.subject.lower(), subject.lower()) for one in rows), (subject, audience)
    for one in rows:
        if one.admission.verdict is Verdict.YES and one.subject in SUBJECTS:
            assert list(one.audiences) == list_allowed(policy, one.subject)
