"""The rules of `sts-broker trust audit` that need more than one trust policy. docs/audit.md contains this table."""

from __future__ import annotations

from typing import Final

from broker.trust.linter.rule import error, warning
from broker.trust.linter.rules import RULES

AUDIT_RULES: Final = {
    one.id: one
    for one in (
        error(
            "missing-provider",
            "A role names an OIDC provider that the account doesn't have",
            "STS rejects every token, and anyone who can create this provider can assume the role.",
            "Create the provider in the role's account, or remove the statement.",
        ),
        error(
            "unlisted-audience",
            "A role expects an audience that its provider doesn't list",
            "STS rejects tokens whose audience the provider doesn't list, so nobody can assume the role this way.",
            "Add the audience to the provider, or change the condition on :aud.",
        ),
        warning(
            "unused-provider",
            "An OIDC provider that no role names",
            "A provider without roles is left over, and every role that is added later can trust it unnoticed.",
            "Delete the provider, unless roles for it are about to be created.",
        ),
        warning(
            "unusable-role",
            "A role for web identities that nobody can assume",
            "It is left over, or its policy doesn't admit the workload that it was made for.",
            "Delete the role, or name the intended subject; trust explain shows what keeps a token out.",
        ),
        error(
            "pod-refused",
            "A pod requests a role that refuses it",
            "The pod gets no credentials: STS answers AccessDenied.",
            "Add the pod's service account to the role's trust policy, or correct the role in the manifest.",
        ),
    )
}
"""The audit's own rules, by ID."""
ALL_RULES: Final = {**RULES, **AUDIT_RULES}
"""The linter's rules and the audit's own."""
