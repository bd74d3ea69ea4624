"""Read the policy templates in iam-policies/ and fill their placeholders with JSON, as their README describes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FOLDERS = sorted(path for path in (ROOT / "iam-policies").iterdir() if path.is_dir())
TEMPLATES = sorted((ROOT / "iam-policies").rglob("*.json.tftpl"))
PLACEHOLDER = re.compile(r"\$\{(\w+)\}")

ROLE = "arn:aws:iam::123456789012:role/workload/app"
PARTNER = "arn:aws:iam::210987654321:role/partner"
BUCKET = "arn:aws:s3:::reports"
EXAMPLE: dict[str, Any] = {
    "absent_keys": {"oidc.example/blue:sub": "true", "oidc.example/green:sub": "true"},
    "all_arns": [BUCKET, f"{BUCKET}/*"],
    "allowed_actions": ["kms:Decrypt", "s3:*", "sqs:*"],
    "audited_provider_arns": ["arn:aws:iam::*:oidc-provider/*"],
    "audience_key": "oidc.example/blue:aud",
    "audiences": ["sts.amazonaws.com"],
    "bucket_arn": BUCKET,
    "chainable_role_arns": ["arn:aws:iam::210987654321:role/partner*"],
    "conditions": {"StringEquals": {"sts:ExternalId": "example-7f3d"}},
    "distribution_arn": "arn:aws:cloudfront::123456789012:distribution/E1",
    "document_arns": [f"{BUCKET}/keys.json"],
    "guarded_role_arns": ["arn:aws:iam::*:role/workload/*"],
    "infra_role_arns": ["arn:aws:iam::*:role/infra/deploy"],
    "key_arns": ["arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555"],
    "listed_prefixes": ["payments/*"],
    "maximum_seconds": "300",
    "object_arns": [f"{BUCKET}/payments/*"],
    "organization_id": "o-example123",
    "own_provider_arns": ["arn:aws:iam::*:oidc-provider/oidc.example/*"],
    "partner_account_ids": ["210987654321"],
    "principals": [ROLE],
    "provider_arn": "arn:aws:iam::123456789012:oidc-provider/oidc.example/blue",
    "queue_arns": ["arn:aws:sqs:eu-west-1:123456789012:orders"],
    "role_arns": [PARTNER],
    "services": ["s3.eu-west-1.amazonaws.com"],
    "session_names": ["payments.*"],
    "sid": "TrustClusterBlue",
    "source_identities": ["app"],
    "subject_key": "oidc.example/blue:sub",
    "operator": "StringEquals",
    "subjects": ["system:serviceaccount:payments:api"],
    "tag_keys": ["team"],
    "token_audiences": ["https://vault.example"],
}
"""An example value for each placeholder."""


def template(name: str) -> Path:
    """Return the path of a template, such as `permissions/s3-prefix`."""
    return ROOT / f"iam-policies/{name}.json.tftpl"


def rendered(path: Path, **values: object) -> str:
    """Fill a template with these values, and with those of EXAMPLE."""
    return PLACEHOLDER.sub(lambda found: json.dumps({**EXAMPLE, **values}[found[1]]), path.read_text())


def policy(path: Path, **values: object) -> dict[str, Any]:
    """Return a filled template as a complete policy. A single statement becomes a policy."""
    document: dict[str, Any] = json.loads(rendered(path, **values), object_pairs_hook=_reject_duplicates)
    return document if "Statement" in document else {"Version": "2012-10-17", "Statement": [document]}


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len({key for key, _ in pairs}) == len(pairs), f"duplicate key: {pairs}"
    return dict(pairs)
