"""The rules of `sts-broker trust lint` on conditions."""

from __future__ import annotations

from broker.trust.linter.rule import error, warning

CONDITION_RULES = (
    error(
        "no-condition",
        "An Allow for web identities without a condition",
        "The role admits every service account of the cluster, with any audience.",
        "Add StringEquals on the issuer's :sub and :aud keys.",
    ),
    error(
        "missing-subject",
        "No condition that restricts the subject",
        "The role admits every service account of the cluster, or every customer of a shared issuer.",
        'Add StringEquals with ISSUER:sub and "system:serviceaccount:NAMESPACE:NAME".',
    ),
    error(
        "wildcard-subject",
        "A subject with a wildcard before its last part",
        "Anyone who can create a namespace in the cluster, or is a customer of a shared issuer, can assume the role.",
        "Write each subject in full.",
    ),
    warning(
        "namespace-subject",
        "A subject with a wildcard in the service account's name",
        "Anyone who can create a service account in the namespace, or a pod that uses one, can assume the role.",
        "Write each subject in full; keep the wildcard only where the namespace has one owner.",
    ),
    error(
        "trust-domain-subject",
        "A pattern that covers a whole SPIFFE trust domain",
        "Every workload that gets an SVID, also of other teams and clusters, can assume the role.",
        "Write the SPIFFE ID of each workload in full.",
    ),
    error(
        "unowned-subject",
        "A subject of GitHub Actions that names no owner or repository",
        "Any repository of the issuer can be given subjects of this form; on github.com, that of any customer.",
        "Begin the subject with repo:OWNER/NAME, or add StringEquals on :repository_id or :repository_owner_id.",
    ),
    warning(
        "pull-request-subject",
        "The subject of pull requests",
        "Code of a pull request runs before anybody has reviewed it, and can assume the role.",
        "Trust a branch or an environment. Give pull requests a role of their own that can only read.",
    ),
    warning(
        "broad-subject",
        "A wildcard in a subject of GitHub Actions, GitLab, SPIFFE or another known provider",
        "The role admits every branch, pull request, job, project or workload that the pattern matches.",
        "Write each subject in full, or keep the wildcard next to a condition on an ID, such as :repository_id.",
    ),
    error(
        "missing-audience",
        "No condition that restricts the audience",
        "A token that a pod requested for another service is accepted, and that service can use it too.",
        'Add StringEquals with ISSUER:aud and "sts.amazonaws.com".',
    ),
    error(
        "wildcard-audience",
        "An audience with a wildcard",
        "A token for another service is accepted.",
        "Write the audience in full: sts.amazonaws.com, unless the provider lists another.",
    ),
    warning(
        "needless-like",
        "StringLike without a wildcard",
        "It suggests a wildcard where there is none, and a * that is added later takes effect.",
        "Write StringEquals.",
    ),
    error(
        "literal-wildcard",
        "* or ? under an operator that compares literally",
        "StringEquals compares * and ? literally, and no subject or audience contains them: it never matches.",
        "Write each value in full, or use StringLike where you want a wildcard.",
    ),
    error(
        "if-exists",
        "An operator with IfExists",
        "The condition matches where the key is absent, so a typo in the key admits everybody.",
        "Write the operator without IfExists.",
    ),
    error(
        "for-all-values",
        "ForAllValues on a key that may be absent",
        "The condition matches where the key is absent, so a typo in the key admits everybody.",
        "Write the operator without ForAllValues.",
    ),
    warning(
        "for-any-value",
        "ForAnyValue on a key that has one value",
        "It has no effect on a key with one value, and makes the condition harder to read.",
        "Write the operator without ForAnyValue.",
    ),
    error(
        "negated-operator",
        "A negated operator in an Allow",
        "It allows everything except what it names, and matches where the key is absent.",
        "List what is allowed with StringEquals, or use a Deny statement.",
    ),
    warning(
        "ignores-case",
        "A case-insensitive operator on a subject or audience",
        "Kubernetes names are lower case, and an audience with different case is a different audience.",
        "Write StringEquals.",
    ),
    error(
        "issuer-mismatch",
        "A condition key of another issuer than the principal's",
        "This provider's tokens never have the key: the condition fails or, with IfExists, restricts nobody.",
        "Start the key with the issuer of the provider in Principal.",
    ),
    error(
        "unknown-key",
        "A condition key that AWS doesn't list for these tokens",
        "Where the key is absent, the condition fails or, with IfExists, restricts nobody.",
        "Use :sub and :aud, or a key that docs/trust.md lists for the provider; you can't restrict a pod or a node.",
    ),
    error(
        "unknown-operator",
        "An operator that doesn't exist, or doesn't compare strings",
        "IAM rejects the policy, or the condition never matches.",
        "Write StringEquals; operator names are case-sensitive.",
    ),
    error(
        "arn-form",
        "A value under an ARN operator that isn't an ARN of six parts",
        "It matches no ARN. Under a negated operator, AWS doesn't document what it matches.",
        "Write arn:aws:iam::ACCOUNT:role/NAME, with wildcards inside its parts, or use a string operator.",
    ),
    error(
        "subject-form",
        "A subject that the issuer's tokens can't have",
        "It never matches. Clusters, GitHub, GitLab and SPIFFE each have subjects of one form.",
        "Write the subject as `sts-broker token` shows it. If the issuer is another one, pass --ignore subject-form.",
    ),
    error(
        "audience-form",
        "An audience with spaces, non-ASCII characters or more than 255 characters",
        "It never matches, or it differs from the audience that it looks like. IAM accepts no longer audience.",
        "Write the audience exactly as `sts-broker token` shows it: sts.amazonaws.com.",
    ),
    error(
        "policy-variable",
        "A policy variable in a subject or audience",
        "The request decides its value, not the policy.",
        "Write each value in full.",
    ),
    error(
        "key-not-of-action",
        "A condition key that one of the actions never has",
        "IAM evaluates each action separately, with its own keys: for that action the statement never applies.",
        "Write one statement for each action, with the keys that the action has.",
    ),
)
