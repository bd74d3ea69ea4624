"""End to end, with the commands of the examples: terraform applies, and STS accepts the pod's token and no other.

The AWS account is moto. The sandbox's STS evaluates the applied policies. terraform and the broker are real.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from sandbox import Issuer, Sandbox
from sandbox.aws.account import act_in
from tests.sandbox.sts_client import Exchanger, unsigned_client
from tests.terraform.bucket_site import BucketSite
from tests.terraform.deployed import PARTNER_ACCOUNT, Deployed, deploy
from tests.terraform.workspace import copy_tree, needs_provider, one_at_a_time

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.program import Ended

pytestmark = [one_at_a_time, needs_provider]
ISSUER = "https://oidc.example/blue"
APP = "arn:aws:iam::123456789012:role/workload/payments-api"
PARTNER = f"arn:aws:iam::{PARTNER_ACCOUNT}:role/workload/payments-partner"
ALONE = {"AWS_ROLE_ARN": APP, "AWS_REGION": "eu-west-1"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a separate copy of the tree, whose overrides point at moto."""
    return copy_tree(tmp_path_factory.mktemp("applied"))


@pytest.fixture(scope="module")
def chain(tree: Path) -> Iterator[Deployed]:
    with Sandbox(issuer=ISSUER) as box:
        yield deploy(tree, "cross-account-chain", box)


def lint(*files: Path) -> subprocess.CompletedProcess[str]:
    """Run `sts-broker trust lint`."""
    return subprocess.run(
        [sys.executable, "-m", "broker", "trust", "lint", *map(str, files)],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )


def assert_lint_has_no_findings(deployed: Deployed) -> None:
    """Lint what was applied: each policy, and the state that contains them all."""
    files = [deployed.workspace.directory / "state.json"]
    files[0].write_text(deployed.workspace.must("show", "-json").out)
    for role, text in deployed.workspace.outputs()["trust_policies"].items():
        files.append(deployed.workspace.directory / f"{role}.trust.json")
        files[-1].write_text(text)
    linted = lint(*files)
    assert linted.returncode == 0, linted.stdout + linted.stderr
    assert linted.stdout == f"0 findings in {2 * len(files) - 2} trust policies\n"


def settings(chain: Deployed, **changes: Any) -> dict[str, str]:  # noqa: ANN401 - values of the profile
    """Return the environment for the README's `broker.yaml`, with these changes of the chained profile."""
    document = yaml.safe_load((chain.workspace.directory / "broker.yaml").read_text())
    default, partner = document["profiles"]
    changed = {name: value for name, value in {**partner, **changes}.items() if value is not None}
    file = chain.workspace.directory / "changed.yaml"
    file.write_text(yaml.safe_dump({"profiles": [default, changed]}))
    return {"BROKER_CONFIG": str(file)}


def reasons(ended: Ended) -> set[str]:
    return {line["reason"] for line in ended.lines if "reason" in line}


def test_pod_gets_both_roles_with_the_readmes_commands(chain: Deployed) -> None:
    ended = chain.once({"BROKER_CONFIG": str(chain.workspace.directory / "broker.yaml")})
    assert ended.code == 0, ended.err
    files = sorted(chain.published.glob("[!.]*.json"))
    accounts = {file.stem: json.loads(file.read_text())["AccountId"] for file in files}
    assert accounts == {"default": "123456789012", "partner": PARTNER_ACCOUNT}
    assert [call.role_arn for call in chain.box.sts.calls][-2:] == [APP, PARTNER]


@pytest.fixture(scope="module")
def sts(chain: Deployed) -> Iterator[Exchanger]:
    """Return a client that calls STS without a broker, which is faster for many cases."""
    with contextlib.closing(unsigned_client(chain.box)) as client:
        yield Exchanger(chain.box, client)


@pytest.mark.parametrize("service_account", ["demo:api", "payments:default"])
def test_other_namespace_or_service_account_is_denied(chain: Deployed, service_account: str) -> None:
    ended = chain.once(ALONE, service_account=service_account)
    assert ended.code == 4
    assert "role_denied" in reasons(ended)


@pytest.mark.parametrize("namespace", ["payments2", "payment", "Payments", "payments-api", "*", "payments:api", ""])
def test_similar_namespace_is_denied(chain: Deployed, sts: Exchanger, namespace: str) -> None:
    token = chain.box.issuer.mint(namespace=namespace, service_account="api")
    assert sts.refusal(RoleArn=APP, WebIdentityToken=token).code == "AccessDenied"


@pytest.mark.parametrize("name", ["api2", "ap", "API", "api:x", "*", "default", "", "api "])
def test_similar_service_account_is_denied(chain: Deployed, sts: Exchanger, name: str) -> None:
    token = chain.box.issuer.mint(namespace="payments", service_account=name)
    assert sts.refusal(RoleArn=APP, WebIdentityToken=token).code == "AccessDenied"


def test_named_subject_is_accepted_without_a_broker(chain: Deployed, sts: Exchanger) -> None:
    token = chain.box.issuer.mint(namespace="payments", service_account="api")
    assert sts.exchange(RoleArn=APP, WebIdentityToken=token)["AssumedRoleUser"]


