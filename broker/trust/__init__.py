"""Trust policies: `trust lint`, `trust explain`, `trust render`, a role's policy in IAM, and `trust audit` (`audit`).

This package is an operator tool: the sidecar image does not contain it. Only `iam_role` and `audit` need boto3.
May import: `broker.discovery`, `broker.manifests`, `broker.policy`, `broker.tokens`, `broker.core`.
Does not know: the resident process, exchanges with STS, and publishing.
"""
