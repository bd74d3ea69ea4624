"""The annotations by which pods and service accounts request a role."""

from __future__ import annotations

from typing import Final

PREFIX: Final = "sts-broker/"
"""The start of the broker's own annotations on pods: `sts-broker/role-arn`, …"""
ROLE_ANNOTATION: Final = "eks.amazonaws.com/role-arn"
"""On a service account, for the EKS Pod Identity webhook (https://github.com/aws/amazon-eks-pod-identity-webhook)."""