def test_other_audience_is_rejected(chain: Deployed) -> None:
    audience = "sts.amazonaws.com.cn"
    token = chain.box.issuer.mint(namespace="payments", service_account="api", audience=audience)
    ended = chain.once({**ALONE, "BROKER_AUDIENCE": audience}, token)
    assert ended.code == 4
    assert "token_rejected" in reasons(ended)


@pytest.mark.parametrize("audience", ["sts.amazonaws.com.cn", "STS.amazonaws.com", "sts.amazonaws.com/", "openshift"])
def test_other_audience_is_refused_though_the_provider_has_it(chain: Deployed, sts: Exchanger, audience: str) -> None:
    token = chain.box.issuer.mint(namespace="payments", service_account="api", audience=audience)
    assert sts.refusal(RoleArn=APP, WebIdentityToken=token).code == "InvalidIdentityToken"
    chain.box.register_provider(chain.box.issuer, ("sts.amazonaws.com", audience))
    try:
        assert sts.refusal(RoleArn=APP, WebIdentityToken=token).code == "AccessDenied"
    finally:
        chain.box.register_provider(chain.box.issuer)


def test_other_issuer_is_denied(chain: Deployed) -> None:
    with Issuer(issuer="https://oidc.example/green") as other:
        arn = chain.box.register_provider(other)
        ended = chain.once(ALONE, other.mint(namespace="payments", service_account="api"))
        chain.box.iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    assert ended.code == 4
    assert "role_denied" in reasons(ended)


@pytest.mark.parametrize(
    "issuer",
    [f"{ISSUER}2", "https://oidc.example/blu", f"{ISSUER}/api", "https://oidc.example.evil.example/blue"],
)
def test_similar_issuer_is_denied_even_if_it_has_a_provider(chain: Deployed, sts: Exchanger, issuer: str) -> None:
    with Issuer(issuer=issuer) as other:
        token = other.mint(namespace="payments", service_account="api")
        assert sts.refusal(RoleArn=APP, WebIdentityToken=token).code == "InvalidIdentityToken"
        arn = chain.box.register_provider(other)
        try:
            assert sts.refusal(RoleArn=APP, WebIdentityToken=token).code == "AccessDenied"
        finally:
            chain.box.iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)


def test_issuer_with_the_same_name_and_other_keys_is_rejected(chain: Deployed) -> None:
    with Issuer(issuer=ISSUER) as impostor:
        token = impostor.mint(namespace="payments", service_account="api")
        ended = chain.once(ALONE, token)
    assert ended.code == 4
    assert "token_rejected" in reasons(ended)


@pytest.mark.parametrize(
    "changes",
    [
        {"external_id": "example-7f3e"},
        {"external_id": None},
        {"tags": {"team": "red"}},
        {"tags": None},
        {"tags": {"team": "blue", "secret": "x"}},
        {"source_identity": "payments-api2"},
        {"role_arn": f"arn:aws:iam::{PARTNER_ACCOUNT}:role/workload/payments-partner2"},
    ],
)
def test_chain_with_other_parameters_is_denied_and_its_source_is_published(
    chain: Deployed, changes: dict[str, Any]
) -> None:
    ended = chain.once(settings(chain, **changes))
    assert ended.code == 4
    assert "role_denied" in reasons(ended)
    assert (chain.published / "default.json").exists()
    assert not (chain.published / "partner.json").exists()


@pytest.mark.parametrize("changes", [{}, {"tags": {"team": "blue", "stage": "test"}}, {"source_identity": None}])
def test_chain_with_required_and_optional_parameters_is_accepted(chain: Deployed, changes: dict[str, Any]) -> None:
    ended = chain.once(settings(chain, **changes))
    assert ended.code == 0, ended.err


def test_other_role_of_the_account_cannot_chain(chain: Deployed) -> None:
    other = chain.box.create_role("stranger", subjects=["system:serviceaccount:payments:api"], may_assume=["*"])
    given = settings(chain)
    document = yaml.safe_load((chain.workspace.directory / "changed.yaml").read_text())
    document["profiles"][0]["role_arn"] = other
    (chain.workspace.directory / "changed.yaml").write_text(yaml.safe_dump(document))
    ended = chain.once(given)
    assert ended.code == 4
    assert "role_denied" in reasons(ended)


def test_second_plan_is_empty_lint_has_no_findings_and_destroy_leaves_nothing(chain: Deployed) -> None:
    chain.second_plan()
    assert_lint_has_no_findings(chain)
    chain.destroy()
    with chain.box.iam_client(PARTNER_ACCOUNT) as partner:
        for iam in (chain.box.iam, partner):
            assert not iam.list_roles(PathPrefix="/workload/")["Roles"]
    providers = chain.box.iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]
    assert not [one for one in providers if one["Arn"].endswith("oidc.example/blue")]


