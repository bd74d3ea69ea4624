"""The rules of `sts-broker trust lint`. Each has a stable ID, a severity, the reason why it matters, and a fix.

The meaning of an ID does not change within a major version. An error means that the policy admits an unintended caller,
or no caller at all. A warning is a risk, or a broader grant than needed. docs/trust.md contains this table; a test
compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique


@unique
class Severity(Enum):
    """The severity of a finding. The values are SARIF levels."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A possible fault of a trust policy. `title` names it; `why` and `fix` are one sentence each."""

    id: str
    severity: Severity
    title: str
    why: str
    fix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LintFinding:
    """A rule that a policy breaks, and the detail found. `statement` is "" where the whole policy breaks the rule."""

    rule: Rule
    statement: str
    line: int
    detail: str


def _error(rule_id: str, title: str, why: str, fix: str) -> Rule:
    return Rule(id=rule_id, severity=Severity.ERROR, title=title, why=why, fix=fix)


def _warning(rule_id: str, title: str, why: str, fix: str) -> Rule:
    return Rule(id=rule_id, severity=Severity.WARNING, title=title, why=why, fix=fix)


_DOCUMENT = (
    _error(
        "duplicate-key",
        "A key appears twice in one object, or twice in one condition with different case",
        "JSON parsers differ in which value they keep: IAM may enforce another condition than the one you read.",
        "Keep one of the keys; write several values of one key as a list.",
    ),
    _warning(
        "version",
        "Version is missing or old",
        "Without Version 2012-10-17, IAM applies the policy language of 2008.",
        'Write "Version": "2012-10-17".',
    ),
    _warning(
        "too-long",
        "The policy exceeds IAM's default quota for a trust policy",
        "IAM rejects trust policies of more than 2,048 characters without white space, unless the quota is raised.",
        "Combine subjects with the same issuer and audience in one statement, or split them across several roles.",
    ),
    _warning(
        "no-allow",
        "No statement allows anything",
        "Nobody can assume this role.",
        "Add an Allow statement for the intended caller, or a condition to the Deny statement that overrides it.",
    ),
    _error(
        "unknown-element",
        "An element that isn't valid in a trust policy",
        "IAM rejects the policy, or what looks like a condition has no effect.",
        "Use only Sid, Effect, Principal, Action and Condition, with this capitalization.",
    ),
    _error(
        "malformed",
        "An element with a value of the wrong type",
        "IAM rejects the policy, or the statement never applies.",
        "Effect is Allow or Deny; actions and values are strings or lists; Condition maps operators to keys.",
    ),
    _warning(
        "sid",
        "A Sid that isn't unique, or has characters other than letters and digits",
        "IAM may reject the policy, and findings don't identify the statement.",
        "Give each statement a unique Sid of letters and digits.",
    ),
    _error(
        "negated-element",
        "NotAction, NotPrincipal or NotResource",
        "It allows everything except what it names, including actions and principals added later.",
        "List what is allowed with Action and Principal.",
    ),
)
_PRINCIPAL = (
    _error(
        "any-principal",
        "Principal is everybody",
        "Any principal of any AWS account that meets the conditions can assume the role.",
        "Name the OIDC provider or, for a chained role, the ARN of the role that assumes it.",
    ),
    _error(
        "other-principal",
        "A statement for web identities with a principal that isn't an IAM OIDC provider",
        "A cluster's tokens come from an OIDC provider; any other principal is admitted without such a token.",
        "Name the ARN of the cluster's OIDC provider: arn:aws:iam::ACCOUNT:oidc-provider/ISSUER.",
    ),
    _error(
        "several-providers",
        "Several principals in a statement for web identities",
        "Each condition key belongs to one issuer, so it doesn't restrict the tokens of the other providers.",
        "Write one statement for each provider.",
    ),
    _error(
        "other-issuer",
        "A provider other than the expected one",
        "The role admits tokens of another issuer.",
        "Name the provider of the issuer that you passed with --issuer.",
    ),
    _error(
        "provider-spelling",
        "A provider or condition key that isn't spelled as IAM spells issuers",
        "IAM identifies an issuer by host and path: with https://, a port or a trailing slash it never matches.",
        "Write the issuer without https:// and without anything after its path.",
    ),
    _error(
        "principal-spelling",
        "A principal that isn't an ARN, an account ID or *",
        "IAM rejects it, or it never matches: wildcards inside a principal aren't supported.",
        "Name the role's full ARN; for a pattern, name the account and add ArnLike aws:PrincipalArn with the pattern.",
    ),
)
_ACTION = (
    _error(
        "wide-action",
        "A wildcard in Action",
        "It allows every way to assume the role, including actions that STS adds later.",
        "Write sts:AssumeRoleWithWebIdentity or, for a chained role, sts:AssumeRole.",
    ),
    _warning(
        "needless-action",
        "More actions than needed",
        "A cluster's tokens need only sts:AssumeRoleWithWebIdentity: they carry no session tags or source identity.",
        "Write only sts:AssumeRoleWithWebIdentity.",
    ),
    _error(
        "action-mismatch",
        "An action that the principal can't use, or that isn't an STS action",
        "It never applies: OIDC providers use sts:AssumeRoleWithWebIdentity, roles and users sts:AssumeRole.",
        "Write the action that belongs to the principal.",
    ),
)
_CONDITION = (
    _error(
        "no-condition",
        "An Allow for web identities without a condition",
        "The role admits every service account of the cluster, with any audience.",
        "Add StringEquals on the issuer's :sub and :aud keys.",
    ),
    _error(
        "missing-subject",
        "No condition that restricts the subject",
        "The role admits every service account of the cluster.",
        'Add StringEquals with ISSUER:sub and "system:serviceaccount:NAMESPACE:NAME".',
    ),
    _error(
        "wildcard-subject",
        "A subject with a wildcard before its last part",
        "Anyone who can create a namespace in the cluster can assume the role.",
        "Write each subject in full.",
    ),
    _warning(
        "namespace-subject",
        "A subject with a wildcard in the service account's name",
        "Anyone who can create a service account in the namespace, or a pod that uses one, can assume the role.",
        "Write each subject in full; keep the wildcard only where the namespace has one owner.",
    ),
    _error(
        "missing-audience",
        "No condition that restricts the audience",
        "A token that a pod requested for another service is accepted, and that service can use it too.",
        'Add StringEquals with ISSUER:aud and "sts.amazonaws.com".',
    ),
    _error(
        "wildcard-audience",
        "An audience with a wildcard",
        "A token for another service is accepted.",
        "Write the audience in full: sts.amazonaws.com, unless the provider lists another.",
    ),
    _warning(
        "needless-like",
        "StringLike without a wildcard",
        "It suggests a wildcard where there is none, and a * that is added later takes effect.",
        "Write StringEquals.",
    ),
    _error(
        "literal-wildcard",
        "* or ? under an operator that compares literally",
        "StringEquals compares * and ? literally, and no subject or audience contains them: it never matches.",
        "Write each value in full, or use StringLike where you want a wildcard.",
    ),
    _error(
        "if-exists",
        "An operator with IfExists",
        "The condition matches where the key is absent, so a typo in the key admits everybody.",
        "Write the operator without IfExists.",
    ),
    _error(
        "for-all-values",
        "ForAllValues on a key that may be absent",
        "The condition matches where the key is absent, so a typo in the key admits everybody.",
        "Write the operator without ForAllValues.",
    ),
    _warning(
        "for-any-value",
        "ForAnyValue on a key that has one value",
        "It has no effect on a key with one value, and makes the condition harder to read.",
        "Write the operator without ForAnyValue.",
    ),
    _error(
        "negated-operator",
        "A negated operator in an Allow",
        "It allows everything except what it names, and matches where the key is absent.",
        "List what is allowed with StringEquals, or use a Deny statement.",
    ),
    _warning(
        "ignores-case",
        "A case-insensitive operator on a subject or audience",
        "Kubernetes names are lower case, and an audience with different case is a different audience.",
        "Write StringEquals.",
    ),
    _error(
        "issuer-mismatch",
        "A condition key of another issuer than the principal's",
        "This provider's tokens never have the key: the condition fails or, with IfExists, restricts nobody.",
        "Start the key with the issuer of the provider in Principal.",
    ),
    _error(
        "unknown-key",
        "A condition key that is never present",
        "For a cluster's tokens, AWS provides :aud, :sub, sts:RoleSessionName and aws: keys, but no other claims.",
        "Use :sub and :aud; you can't restrict the pod or the node.",
    ),
    _error(
        "unknown-operator",
        "An operator that doesn't exist, or doesn't compare strings",
        "IAM rejects the policy, or the condition never matches.",
        "Write StringEquals; operator names are case-sensitive.",
    ),
    _error(
        "subject-form",
        "A subject that no service account has",
        "It never matches: subjects are system:serviceaccount:NAMESPACE:NAME, in lower case.",
        "Write system:serviceaccount:NAMESPACE:NAME, as `sts-broker token` shows it.",
    ),
    _error(
        "audience-form",
        "An audience with spaces or non-ASCII characters",
        "It never matches, or it differs from the audience that it looks like.",
        "Write the audience exactly as `sts-broker token` shows it: sts.amazonaws.com.",
    ),
    _error(
        "policy-variable",
        "A policy variable in a subject or audience",
        "The request decides its value, not the policy.",
        "Write each value in full.",
    ),
    _error(
        "key-not-of-action",
        "A condition key that one of the actions never has",
        "IAM evaluates each action separately, with its own keys: for that action the statement never applies.",
        "Write one statement for each action, with the keys that the action has.",
    ),
)
_CHAINED = (
    _warning(
        "account-root",
        "A whole account can assume the role",
        "Every principal that the account allows sts:AssumeRole can assume it; the account decides who that is.",
        "Name the ARN of the role that assumes this one, or add ArnEquals aws:PrincipalArn.",
    ),
    _warning(
        "cross-account",
        "A principal of another account without a further condition",
        "If that principal serves several customers, another customer can make it assume this role (confused deputy).",
        "Add StringEquals sts:ExternalId, or a condition on aws:PrincipalArn or aws:PrincipalOrgID.",
    ),
)
RULES = {rule.id: rule for rule in (*_DOCUMENT, *_PRINCIPAL, *_ACTION, *_CONDITION, *_CHAINED)}
"""Every rule by its ID, in the order of the documentation."""
