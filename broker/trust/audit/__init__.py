"""Audit an AWS account: every role that tokens can reach, who can become what, and which pods will be refused.

An operator tool, `sts-broker trust audit`. It only reads. `iam_account` needs boto3, `html_report` jinja2, and `tables`
and `progress` rich.
May import: `broker.manifests`, `broker.policy`, `broker.trust`, `broker.core`.
Does not know: tokens, the resident process, and how a single policy is evaluated.
"""
