"""Policies are found in files and in Terraform plans with nested modules; unreadable inputs are reported."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from broker.trust.sources import Sources, find_sources

if TYPE_CHECKING:
    from pathlib import Path

TRUST = json.dumps({"Version": "2012-10-17", "Statement": {"Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}})
OTHER = json.dumps({"Version": "2012-10-17", "Statement": {"Principal": {"AWS": "1"}, "Action": "sts:AssumeRole"}})
PERMISSIONS = json.dumps({"Statement": {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}})
BUCKET = json.dumps({"Statement": {"Principal": "*", "Action": "s3:GetObject", "Resource": "*"}})


def role(address: str, policy: object) -> dict[str, Any]:
    return {"address": address, "type": "aws_iam_role", "mode": "managed", "values": {"assume_role_policy": policy}}


def document(address: str, text: object) -> dict[str, Any]:
    return {"address": address, "type": "aws_iam_policy_document", "mode": "data", "values": {"json": text}}


def module(*resources: dict[str, Any], children: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    return {"resources": list(resources), "child_modules": [{"address": "module.x", **child} for child in children]}


def plan(root: dict[str, Any], **more: object) -> dict[str, Any]:
    return {"format_version": "1.2", "terraform_version": "1.11.4", "planned_values": {"root_module": root}, **more}


def change(address: str, before: object, after: object, *, unknown: bool = False) -> dict[str, Any]:
    values = {} if unknown else {"assume_role_policy": after}
    return {
        "address": address,
        "type": "aws_iam_role",
        "change": {
            "actions": ["update"],
            "before": {"assume_role_policy": before},
            "after": None if after is None and not unknown else values,
            "after_unknown": {"assume_role_policy": True} if unknown else {},
        },
    }


def find(tmp_path: Path, content: object) -> Sources:
    path = tmp_path / "input.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1))
    return find_sources([str(path)])


def addresses(sources: Sources) -> list[str]:
    return [source.address for source in sources.policies]


def test_policy_file_is_a_source(tmp_path: Path) -> None:
    (source,) = find(tmp_path, TRUST).policies
    assert (source.text, source.address, source.line) == (TRUST, "", 1)
    assert source.place == source.file == str(tmp_path / "input.json")


def test_roles_are_found_in_modules_within_modules(tmp_path: Path) -> None:
    inner = module(role("module.a.module.b.aws_iam_role.c[0]", OTHER))
    sources = find(tmp_path, plan(module(role("aws_iam_role.a", TRUST), children=(module(children=(inner,)),))))
    assert addresses(sources) == ["aws_iam_role.a", "module.a.module.b.aws_iam_role.c[0]"]
    assert [source.text for source in sources.policies] == [TRUST, OTHER]
    assert sources.faults == sources.notes == []


def test_policy_in_a_plan_has_the_line_of_the_plan(tmp_path: Path) -> None:
    (source,) = find(tmp_path, plan(module(role("aws_iam_role.a", TRUST)))).policies
    lines = (tmp_path / "input.json").read_text().splitlines()
    assert '"assume_role_policy"' in lines[source.line - 1]
    assert source.place == f"{tmp_path / 'input.json'} (aws_iam_role.a)"


def test_role_in_planned_values_and_changes_is_found_once(tmp_path: Path) -> None:
    content = plan(module(role("aws_iam_role.a", TRUST)), resource_changes=[change("aws_iam_role.a", OTHER, TRUST)])
    sources = find(tmp_path, content)
    assert [(source.address, source.text) for source in sources.policies] == [("aws_iam_role.a", TRUST)]


def test_role_in_changes_only_is_found(tmp_path: Path) -> None:
    sources = find(tmp_path, {"terraform_version": "1", "resource_changes": [change("aws_iam_role.a", OTHER, TRUST)]})
    assert [(source.address, source.text) for source in sources.policies] == [("aws_iam_role.a", TRUST)]


def test_role_without_a_policy_text_is_skipped(tmp_path: Path) -> None:
    assert addresses(find(tmp_path, plan(module(role("aws_iam_role.a", None), role("aws_iam_role.b", ""))))) == []


def test_input_over_the_size_limit_is_a_fault() -> None:
    assert find_sources(["/dev/zero"]).faults == ["/dev/zero: larger than 64,000,000 bytes"]


def test_destroyed_role_is_skipped(tmp_path: Path) -> None:
    sources = find(tmp_path, {"terraform_version": "1", "resource_changes": [change("aws_iam_role.a", TRUST, None)]})
    assert sources.policies == []


def test_former_policies_are_skipped(tmp_path: Path) -> None:
    """A plan contains former policies too: of roles that are destroyed, changed, or drifted."""
    before = module(role("aws_iam_role.goes", TRUST), role("aws_iam_role.changes", TRUST))
    content = plan(
        module(),
        resource_drift=[change("aws_iam_role.drifted", OTHER, TRUST)],
        resource_changes=[
            change("aws_iam_role.goes", TRUST, None),
            change("aws_iam_role.changes", TRUST, None, unknown=True),
        ],
        prior_state={"values": {"root_module": before}},
    )
    sources = find(tmp_path, content)
    assert sources.policies == []
    assert [note.partition("policy of ")[2] for note in sources.unknown] == [
        "aws_iam_role.changes is unknown until the plan is applied"
    ]


def test_failed_plan_is_a_fault(tmp_path: Path) -> None:
    sources = find(tmp_path, plan(module(role("aws_iam_role.a", TRUST)), errored=True))
    assert sources.policies == []
    assert sources.faults == [
        f"{tmp_path / 'input.json'}: the Terraform plan failed, so it is incomplete; plan again without errors"
    ]


def test_unknown_policy_is_noted(tmp_path: Path) -> None:
    content = plan(module(), resource_changes=[change("aws_iam_role.a", None, None, unknown=True)])
    sources = find(tmp_path, content)
    assert sources.policies == []
    (note,) = sources.unknown
    assert note.endswith("the trust policy of aws_iam_role.a is unknown until the plan is applied")


def test_document_is_found_only_where_no_role_uses_it(tmp_path: Path) -> None:
    pretty = json.dumps(json.loads(TRUST), indent=2)
    state = {"root_module": module(document("data.x.used", pretty), document("data.x.apart", OTHER))}
    sources = find(tmp_path, plan(module(role("aws_iam_role.a", TRUST)), prior_state={"values": state}))
    assert addresses(sources) == ["aws_iam_role.a", "data.x.apart"]


def test_documents_that_are_not_trust_policies_are_skipped(tmp_path: Path) -> None:
    documents = [document(f"data.x.{number}", text) for number, text in enumerate([PERMISSIONS, BUCKET, "{", 7, "[]"])]
    sources = find(tmp_path, plan(module(*documents)))
    assert sources.policies == []
    assert sources.notes == [f"{tmp_path / 'input.json'}: the plan has no trust policy"]


@pytest.mark.parametrize(("accounts", "known"), [(["123456789012"], "123456789012"), (["1", "2"], ""), ([], "")])
def test_account_is_the_only_one_in_the_plan(tmp_path: Path, accounts: list[str], known: str) -> None:
    identities = [
        {"address": f"data.y.{number}", "type": "aws_caller_identity", "values": {"account_id": account}}
        for number, account in enumerate(accounts)
    ]
    (source,) = find(tmp_path, plan(module(role("aws_iam_role.a", TRUST), *identities))).policies
    assert source.account == known


def test_state_is_read_like_a_plan(tmp_path: Path) -> None:
    state = {"terraform_version": "1", "values": {"root_module": module(role("aws_iam_role.a", TRUST))}}
    assert addresses(find(tmp_path, state)) == ["aws_iam_role.a"]


def test_all_faults_of_all_files_are_reported(tmp_path: Path) -> None:
    contents = {
        "broken": b"{",
        "binary": b"\x80",
        "marked": b"\xef\xbb\xbf" + TRUST.encode(),
        "wide": TRUST.encode("utf-16"),
        "empty": b" \n",
        "other": b'{"a": 1}',
        "role": json.dumps({"Role": {"AssumeRolePolicyDocument": json.loads(TRUST)}}).encode(),
        "log": b"{}\n{}",
        "good": TRUST.encode(),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    paths = [str(tmp_path / name) for name in ("none", ".", *contents)]
    sources = find_sources([*paths, *paths])
    assert [fault.removeprefix(f"{tmp_path}/") for fault in sources.faults] == [
        "none: No such file or directory",
        f"{tmp_path}: Is a directory",
        "broken: invalid JSON at line 1, column 2: expected a key in double quotes",
        "binary: not a UTF-8 text",
        "marked: the file begins with a byte order mark; save it as UTF-8 without one",
        "wide: the encoding is UTF-16; save the file as UTF-8",
        "empty: the file is empty",
        "other: neither a policy with a Statement, nor the output of `terraform show -json`",
        (
            "role: neither a policy with a Statement, nor the output of `terraform show -json`; "
            "for a role, pass the output of --query Role.AssumeRolePolicyDocument"
        ),
        "log: invalid JSON at line 2, column 1: text after the end of the value",
    ]
    assert [source.text for source in sources.policies] == [TRUST]
