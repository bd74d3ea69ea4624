"""Trust policy statements for tests: good ones, and at least one for each rule of the linter."""

from __future__ import annotations

from typing import Any

ISSUER = "oidc.example/c"
GITHUB = "token.actions.githubusercontent.com"
ACCOUNT = "123456789012"
PROVIDER = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{ISSUER}"
SUB, AUD = f"{ISSUER}:sub", f"{ISSUER}:aud"
APP = "system:serviceaccount:demo:app"
WEB = "sts:AssumeRoleWithWebIdentity"
PINNED = {SUB: APP, AUD: "sts.amazonaws.com"}
ROLE = "arn:aws:iam::123456789012:role/base"
OTHER_ACCOUNT_ROLE = "arn:aws:iam::210987654321:role/base"
DELETED_ROLE_ID = "AROAJQABLZS4A3QDU576Q"


def web(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON values
    good = {
        "Effect": "Allow",
        "Principal": {"Federated": PROVIDER},
        "Action": WEB,
        "Condition": {"StringEquals": PINNED},
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def chained(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON values
    good = {
        "Effect": "Allow",
        "Principal": {"AWS": ROLE},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": "agreed"}},
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def saml(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON values
    good = {
        "Effect": "Allow",
        "Principal": {"Federated": "arn:aws:iam::123456789012:saml-provider/idp"},
        "Action": "sts:AssumeRoleWithSAML",
        "Condition": {"StringEquals": {"SAML:aud": "https://signin.aws.amazon.com/saml"}},
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def github(**operators: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON values
    """Return a statement for GitHub Actions with these conditions, and one that restricts the audience."""
    audience = {"StringEquals": {f"{GITHUB}:aud": "sts.amazonaws.com", **operators.pop("StringEquals", {})}}
    principal = {"Federated": PROVIDER.replace(ISSUER, GITHUB)}
    return web(Principal=principal, Condition={**audience, **operators})


def trusting(issuer: str, subject: str, audience: str | None = "sts.amazonaws.com") -> dict[str, Any]:
    """Return a statement for one subject, or a pattern of subjects, of an issuer."""
    operator = "StringLike" if "*" in subject else "StringEquals"
    conditions: dict[str, dict[str, str]] = {operator: {f"{issuer}:sub": subject}}
    if audience is not None:
        conditions.setdefault("StringEquals", {})[f"{issuer}:aud"] = audience
    return web(Principal={"Federated": PROVIDER.replace(ISSUER, issuer)}, Condition=conditions)


def where(**operators: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON values
    """Return a statement with these conditions, in addition to those that restrict subject and audience."""
    return web(
        Condition={"StringEquals": PINNED, **{name.replace("__", ":"): block for name, block in operators.items()}}
    )


def equals(**changes: object) -> dict[str, Any]:
    """Return a statement with another subject or audience; None leaves the key out."""
    named = {SUB: changes.get("sub", APP), AUD: changes.get("aud", "sts.amazonaws.com")}
    return web(Condition={"StringEquals": {key: value for key, value in named.items() if value is not None}})


def like(subject: object = APP, audience: object = "sts.amazonaws.com") -> dict[str, Any]:
    return web(Condition={"StringLike": {SUB: subject}, "StringEquals": {AUD: audience}})


BROKEN: list[tuple[str, dict[str, Any]]] = [
    ("unknown-element", web(Conditions={})),
    ("unknown-element", web(Resource="*")),
    ("unknown-element", web(effect="Allow")),
    ("malformed", web(Effect="allow")),
    ("malformed", web(Sid=7)),
    ("malformed", web(Action=None)),
    ("malformed", web(Action=7)),
    ("malformed", web(Principal=None)),
    ("malformed", web(Principal="me")),
    ("malformed", web(Principal={"Cluster": PROVIDER})),
    ("malformed", web(Condition="yes")),
    ("malformed", where(StringLike="x")),
    ("malformed", equals(sub=[])),
    ("malformed", equals(sub=[APP, 7])),
    ("malformed", where(Null={SUB: "maybe"})),
    ("sid", web(Sid="trust the cluster")),
    ("negated-element", web(Action=None, NotAction="sts:TagSession")),
    ("negated-element", web(Principal=None, NotPrincipal={"AWS": ROLE})),
    ("negated-element", web(NotResource="*")),
    ("any-principal", web(Principal="*")),
    ("any-principal", web(Principal={"Federated": "*"})),
    ("any-principal", chained(Principal={"AWS": [ROLE, "*"]})),
    ("other-principal", web(Principal={"Federated": "arn:aws:iam::123456789012:saml-provider/idp"})),
    ("other-principal", saml(Action=[WEB, "sts:AssumeRoleWithSAML"])),
    ("other-principal", saml(Principal={"Federated": ["arn:aws:iam::123456789012:saml-provider/idp", "x"]})),
    ("other-principal", saml(Principal={"Federated": "arn:aws:iam::123456789012:saml-provider/idp", "AWS": ROLE})),
    ("issuer-mismatch", web(Principal={"Federated": "accounts.google.com"})),
    ("other-account", web(Principal={"Federated": PROVIDER.replace("123456789012", "210987654321")})),
    ("arn-form", where(ArnLike={"aws:SourceArn": "*"})),
    ("arn-form", where(ArnNotEquals={"aws:SourceArn": ["arn:aws:iam::123456789012:role/app", "arn:aws:iam"]})),
    ("arn-form", web(Effect="Deny", Condition={"ArnNotLike": {"aws:SourceArn": "role/*"}})),
    ("arn-form", chained(Condition={"ArnLike": {"aws:PrincipalArn": "*"}})),
    ("broad-subject", github(StringLike={f"{GITHUB}:sub": "repo:octo/app:*"})),
    ("broad-subject", github(StringLike={f"{GITHUB}:sub": "repo:octo/*"})),
    ("broad-subject", github(StringLike={f"{GITHUB}:sub": "repo:octo@1/app@2:*"})),
    ("broad-subject", trusting("gitlab.com", "project_path:group/*")),
    ("broad-subject", trusting("gitlab.com", "job_project_path:group/*")),
    ("broad-subject", trusting("gitlab.com", "project_path:group/app:ref_type:branch:ref:*")),
    ("broad-subject", trusting("git.example.com", "project_path:group/app:*")),
    ("broad-subject", trusting("spire.example", "spiffe://td/ns/shop/*")),
    ("broad-subject", trusting("git.example/_services/token", "repo:octo/app:*")),
    ("wildcard-subject", trusting(GITHUB, "job_workflow_ref:octo/*")),  # any customer may call a public workflow
    ("wildcard-subject", trusting("gitlab.com", "project_path:*")),
    ("wildcard-subject", trusting("gitlab.com", "*:ref:main")),
    ("wildcard-subject", trusting("git.example.com", "project_path:*/app:ref_type:branch:ref:main")),
    ("wildcard-subject", trusting("git.example/_services/token", "repo:*")),
    ("trust-domain-subject", trusting("spire.example", "spiffe://td/*")),
    ("trust-domain-subject", trusting("spire.example", "spiffe://td*")),
    ("trust-domain-subject", trusting("spire.example", "spiffe://*/ns/shop/sa/cart")),
    ("unowned-subject", trusting(GITHUB, "environment:production")),
    ("unowned-subject", trusting(GITHUB, "ref:refs/heads/main")),
    ("unowned-subject", trusting(GITHUB, "repository_visibility:private")),
    ("unowned-subject", trusting("git.example/_services/token", "environment:production")),
    ("pull-request-subject", trusting(GITHUB, "repo:octo/app:pull_request")),
    ("pull-request-subject", trusting(GITHUB, "repo:octo@1/app@2:pull_request")),
    ("no-such-issuer", trusting("github.com", "repo:octo/app:ref:refs/heads/main")),
    ("no-such-issuer", trusting("vstoken.actions.githubusercontent.com", "repo:octo/app:ref:refs/heads/main")),
    ("no-such-issuer", trusting("octo.ghe.com", "repo:octo/app:ref:refs/heads/main")),
    ("no-such-issuer", trusting("gitlab.com/group", "project_path:group/app:ref_type:branch:ref:main")),
    ("subject-form", trusting(GITHUB, "octo/app:ref:refs/heads/main")),
    ("subject-form", trusting(GITHUB, "repo:octo/app:ref:main")),
    ("subject-form", trusting(GITHUB, "repo:octo:ref:refs/heads/main")),
    ("subject-form", trusting(GITHUB, "repo:octo@1/app:ref:refs/heads/main")),
    ("subject-form", trusting(GITHUB, "repo:octo@x/app@y:ref:refs/heads/main")),
    ("subject-form", trusting(GITHUB, "Repo:octo/app:ref:refs/heads/main")),
    ("subject-form", trusting("gitlab.com", "group/app")),
    ("subject-form", trusting("gitlab.com", "project_path:app:ref_type:branch:ref:main")),
    ("subject-form", trusting("gitlab.com", "project_path:group/app:ref_type:branch:ref:refs/heads/main")),
    ("subject-form", trusting("gitlab.com", "project_path:group/app:ref_type:heads:ref:main")),
    ("subject-form", trusting("spire.example", "spiffe://td")),
    ("subject-form", trusting("spire.example", "spiffe://TD/cart")),
    ("subject-form", trusting("spire.example", "spiffe://td/cart/")),
    ("subject-form", trusting("spire.example", "spiffe://td/a/../b")),
    ("subject-form", trusting("spire.example", "system:cart")),
    ("missing-audience", trusting(GITHUB, "repo:octo/app:ref:refs/heads/main", audience=None)),
    ("missing-audience", trusting("spire.example", "spiffe://td/cart", audience=None)),
    ("wildcard-subject", github(StringLike={f"{GITHUB}:sub": "repo:*/app:ref:refs/heads/main"})),
    ("unknown-key", github(StringEquals={f"{GITHUB}:repository_owner": "octo"})),
    ("other-principal", web(Principal={"AWS": ROLE})),
    ("other-principal", web(Principal={"Federated": PROVIDER, "AWS": ROLE})),
    ("several-providers", web(Principal={"Federated": [PROVIDER, PROVIDER + "2"]})),
    ("several-providers", web(Principal={"Federated": PROVIDER, "AWS": ROLE})),
    ("provider-spelling", web(Principal={"Federated": PROVIDER.replace(ISSUER, f"https://{ISSUER}")})),
    ("provider-spelling", web(Principal={"Federated": PROVIDER + "/"})),
    ("provider-spelling", web(Principal={"Federated": PROVIDER.replace("/c", ":8443/c")})),
    ("provider-spelling", web(Principal={"Federated": PROVIDER + "*"})),
    ("provider-spelling", where(StringLike={f"https://{ISSUER}:sub": "system:*"})),
    ("provider-spelling", where(StringEquals={**PINNED, f"{ISSUER}/:aud": "x"})),
    ("provider-spelling", where(StringEquals={**PINNED, "oidc.example:443/c:aud": "x"})),
    ("provider-spelling", web(Effect="Deny", Condition={"StringEquals": {f"https://{ISSUER}:sub": APP}})),
    ("principal-spelling", chained(Principal={"AWS": "arn:aws:iam::123456789012:role/*"})),
    ("principal-spelling", chained(Principal={"AWS": DELETED_ROLE_ID})),
    ("wide-action", web(Action="*")),
    ("wide-action", web(Action="sts:*")),
    ("wide-action", web(Action=["sts:AssumeRoleWith*"])),
    ("wide-action", chained(Action="sts:Assume*")),
    ("wide-action", saml(Action="sts:*")),
    ("wide-action", saml(Action="sts:AssumeRoleWithSAM?")),
    ("needless-action", web(Action=[WEB, "sts:AssumeRole"])),
    ("needless-action", web(Action=[WEB, "sts:TagSession"])),
    ("action-mismatch", web(Action="sts:AssumeRole")),
    ("action-mismatch", web(Action=[])),
    ("action-mismatch", web(Action=[WEB, "sts:GetCallerIdentity"])),
    ("action-mismatch", chained(Action="sts:AssumeRoleWithSAML")),
    ("no-condition", web(Condition=None)),
    ("no-condition", web(Condition={})),
    ("no-condition", web(Condition={"StringEquals": {}})),
    ("missing-subject", equals(sub=None)),
    ("missing-subject", where(StringEquals={AUD: "sts.amazonaws.com"}, StringEqualsIfExists={SUB: APP})),
    ("missing-subject", where(StringEquals={AUD: "sts.amazonaws.com"}, ForAllValues__StringEquals={SUB: APP})),
    ("missing-subject", where(StringEquals={AUD: "sts.amazonaws.com", "oidc.example/d:sub": APP})),
    ("missing-subject", where(StringEquals={AUD: "sts.amazonaws.com"}, Null={SUB: "false"})),
    ("missing-subject", where(StringEquals={AUD: "sts.amazonaws.com"}, StringNotEquals={SUB: "x"})),
    ("wildcard-subject", like("*")),
    ("wildcard-subject", like("system:serviceaccount:*:app")),
    ("wildcard-subject", like("system:serviceaccount:demo*")),
    ("wildcard-subject", like([APP, "system:serviceaccount:dem?:app"])),
    ("namespace-subject", like("system:serviceaccount:demo:*")),
    ("namespace-subject", like("system:serviceaccount:demo:app-?")),
    ("missing-audience", equals(aud=None)),
    ("wildcard-audience", web(Condition={"StringLike": {**PINNED, AUD: "sts.*"}})),
    ("needless-like", like()),
    ("needless-like", chained(Condition={"StringLike": {"sts:ExternalId": "agreed"}})),
    ("literal-wildcard", equals(sub="system:serviceaccount:demo:*")),
    ("literal-wildcard", equals(aud="sts.?")),
    ("literal-wildcard", web(Effect="Deny", Condition={"StringNotEquals": {SUB: "system:*"}})),
    ("literal-wildcard", chained(Condition={"StringEquals": {"sts:ExternalId": "agreed*"}})),
    ("if-exists", where(StringEqualsIfExists={"sts:RoleSessionName": "x"})),
    ("if-exists", chained(Condition={"StringEqualsIfExists": {"sts:ExternalId": "agreed"}})),
    ("for-all-values", where(ForAllValues__StringEquals={"sts:RoleSessionName": "x"})),
    ("for-any-value", where(ForAnyValue__StringEquals={SUB: APP})),
    ("negated-operator", where(StringNotEquals={SUB: "system:serviceaccount:demo:b"})),
    ("negated-operator", where(Null={SUB: "true"})),
    ("negated-operator", where(Null={AUD: [False, True]})),
    ("negated-operator", where(NotIpAddress={"aws:SourceIp": "10.0.0.0/8"})),
    ("negated-operator", chained(Condition={"ArnNotLike": {"aws:PrincipalArn": ROLE}})),
    ("ignores-case", where(StringEqualsIgnoreCase={SUB: APP})),
    ("issuer-mismatch", where(StringEquals={**PINNED, "oidc.example/d:sub": APP})),
    ("unknown-key", where(StringEquals={**PINNED, f"{ISSUER}:namespace": "demo"})),
    ("unknown-key", where(StringEquals={**PINNED, f"{ISSUER}:amr": "x"})),
    ("unknown-key", where(StringEquals={**PINNED, "aws:PrincipalOrgID": "o-1"})),
    ("unknown-key", where(StringEquals={**PINNED, "aws:RequestTag/team": "a"})),
    ("unknown-key", where(StringEquals={**PINNED, "sts:ExternalId": "a"})),
    ("unknown-key", where(StringEquals={**PINNED, "sub": APP})),
    ("unknown-key", chained(Condition={"StringEquals": {SUB: APP}})),
    ("unknown-operator", where(stringequals={SUB: APP})),
    ("unknown-operator", where(StringMatches={SUB: APP})),
    ("unknown-operator", where(NullIfExists={SUB: "true"})),
    ("unknown-operator", where(NumericEquals={SUB: "1"})),
    ("unknown-operator", where(ArnLike={SUB: "arn:*"})),
    ("unknown-operator", web(Effect="Deny", Condition={"stringLike": {SUB: APP}})),
    ("subject-form", equals(sub="demo:app")),
    ("subject-form", equals(sub="system:serviceaccount:demo")),
    ("subject-form", equals(sub="system:serviceaccount:demo:")),
    ("subject-form", equals(sub="system:serviceaccount::app")),
    ("subject-form", equals(sub="system:serviceaccount:Demo:app")),
    ("subject-form", equals(sub="system:serviceaccounts:demo:app")),
    ("subject-form", equals(sub=[APP, f"{APP} "])),
    ("subject-form", equals(sub=f"{APP}\n")),
    ("subject-form", web(Effect="Deny", Condition={"StringEquals": {SUB: "demo/app"}})),
    ("subject-form", equals(sub="system:serviceaccount:demo:\u0430pp")),
    ("audience-form", equals(aud="sts.amazonaws.com ")),
    ("audience-form", equals(aud=["sts.amazonaws.com", "sts.\u0430mazonaws.com"])),
    ("audience-form", equals(aud="")),
    ("audience-form", equals(aud="a" * 256)),
    ("audience-form", where(StringLike={AUD: "a\u00a0b"})),
    ("audience-form", web(Effect="Deny", Condition={"StringEquals": {AUD: "vault\n"}})),
    ("policy-variable", equals(sub="system:serviceaccount:${aws:PrincipalTag/ns}:app")),
    ("key-not-of-action", chained(Action=["sts:AssumeRole", "sts:TagSession"])),
    ("key-not-of-action", chained(Action=["sts:AssumeRole", "sts:SetSourceIdentity"])),
    ("key-not-of-action", chained(Action="sts:TagSession", Condition={"StringLike": {"sts:RoleSessionName": "a*"}})),
    ("account-root", chained(Principal={"AWS": "arn:aws:iam::123456789012:root"})),
    ("account-root", chained(Principal={"AWS": "210987654321"})),
    *(
        ("account-root", chained(Principal={"AWS": "123456789012"}, Condition={"ArnLike": {"aws:PrincipalArn": arn}}))
        for arn in ("arn:aws:iam::*:role/*", "arn:aws:iam::123456789012:*", "arn:*:*:*:*:*/?*", ["*"])
    ),
    ("cross-account", chained(Principal={"AWS": OTHER_ACCOUNT_ROLE}, Condition=None)),
    (
        "cross-account",
        chained(Principal={"AWS": OTHER_ACCOUNT_ROLE}, Condition={"StringLike": {"sts:ExternalId": "?*"}}),
    ),
    (
        "cross-account",
        chained(Principal={"AWS": OTHER_ACCOUNT_ROLE}, Condition={"StringLike": {"aws:PrincipalOrgID": "o-*"}}),
    ),
    (
        "cross-account",
        chained(Principal={"AWS": OTHER_ACCOUNT_ROLE}, Condition={"StringLike": {"aws:PrincipalOrgPaths": "o-?/*"}}),
    ),
    (
        "cross-account",
        chained(Principal={"AWS": OTHER_ACCOUNT_ROLE}, Condition={"StringLike": {"sts:ExternalId": "*"}}),
    ),
    (
        "cross-account",
        chained(Principal={"AWS": OTHER_ACCOUNT_ROLE}, Condition={"StringEqualsIfExists": {"sts:ExternalId": "a"}}),
    ),
]
"""The ID of a rule, and a statement that breaks it. The statement may break other rules too."""

CORRECT = (
    trusting(GITHUB, "repo:octo-org/octo-repo:ref:refs/heads/main"),
    trusting(GITHUB, "repo:octo-org/octo-repo:ref:refs/tags/v1.2.3"),
    trusting(GITHUB, "repo:octo-org/octo.repo_1:environment:Production%3AV1"),
    trusting(GITHUB, "repo:octo-org/octo-repo"),
    trusting(GITHUB, "repo:octo-org@123456/octo-repo@456789:ref:refs/heads/main"),
    trusting(GITHUB, "repo:octo_acme@123456/octo-repo@456789:environment:prod"),
    trusting(GITHUB, "repo:octo/app:environment:prod:job_workflow_ref:octo/ci/.github/workflows/a.yml@refs/heads/main"),
    trusting(GITHUB, "job_workflow_ref:octo-org/octo-automation/.github/workflows/oidc.yml@refs/heads/main"),
    trusting(GITHUB, "repository_owner:monalisa:repository_visibility:private"),
    trusting(GITHUB, "repository_owner:monalisa"),
    trusting(GITHUB, "repository_id:456789"),
    trusting(GITHUB, "enterprise_id:2"),
    trusting(f"{GITHUB}/octocat-inc", "repo:octocat-inc/private-server:ref:refs/heads/main"),
    trusting("token.actions.octocorp.ghe.com", "repo:octo/app:ref:refs/heads/main"),
    trusting("token.actions.octocorp.ghe.com/octocorp", "repo:octo/app:ref:refs/heads/main"),
    trusting("github.acme.example/_services/token", "repo:octo/app:ref:refs/heads/main"),
    github(StringEquals={f"{GITHUB}:sub": "environment:production", f"{GITHUB}:repository_id": "456789"}),
    github(StringEquals={f"{GITHUB}:repository_id": "456789", f"{GITHUB}:environment": "prod"}),
    trusting("gitlab.com", "project_path:my-group/my-project:ref_type:branch:ref:main"),
    trusting("gitlab.com", "project_path:my-group/sub/my.project:ref_type:tag:ref:v1.0"),
    trusting("gitlab.com", "project_path:my-group/my-project"),
    trusting("gitlab.com", "project_path:my-group/my-project:ref_type:branch:ref:feature/refs/x"),
    trusting("gitlab.com", "project_path:my-group/my-project:environment_protected:true"),
    trusting("gitlab.com", "job_project_path:my-group/my-project:ref_type:branch:ref:main"),
    trusting("gitlab.example.com", "project_id:20:ref_type:branch:ref:main"),
    trusting("gitlab.example.com", "project_path:my-group/my-project:ref_type:branch:ref:main"),
    trusting("oidc-discovery.example.org", "spiffe://example.org/ns/shop/sa/cart"),
    trusting("oidc-discovery.example.org", "spiffe://prod.example.org/cart_v1.2"),
    trusting("container.googleapis.com/v1/projects/p/locations/l/clusters/c", APP),
    trusting("westeurope.oic.prod-aks.azure.com/0000/1111/", APP),
)
"""Statements for CI systems, SPIRE and clouds, as their documentation shows them. None breaks a rule."""
