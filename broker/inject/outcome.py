"""What an injection found: the new text, the workloads by their result, faults and warnings."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from broker.inject.sidecar_request import format_annotation

if TYPE_CHECKING:
    from broker.inject.config_maps import ConfigMap, Reference
    from broker.inject.service_accounts import Account, Use


@dataclass(slots=True, kw_only=True)
class Outcome:
    """The result for some manifests.

    `text` is the new text. `changed`, `kept` and `skipped` name the workloads whose sidecar was added or replaced, was
    right already, or was not requested. `passed_over` are objects with containers, but without a pod template.
    `references` are the pods that mount one of `config_maps`, which another document can define.
    `accounts` are annotated for EKS's webhook, `uses` are the pods that may have such an account.
    """

    text: str = ""
    changed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    config_maps: list[ConfigMap] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    accounts: list[Account] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)


def report_rest(outcome: Outcome) -> None:
    """Write the warnings, and the objects that get no sidecar, to standard error. Faults are left to the caller."""
    for warning in outcome.warnings:
        sys.stderr.write(f"sts-broker: {warning}\n")
    for name in outcome.skipped:
        sys.stderr.write(
            f"sts-broker: {name}: skipped, because it requests no sidecar. "
            f"To add one, set annotation {format_annotation('role_arn')} or --role-arn\n"
        )
    for name in outcome.passed_over:
        sys.stderr.write(
            f"sts-broker: {name}: passed over, because its containers are in no pod template (spec.containers). "
            "Use the admission policies for its pods, or name its kind with --pass-over\n"
        )
