"""The rules of `sts-broker trust lint`. Each has a stable ID, a severity, the reason why it matters, and a fix.

The meaning of an ID does not change within a major version. An error means that the policy admits an unintended caller,
or no caller at all. A warning is a risk, or a broader grant than needed. docs/trust.md contains this table; a test
compares the two.
"""

from __future__ import annotations

from broker.trust.linter.condition_rules import CONDITION_RULES
from broker.trust.linter.rule import error, warning

_DOCUMENT = (
    error(
        "duplicate-key",
        "A key appears twice in one object, or twice in one condition with different case",
        "JSON parsers differ in which value they keep: IAM may enforce another condition than the one you read.",
        "Keep one of the keys; write several values of one key as a list.",
    ),
    warning(
        "version",
        "Version is missing or old",
        "Without Version 2012-10-17, IAM applies the policy language of 2008.",
        'Write "Version": "2012-10-17".',
    ),
    warning(
        "too-long",
        "The policy exceeds IAM's default quota for a trust policy",
        "IAM rejects trust policies of more than 2,048 characters without white space, unless the quota is raised.",
        "Combine subjects with the same issuer and audience in one statement, or split them across several roles.",
    ),
    warning(
        "no-allow",
        "No statement allows anything",
        "Nobody can assume this role.",
        "Add an Allow statement for the intended caller, or a condition to the Deny statement that overrides it.",
    ),
    error(
        "unknown-element",
        "An element that isn't valid in a trust policy",
        "IAM rejects the policy, or what looks like a condition has no effect.",
        "Use only Sid, Effect, Principal, Action and Condition, with this capitalization.",
    ),
    error(
        "malformed",
        "An element with a value of the wrong type",
        "IAM rejects the policy, or the statement never applies.",
        "Effect is Allow or Deny; actions and values are strings or lists; Condition maps operators to keys.",
    ),
    warning(
        "sid",
        "A Sid that isn't unique, or has characters other than letters and digits",
        "IAM may reject the policy, and findings don't identify the statement.",
        "Give each statement a unique Sid of letters and digits.",
    ),
    error(
        "negated-element",
        "NotAction, NotPrincipal or NotResource",
        "It allows everything except what it names, including actions and principals added later.",
        "List what is allowed with Action and Principal.",
    ),
)
_PRINCIPAL = (
    error(
        "any-principal",
        "Principal is everybody",
        "Any principal of any AWS account that meets the conditions can assume the role.",
        "Name the OIDC provider or, for a chained role, the ARN of the role that assumes it.",
    ),
    error(
        "other-principal",
        "A statement for web identities with a principal that isn't an IAM OIDC provider",
        "A cluster's tokens come from an OIDC provider; any other principal is admitted without such a token.",
        "Name the ARN of the cluster's OIDC provider: arn:aws:iam::ACCOUNT:oidc-provider/ISSUER.",
    ),
    error(
        "other-account",
        "A provider of another account than the role's",
        "STS looks for the provider in the role's account, so this statement never applies.",
        "Name the provider of the role's account; each account has a provider of its own for the issuer.",
    ),
    error(
        "several-providers",
        "Several principals in a statement for web identities",
        "Each condition key belongs to one issuer, so it doesn't restrict the tokens of the other providers.",
        "Write one statement for each provider.",
    ),
    error(
        "other-issuer",
        "A provider other than the expected one",
        "The role admits tokens of another issuer.",
        "Name the provider of the issuer that you passed with --issuer.",
    ),
    error(
        "provider-spelling",
        "A provider or condition key that isn't spelled as IAM spells issuers",
        "IAM identifies an issuer by host and path: with https://, a port or a trailing slash it never matches.",
        "Write the issuer without https:// and without anything after its path.",
    ),
    error(
        "no-such-issuer",
        "An address of GitHub or GitLab that isn't an issuer",
        "No token has it as its iss claim, so the statement never applies.",
        "Write token.actions.githubusercontent.com, token.actions.NAME.ghe.com, HOST/_services/token or gitlab.com.",
    ),
    error(
        "principal-spelling",
        "A principal that isn't an ARN, an account ID or *",
        "IAM rejects it, or it never matches: wildcards inside a principal aren't supported.",
        "Name the role's full ARN; for a pattern, name the account and add ArnLike aws:PrincipalArn with the pattern.",
    ),
)
_ACTION = (
    error(
        "wide-action",
        "A wildcard in Action",
        "It allows every way to assume the role, including actions that STS adds later.",
        "Write sts:AssumeRoleWithWebIdentity or, for a chained role, sts:AssumeRole.",
    ),
    warning(
        "needless-action",
        "More actions than needed",
        "A cluster's tokens need only sts:AssumeRoleWithWebIdentity: they carry no session tags or source identity.",
        "Write only sts:AssumeRoleWithWebIdentity.",
    ),
    error(
        "action-mismatch",
        "An action that the principal can't use, or that isn't an STS action",
        "It never applies: OIDC providers use sts:AssumeRoleWithWebIdentity, roles and users sts:AssumeRole.",
        "Write the action that belongs to the principal.",
    ),
)
_CHAINED = (
    warning(
        "account-root",
        "A whole account can assume the role",
        "Every principal that the account allows sts:AssumeRole can assume it; the account decides who that is.",
        "Name the ARN of the role that assumes this one, or add ArnEquals aws:PrincipalArn.",
    ),
    warning(
        "cross-account",
        "A principal of another account without a further condition",
        "If that principal serves several customers, another customer can make it assume this role (confused deputy).",
        "Add StringEquals sts:ExternalId, or a condition on aws:PrincipalArn or aws:PrincipalOrgID.",
    ),
)
RULES = {rule.id: rule for rule in (*_DOCUMENT, *_PRINCIPAL, *_ACTION, *CONDITION_RULES, *_CHAINED)}
"""Every rule by its ID, in the order of the documentation."""
