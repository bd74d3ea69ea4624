"""What `sts-broker trust lint` finds: each rule with a stable id, a severity, why it matters and the mend.

Rules: an id never changes its meaning; an error lets somebody in who is not meant, or nobody who is; a warning is a
risk, or more than is needed. docs/trust.md has this table, and a test compares.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique


@unique
class Severity(Enum):
    """How bad a finding is; the values are SARIF's levels."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One thing that can be wrong with a trust policy: `why` it matters, and the `mend`, in a sentence each."""

    id: str
    severity: Severity
    title: str
    why: str
    mend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A rule that a policy breaks, and what was found; `statement` names the statement, "" is the policy as a whole."""

    rule: Rule
    statement: str
    line: int
    detail: str


def _error(name: str, title: str, why: str, mend: str) -> Rule:
    return Rule(id=name, severity=Severity.ERROR, title=title, why=why, mend=mend)


def _warning(name: str, title: str, why: str, mend: str) -> Rule:
    return Rule(id=name, severity=Severity.WARNING, title=title, why=why, mend=mend)


_DOCUMENT = (
    _error(
        "duplicate-key",
        "A key stands twice in one object, or in one condition but for its case",
        "Readers differ in which of the two counts: the condition that a person reads may not be the one IAM keeps.",
        "Keep one of them; several values of one key are a list.",
    ),
    _warning(
        "version",
        "Version is missing or old",
        "Without Version 2012-10-17, IAM reads the policy by the rules of 2008.",
        'Write "Version": "2012-10-17".',
    ),
    _warning(
        "too-long",
        "Longer than IAM's quota for a trust policy",
        "IAM refuses trust policies of over 2,048 characters, white space aside, unless the quota was raised.",
        "Put subjects that share issuer and audience into one statement, or give groups of them roles of their own.",
    ),
    _warning(
        "no-allow",
        "No statement allows anything",
        "Nobody can have this role.",
        "Add an Allow statement for the one who is to have it, or a condition to the Deny that undoes it.",
    ),
    _error(
        "unknown-element",
        "An element that a trust policy cannot have",
        "IAM refuses the policy, or the words that were meant as a condition are none.",
        "Use Sid, Effect, Principal, Action and Condition, spelled so.",
    ),
    _error(
        "malformed",
        "An element of the wrong kind",
        "IAM refuses the policy, or the statement never applies.",
        "Effect is Allow or Deny; actions and values are texts or lists; Condition is operators, each with keys.",
    ),
    _warning(
        "sid",
        "A Sid that is not unique, or has other characters than letters and digits",
        "IAM may refuse the policy, and nobody can tell which statement a finding means.",
        "Give each statement a Sid of its own, of letters and digits.",
    ),
    _error(
        "negated-element",
        "NotAction, NotPrincipal or NotResource",
        "It allows everything that it does not name, today and in the future.",
        "Name what is meant, with Action and Principal.",
    ),
)
_PRINCIPAL = (
    _error(
        "any-principal",
        "Principal is everybody",
        "Every AWS account in the world is let in as far as the conditions go.",
        "Name the one OIDC provider, or for a chained role the ARN of the role that takes it.",
    ),
    _error(
        "other-principal",
        "A web identity from elsewhere than an OIDC provider of IAM",
        "Tokens of a cluster come from an OIDC provider; anybody else here is let in without one of them.",
        "Name the ARN of the cluster's OIDC provider: arn:aws:iam::ACCOUNT:oidc-provider/ISSUER.",
    ),
    _error(
        "several-providers",
        "Several principals in a statement for web identities",
        "Each condition key belongs to one issuer: what the tokens of one are kept to says nothing about the others.",
        "Write a statement for each provider.",
    ),
    _error(
        "other-issuer",
        "Another provider than the one expected",
        "Tokens of another issuer are let in.",
        "Name the provider of the issuer that was given with --issuer.",
    ),
    _error(
        "provider-spelling",
        "A provider or key that is not spelled as IAM spells issuers",
        "IAM knows an issuer by host and path alone: with https://, a port or a slash at the end it never matches.",
        "Write the issuer without https:// and without what follows its path.",
    ),
    _error(
        "principal-spelling",
        "A principal that is no ARN, account or *",
        "IAM refuses it, or it never matches: there are no wildcards inside of principals.",
        "Name the role's full ARN; for a pattern, name the account and put the pattern into ArnLike aws:PrincipalArn.",
    ),
)
_ACTION = (
    _error(
        "wide-action",
        "A wildcard in Action",
        "It allows every way to have the role, and those that STS will have one day.",
        "Write sts:AssumeRoleWithWebIdentity, or sts:AssumeRole in a chained role.",
    ),
    _warning(
        "needless-action",
        "More actions than are needed",
        "A cluster's tokens need sts:AssumeRoleWithWebIdentity alone: they carry neither tags nor a source identity.",
        "Write sts:AssumeRoleWithWebIdentity only.",
    ),
    _error(
        "action-mismatch",
        "An action that the principal cannot do, or that is none of STS's",
        "It never applies: OIDC providers go with sts:AssumeRoleWithWebIdentity, roles and users with sts:AssumeRole.",
        "Write the action that goes with the principal.",
    ),
)
_CONDITION = (
    _error(
        "no-condition",
        "An Allow for web identities without a condition",
        "Every service account of the cluster, and every audience, is let in.",
        "Add StringEquals on the issuer's :sub and :aud.",
    ),
    _error(
        "missing-subject",
        "No condition that pins the subject",
        "Every service account of the cluster is let in.",
        'Add StringEquals with ISSUER:sub and "system:serviceaccount:NAMESPACE:NAME".',
    ),
    _error(
        "wildcard-subject",
        "A subject with a wildcard before its last part",
        "Whoever can make a namespace in the cluster can have the role.",
        "Write each subject in full.",
    ),
    _warning(
        "namespace-subject",
        "A subject with a wildcard in the service account's name",
        "Whoever can make a service account in the namespace, or start a pod with one, can have the role.",
        "Write each subject in full; keep the wildcard only where the namespace has one owner.",
    ),
    _error(
        "missing-audience",
        "No condition that pins the audience",
        "A token that a pod got for another service will do, and that service holds it too.",
        'Add StringEquals with ISSUER:aud and "sts.amazonaws.com".',
    ),
    _error(
        "wildcard-audience",
        "An audience with a wildcard",
        "A token that was made for another service will do.",
        "Write the audience in full: sts.amazonaws.com, unless the provider lists another.",
    ),
    _warning(
        "needless-like",
        "StringLike where nothing is wild",
        "It reads as if something were, and the next * that is added counts.",
        "Write StringEquals.",
    ),
    _error(
        "literal-wildcard",
        "* or ? under an operator that compares literally",
        "Under StringEquals they are characters like others, and no subject or audience has them: it never matches.",
        "Write each value in full, or StringLike where the wildcard is meant.",
    ),
    _error(
        "if-exists",
        "An operator with IfExists",
        "Where the key is absent the condition holds, so a key with a slip in it lets everybody in.",
        "Write the operator without IfExists.",
    ),
    _error(
        "for-all-values",
        "ForAllValues on a key that may be absent",
        "Where the key is absent the condition holds, so a key with a slip in it lets everybody in.",
        "Write the operator without ForAllValues.",
    ),
    _warning(
        "for-any-value",
        "ForAnyValue on a key that has one value",
        "It says nothing that the operator does not say by itself, and hides what is meant.",
        "Write the operator without ForAnyValue.",
    ),
    _error(
        "negated-operator",
        "A negated operator in an Allow",
        "It allows everything that it does not name, and holds where the key is absent.",
        "Name what is allowed, with StringEquals; or forbid in a Deny statement.",
    ),
    _warning(
        "ignores-case",
        "An operator that ignores case, on a subject or audience",
        "Kubernetes names differ from nothing by case, and an audience that differs by case is another one.",
        "Write StringEquals.",
    ),
    _error(
        "issuer-mismatch",
        "A key of another issuer than the principal's",
        "The tokens of this provider never have it: the condition does not hold, or with IfExists keeps nobody out.",
        "Begin the key with the issuer of the provider in Principal.",
    ),
    _error(
        "unknown-key",
        "A key that is never there",
        "Of a cluster's tokens AWS gives :aud and :sub, beside sts:RoleSessionName and aws: keys, and no other claim.",
        "Ask for :sub and :aud; pod and node are not to be tested.",
    ),
    _error(
        "unknown-operator",
        "An operator that does not exist, or does not go with texts",
        "IAM refuses the policy, or the condition never holds.",
        "Write StringEquals; operators are spelled with these capitals.",
    ),
    _error(
        "subject-form",
        "A subject that no service account has",
        "It never matches: subjects are system:serviceaccount:NAMESPACE:NAME, in lower case.",
        "Write system:serviceaccount:NAMESPACE:NAME as `sts-broker token` shows it.",
    ),
    _error(
        "audience-form",
        "An audience with blanks, or with characters beyond ASCII",
        "It never matches, or is another one than it looks like.",
        "Write the audience as `sts-broker token` shows it, letter by letter: sts.amazonaws.com.",
    ),
    _error(
        "policy-variable",
        "A policy variable in a subject or audience",
        "What it stands for is decided by the request, not by the policy.",
        "Write each value in full.",
    ),
    _error(
        "key-not-of-action",
        "A condition key that one of the actions never has",
        "Each action is judged by itself, with its own keys: for that one the statement never applies.",
        "Write a statement for each action, with the keys that it has.",
    ),
)
_CHAINED = (
    _warning(
        "account-root",
        "A whole account may take the role",
        "Whatever that account lets call sts:AssumeRole has it, and who may is decided there.",
        "Name the ARN of the role that takes this one, or add ArnEquals aws:PrincipalArn.",
    ),
    _warning(
        "cross-account",
        "Another account's principal without a further condition",
        "Who serves several customers with that principal can be led to take this role for another (confused deputy).",
        "Add StringEquals sts:ExternalId, or a condition on aws:PrincipalArn or aws:PrincipalOrgID.",
    ),
)
RULES = {rule.id: rule for rule in (*_DOCUMENT, *_PRINCIPAL, *_ACTION, *_CONDITION, *_CHAINED)}
"""Every rule by its id, in the order of the documents."""
