"""State files as Terraform stores them are read: roles, modules, indexes and the account."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from broker.trust.commands import LintOptions, lint_files
from broker.trust.sources import Sources, find_sources

if TYPE_CHECKING:
    from pathlib import Path

ACCOUNT = "123456789012"
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
    }
)


def resource(
    kind: str, name: str, *instances: dict[str, Any], mode: str = "managed", module: str = ""
) -> dict[str, Any]:
    where = {"module": module} if module else {}
    provider = 'provider["registry.terraform.io/hashicorp/aws"]'
    return {**where, "mode": mode, "type": kind, "name": name, "provider": provider, "instances": list(instances)}


def instance(index: object = None, **attributes: object) -> dict[str, Any]:
    place = {} if index is None else {"index_key": index}
    return {**place, "schema_version": 0, "attributes": attributes, "sensitive_attributes": []}


def state(*resources: dict[str, Any], **changes: object) -> dict[str, Any]:
    stored = {"version": 4, "terraform_version": "1.9.8", "serial": 7, "lineage": "a-b", "outputs": {}}
    return {**stored, "resources": list(resources), "check_results": None, **changes}


def find(tmp_path: Path, content: dict[str, Any]) -> Sources:
    path = tmp_path / "terraform.tfstate"
    path.write_text(json.dumps(content, indent=2))
    return find_sources([str(path)])


def test_roles_are_found_with_their_addresses_and_lines(tmp_path: Path) -> None:
    content = state(
        resource("aws_iam_role", "one", instance(assume_role_policy=TRUST)),
        resource(
            "aws_iam_role", "many", instance(0, assume_role_policy=TRUST), instance("a", assume_role_policy=TRUST)
        ),
        resource("aws_iam_role", "deep", instance(assume_role_policy=TRUST), module='module.x["y"]'),
        resource("aws_s3_bucket", "other", instance(bucket="b")),
    )
    sources = find(tmp_path, content)
    assert [one.address for one in sources.policies] == [
        "aws_iam_role.one",
        "aws_iam_role.many[0]",
        'aws_iam_role.many["a"]',
        'module.x["y"].aws_iam_role.deep',
    ]
    lines = (tmp_path / "terraform.tfstate").read_text().splitlines()
    assert all("assume_role_policy" in lines[one.line - 1] for one in sources.policies)
    assert (sources.faults, sources.unknown, sources.notes) == ([], [], [])


def test_deposed_instance_is_skipped(tmp_path: Path) -> None:
    old = {**instance(assume_role_policy=TRUST), "deposed": "0a1b2c3d"}
    assert find(tmp_path, state(resource("aws_iam_role", "one", old))).policies == []


@pytest.mark.parametrize("known_from", ["role", "identity"])
def test_account_is_that_of_the_role_or_of_the_caller(tmp_path: Path, known_from: str) -> None:
    arn = {"arn": f"arn:aws:iam::{ACCOUNT}:role/one"} if known_from == "role" else {}
    identity = resource("aws_caller_identity", "me", instance(account_id=ACCOUNT), mode="data")
    others = [identity] if known_from == "identity" else []
    content = state(resource("aws_iam_role", "one", instance(assume_role_policy=TRUST, **arn)), *others)
    (source,) = find(tmp_path, content).policies
    assert source.account == ACCOUNT


def test_document_that_no_role_uses_is_found(tmp_path: Path) -> None:
    content = state(
        resource("aws_iam_role", "one", instance(assume_role_policy=TRUST)),
        resource("aws_iam_policy_document", "used", instance(json=TRUST), mode="data"),
        resource("aws_iam_policy_document", "apart", instance(json=TRUST.replace("*", ACCOUNT)), mode="data"),
    )
    addresses = [one.address for one in find(tmp_path, content).policies]
    assert addresses == ["aws_iam_role.one", "data.aws_iam_policy_document.apart"]


def test_weak_role_in_a_state_file_is_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    find(tmp_path, state(resource("aws_iam_role", "one", instance(assume_role_policy=TRUST))))
    assert lint_files([str(tmp_path / "terraform.tfstate")], LintOptions()) == 1
    assert "[any-principal]" in capsys.readouterr().out


def test_state_without_roles_is_noted(tmp_path: Path) -> None:
    assert [one.rpartition(": ")[2] for one in find(tmp_path, state()).notes] == ["the plan has no trust policy"]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (state(version=3, modules=[]), "a state file of version 3, not 4; pass the output of `terraform show -json`"),
        ({"serial": 1, "lineage": "x"}, "a state file of no version, not 4"),
        ({"serial": 1, "lineage": "x", "encrypted_data": "e30="}, "the state is encrypted; pass the output of `tofu"),
    ],
)
def test_state_that_cannot_be_read_is_a_fault(tmp_path: Path, content: dict[str, Any], fault: str) -> None:
    sources = find(tmp_path, content)
    assert sources.policies == []
    assert fault in sources.faults[0]
