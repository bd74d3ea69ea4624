"""Each module and example is formatted and valid, its own tests pass, and its README agrees with its files."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import boto3
import hcl2
import pytest

from sandbox.aws.account import MotoAccount, act_in
from tests.policies.templates import policy, template
from tests.terraform import on_moto, sources
from tests.terraform.tables import with_tables
from tests.terraform.workspace import (
    EXAMPLES,
    MODULES,
    ROOT,
    Workspace,
    needs_provider,
    needs_terraform,
    one_at_a_time,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = one_at_a_time
ROOTS = [*MODULES, *EXAMPLES]
each_root = pytest.mark.parametrize("root", ROOTS, ids=lambda path: path.name)
each_module = pytest.mark.parametrize("root", MODULES, ids=lambda path: path.name)
ACCOUNT = "123456789012"
RANGE = ">= 5.81, < 7.0"


@needs_terraform
def test_all_files_are_formatted(tree: Path) -> None:
    Workspace(directory=tree).must("fmt", "-check", "-diff", "-recursive", "terraform")


@needs_provider
@each_root
def test_own_tests_pass_with_the_real_provider(tree: Path, root: Path) -> None:
    workspace = Workspace(directory=tree / root.relative_to(ROOT))
    workspace.init()
    workspace.must("validate", "-no-color")
    assert "0 failed" in workspace.must("test", "-no-color").text


@each_root
def test_module_has_the_standard_files(root: Path) -> None:
    there = {path.name for path in root.iterdir()}
    assert there >= {"README.md", "main.tf", "outputs.tf", "tests", "variables.tf", "versions.tf"}
    assert list((root / "tests").glob("*.tftest.hcl"))


@each_root
def test_tables_of_the_readme_agree_with_the_code(root: Path) -> None:
    assert (root / "README.md").read_text() == with_tables(root), "run python -m tests.terraform.tables"
    assert "<!-- inputs -->" in with_tables(root)
    assert "<!-- outputs -->" in with_tables(root)


@each_module
def test_readme_of_a_module_has_every_table(root: Path) -> None:
    marked = re.findall(r"^## (\w+)\n\n<!-- (\w+) -->\n\|", (root / "README.md").read_text(), re.MULTILINE)
    assert marked == [
        (name.capitalize(), name) for name in ("requirements", "providers", "resources", "inputs", "outputs")
    ]


@each_module
def test_resources_table_has_every_resource_and_its_page_in_the_registry(root: Path) -> None:
    """Compared with the text of the files, not with the reader that made the table."""
    text = "\n".join(path.read_text() for path in root.glob("*.tf"))
    declared = re.findall(r'^(resource|data) "aws_(\w+)" "(\w+)" \{', text, re.MULTILINE)
    assert declared
    table = (root / "README.md").read_text().split("<!-- resources -->")[1].split("<!-- /resources -->")[0]
    page = "https://registry.terraform.io/providers/hashicorp/aws/latest/docs"
    kinds = {"resource": ("resources", "resource"), "data": ("data-sources", "data source")}
    for kind, type_, name in declared:
        folder, called = kinds[kind]
        assert f"| [aws_{type_}.{name}]({page}/{folder}/{type_}) | {called} | `" in table
    assert table.count("\n| [") == len(declared)
    repeated = re.findall(r"^  (count|for_each) += (.*)$", text, re.MULTILINE)
    assert sorted(re.findall(r"\| `(count|for_each) = (.*)` \|$", table, re.MULTILINE)) == sorted(repeated)


@each_root
def test_no_other_provider_is_needed(root: Path) -> None:
    (settings,) = sources.blocks(root, "terraform")
    (providers,) = settings["required_providers"]
    assert {name for name in providers if not name.startswith("__")} == {"aws"}
    assert sources.plain(providers["aws"]["source"]) == "hashicorp/aws"
    assert sources.plain(providers["aws"]["version"]) == RANGE
    resources = [*sources.blocks(root, "resource"), *sources.blocks(root, "data")]
    assert all(sources.plain(kind).startswith("aws_") for block in resources for kind in block)


@each_root
def test_each_variable_has_type_and_description_and_each_output_a_description(root: Path) -> None:
    for variable in sources.variables(root):
        assert variable.type, variable.name
        assert variable.description.endswith((".", "`")), variable.name
    for output in sources.outputs(root):
        assert output.description.endswith("."), output.name


@each_module
def test_each_variable_of_a_module_has_validations_with_advice(root: Path) -> None:
    for variable in sources.variables(root):
        assert variable.messages, variable.name
        for message in variable.messages:
            assert message.split()[0].rstrip(":,") == variable.name
            assert re.search(r"\. (Write|Take|Serve|If|Choose|Make|With|Give|Leave|Or) ", message), message


@each_root
def test_tree_has_no_leftovers_of_a_run(root: Path) -> None:
    assert not [path for path in root.rglob("*") if path.name.startswith(".terraform") or ".tfstate" in path.name]


def test_links_have_targets() -> None:
    for document in [*(ROOT / "terraform").rglob("*.md"), *(ROOT / "iam-policies").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document}: {target}"


@needs_provider
def test_snippets_of_the_module_readmes_work_together(tree: Path) -> None:
    """The snippets of the three READMEs, in one root module."""
    directory = tree / "terraform/examples/readmes"
    directory.mkdir()
    snippets = [block for one in MODULES for block in hcl_blocks(one)]
    assert len(snippets) == len(MODULES)
    (directory / "main.tf").write_text("\n".join(snippets))
    shutil.copy(ROOT / "terraform/examples/openshift/tests/jwks.json", directory / "jwks.json")
    (directory / "provider.tf").write_text('provider "aws" {\n  region = "eu-west-1"\n}\n')
    workspace = Workspace(directory=directory)
    account = MotoAccount()
    try:
        on_moto.point(workspace, account.url, act_in(ACCOUNT))
        workspace.init()
        create_provider(account)
        (command,) = re.findall(r"^terraform import (.*)$", (MODULES[0] / "README.md").read_text(), re.MULTILINE)
        workspace.must("import", "-no-color", "-input=false", *command.split())
        after = workspace.must("plan", "-no-color", "-input=false").text
    finally:
        account.stop()
    assert "Plan: 11 to add, 0 to change, 0 to destroy" in after
    assert "module.cluster.aws_iam_openid_connect_provider.this will be" not in after


def create_provider(account: MotoAccount) -> None:
    """Create the provider of the snippets in advance, as another tool may have done."""
    keys = act_in(ACCOUNT)
    with contextlib.closing(boto3.client("iam", endpoint_url=account.url, region_name="eu-west-1", **keys)) as iam:
        iam.create_open_id_connect_provider(Url="https://oidc.example/blue", ClientIDList=["sts.amazonaws.com"])


def hcl_blocks(module: Path) -> list[str]:
    return re.findall(r"```hcl\n(.*?)```", (module / "README.md").read_text(), re.DOTALL)


def test_git_has_no_lock_file_and_no_state() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    assert not [name for name in listed if ".terraform" in name or ".tfstate" in name]


def test_readme_has_the_number_of_clusters_that_fit_a_trust_policy() -> None:
    text = (ROOT / "terraform/modules/workload-role/README.md").read_text()
    issuer = f"oidc.eks.eu-west-1.amazonaws.com/id/{'0' * 32}"
    provider = f"arn:aws:iam::123456789012:oidc-provider/{issuer}"
    statement = policy(
        template("trust/statement"),
        provider_arn=provider,
        audience_key=f"{issuer}:aud",
        subject_key=f"{issuer}:sub",
        sid="TrustClusterBlue",
    )["Statement"][0]

    def fits(clusters: int) -> bool:
        document = {"Version": "2012-10-17", "Statement": [statement] * clusters}
        return len(json.dumps(document, separators=(",", ":"))) <= 2048

    count = max(number for number in range(1, 20) if fits(number))
    assert f"({count} EKS clusters with one service account each)" in " ".join(text.split())


def test_module_calls_in_documents_pass_existing_variables() -> None:
    documents = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "terraform").rglob("README.md")]
    blocks = [block for one in documents for block in re.findall(r"```hcl\n(.*?)```", one.read_text(), re.DOTALL)]
    calls = [body for block in blocks for call in hcl2.loads(block).get("module", []) for body in call.values()]
    seen = set()
    for call in (body for body in calls if isinstance(body, dict)):
        module = ROOT / "terraform/modules" / sources.plain(call["source"]).rpartition("/")[2]
        taken = sources.variables(module)
        given = {name for name in call if not name.startswith("__")} - {"source", "providers"}
        assert given <= {one.name for one in taken}
        assert given >= {one.name for one in taken if one.default is None}
        seen.add(module.name)
    assert seen == {one.name for one in MODULES}