def test_lint_finds_a_wildcard(tmp_path: Path) -> None:
    wide = {"StringLike": {"oidc.example/blue:sub": "system:serviceaccount:*:api"}}
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": "arn:aws:iam::123456789012:oidc-provider/oidc.example/blue"},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": wide,
    }
    (tmp_path / "trust.json").write_text(json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    assert lint(tmp_path / "trust.json").returncode == 1


@pytest.mark.parametrize(
    ("example", "account", "issuer", "service_account"),
    [
        ("eks", "222222222222", "https://oidc.eks.eu-west-1.amazonaws.com/id/0123456789ABCDEF", "payments:api"),
        ("multi-cluster", "333333333333", "https://oidc.example/green", "orders:retry"),
    ],
    ids=["eks", "multi-cluster"],
)
def test_commands_of_the_other_readmes_work(
    tree: Path, example: str, account: str, issuer: str, service_account: str
) -> None:
    """Each example has its own account, which ends with the process. The test above covers the slow destroy."""
    with Sandbox(issuer=issuer) as box:
        deployed = deploy(tree, example, box, {"aws": f"#!/bin/sh\necho {issuer}\n"}, account=account)
        outputs = deployed.workspace.outputs()
        environment, text = outputs["broker_environment"], outputs["broker_container_env"]
        assert deployed.printed.endswith(text)
        assert {one["name"]: one["value"] for one in yaml.safe_load(text)} == environment
        assert deployed.once(environment, service_account=service_account).code == 0
        assert deployed.once(environment, service_account=f"{service_account}2").code == 4
        assert_lint_has_no_findings(deployed)


def test_self_hosted_issuer_supports_a_key_rotation(tree: Path) -> None:
    bucket = "issuer-blue-123456789012"
    issuer = f"https://{bucket}.s3.eu-west-1.amazonaws.com"
    account = "444444444444"
    # moto ignores the conditions of a Deny, and would deny everybody; the tests of plans use the unchanged policy.
    _keep_only_allow(tree / "iam-policies/issuer/bucket-public.json.tftpl")
    (tree / "terraform/examples/openshift/terraform.tfvars.json").write_text('{"access": "public"}')
    with (
        Sandbox(issuer=issuer) as box,
        contextlib.closing(box.boto3_client("s3", **act_in(account))) as s3,
        BucketSite(s3, bucket) as site,
    ):
        old, before = box.issuer.key_ids[0], box.issuer.mint(namespace="payments", service_account="api")
        box.issuer.add_key()
        cluster = _make_oc(box, tree)
        deployed = deploy(tree, "openshift", box, {"oc": cluster}, account=account)
        box.addresses[issuer] = site.url
        patch = json.loads((deployed.workspace.directory / "patched").read_text())
        assert patch == {"spec": {"serviceAccountIssuer": issuer}}
        environment = deployed.workspace.outputs()["broker_environment"]
        assert deployed.once(environment, before).code == 0
        assert deployed.once(environment).code == 0
        operators = box.issuer.mint(namespace="payments", service_account="api", audience="openshift")
        assert "role_denied" in reasons(deployed.once({**environment, "BROKER_AUDIENCE": "openshift"}, operators))
        assert_lint_has_no_findings(deployed)
        assert documents(s3, bucket) == rendered_by_broker(deployed, issuer)
        box.issuer.retire_key(old)
        _make_oc(box, tree)
        assert "0 added, 1 changed, 0 destroyed" in deployed.apply().text
        assert documents(s3, bucket) == rendered_by_broker(deployed, issuer)
        assert "token_rejected" in reasons(deployed.once(environment, before))
        assert deployed.once(environment).code == 0


def documents(s3: Any, bucket: str) -> dict[str, Any]:  # noqa: ANN401 - a boto3 client
    """Return the published documents by path."""
    listed = [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    return {key: sort_keys(json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())) for key in listed}


def rendered_by_broker(deployed: Deployed, issuer: str) -> dict[str, Any]:
    """Return the documents that `sts-broker issuer render` writes."""
    directory = deployed.workspace.directory / "site"
    arguments = ["--issuer", issuer, "--output", str(directory), "--jwks", "jwks.json"]
    subprocess.run(
        [sys.executable, "-m", "broker", "issuer", "render", *arguments],
        cwd=deployed.workspace.directory,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        check=True,
    )
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {str(path.relative_to(directory)): sort_keys(json.loads(path.read_text())) for path in files}


def sort_keys(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document with its keys sorted by ID."""
    return {**document, "keys": sorted(document.get("keys", []), key=lambda key: str(key["kid"]))}


def _make_oc(box: Sandbox, tree: Path) -> str:
    """Write a cluster's key document; return a script for `oc` that prints it and saves a patch."""
    keys = {"keys": [key.public_document() for key in box.issuer._keys]}
    example = tree / "terraform/examples/openshift"
    (example / "cluster.json").write_text(json.dumps(keys))
    if (example / "jwks.json").exists():
        (example / "jwks.json").write_text(json.dumps(keys))
    return '#!/bin/sh\ncase $1 in get) cat cluster.json ;; patch) shift 5; echo "$1" > patched ;; esac\n'


def _keep_only_allow(path: Path) -> None:
    document, separator = path.read_text(), ',\n    {\n      "Sid": "DenyPlainHttp"'
    allowed, _, _ = document.partition(separator)
    path.write_text(f"{allowed}\n  ]\n}}\n")
