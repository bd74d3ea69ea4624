"""Trust policies before deployment: `trust lint`, `trust explain` and `trust render`, and a role's policy in IAM.

This package is an operator tool: the sidecar image does not contain it. Only `iam_role` needs boto3.
May import: `broker.discovery`, `broker.policy`, `broker.tokens`, `broker.core`.
Does not know: the resident process, exchanges with STS, and publishing.
"""
