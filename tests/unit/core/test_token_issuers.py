"""What issued a token is read from its claims, and decides the advice about renewal and audience."""

from __future__ import annotations

from typing import Any

import pytest

from broker.core.token_issuers import (
    IssuerKind,
    describe_audience,
    describe_renewal,
    find_kind,
    is_rotated_by_kubelet,
)
from tests.support.fakes import make_token

BARE = {"namespace": "", "service_account": "", "pod": ""}
GITHUB = {**BARE, "subject": "repo:o/r:ref:refs/heads/main", "repository": "o/r", "run_id": "7"}
GITLAB = {**BARE, "subject": "project_path:g/p:ref_type:tag:ref:v1", "project_path": "g/p", "job_id": "302"}
SPIFFE = {**BARE, "subject": "spiffe://example.org/cart"}
CASES: list[tuple[dict[str, Any], IssuerKind, str, str]] = [
    ({}, IssuerKind.KUBERNETES, "check the kubelet's log", "audience: vault in the projected"),
    ({**BARE, "namespace": "demo", "subject": "x"}, IssuerKind.KUBERNETES, "kubelet", "projected"),
    (GITHUB, IssuerKind.GITHUB, "ACTIONS_ID_TOKEN_REQUEST_URL", "&audience=vault"),
    (GITLAB, IssuerKind.GITLAB, "Set timeout of the job", "aud: vault under id_tokens"),
    (SPIFFE, IssuerKind.SPIFFE, "daemon_mode = true", 'jwt_audience = "vault"'),
    (
        {**BARE, "subject": "organization:acme:pipeline:p"},
        IssuerKind.OTHER,
        "whatever wrote the file",
        "audience vault",
    ),
    ({**GITHUB, "run_id": ""}, IssuerKind.OTHER, "", ""),
    ({**GITLAB, "job_id": ""}, IssuerKind.OTHER, "", ""),
]


@pytest.mark.parametrize(("claims", "kind", "renewal", "audience"), CASES)
def test_kind_decides_the_advice(claims: dict[str, Any], kind: IssuerKind, renewal: str, audience: str) -> None:
    read = make_token(**claims).claims
    assert find_kind(read) is kind
    assert renewal in describe_renewal(read)
    assert audience in describe_audience(read, "vault")
    assert is_rotated_by_kubelet(read) is (kind is IssuerKind.KUBERNETES)
    assert ("kubelet" in describe_renewal(read)) is is_rotated_by_kubelet(read)
