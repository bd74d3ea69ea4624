"""README, docs pages and repository files agree with the code, and their examples work."""

from __future__ import annotations

import re
import tomllib
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import yaml

from broker.cli.main import main
from broker.core.errors import EXIT_BUG, BrokerError
from broker.core.model import ENDPOINT_TOKEN_FILE, Secret
from broker.core.schedule import Reason
from broker.publish.file_sink import FileSink
from broker.publish.state_file import STATE_FILE
from broker.runtime import logs
from broker.settings.loader import load
from tests.docs import tables
from tests.docs.anchors import anchors
from tests.support.fakes import FakeClock, make_generation, make_profile

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
OPERATIONS = (ROOT / "docs/operations.md").read_text()
CHAINED_ROLES = (ROOT / "docs/chained-roles.md").read_text()
METRICS = (ROOT / "docs/metrics.md").read_text()
SDKS = (ROOT / "docs/sdks.md").read_text()
SETTINGS = (ROOT / "docs/settings.md").read_text()
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / ".github").rglob("*.md")),
]
MANIFEST, PROFILES = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL))
BROKER = MANIFEST["spec"]["initContainers"][0]


def read_yaml_block(page: str) -> Any:  # noqa: ANN401 - what YAML contains
    """Return the document of the page's only YAML example."""
    (block,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    return yaml.safe_load(block)


def load_document(document: object, directory: Path) -> Any:  # noqa: ANN401 - what load returns
    """Return the configuration that this settings file makes."""
    path = directory / "broker.yaml"
    path.write_text(yaml.safe_dump(document))
    return load({"BROKER_CONFIG": str(path)})


def environment(container: dict[str, Any]) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in container["env"]}


def test_settings_table_is_the_schema() -> None:
    assert tables.settings_table() in SETTINGS


def test_metrics_table_is_what_a_scrape_yields() -> None:
    assert tables.metrics_table() in METRICS


def test_reasons_table_is_the_taxonomy() -> None:
    assert tables.reasons_table() in OPERATIONS


@pytest.mark.parametrize("name", sorted(tables.TABLES))
def test_table_is_written_into_its_page(name: str) -> None:
    page, table = (ROOT / name).read_text(), tables.TABLES[name]()
    head, rule, *rows = table.splitlines()
    stale = page.replace(table, "\n".join([head, rule, rows[0]]))
    assert stale != page
    assert tables.with_table(stale, table) == page


def test_page_without_the_table_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"^0 tables begin with "):
        tables.with_table("no table\n", tables.metrics_table())


def test_every_reason_has_something_to_do() -> None:
    for row in tables.reasons_table().splitlines()[2:]:
        assert f"\n### {row.split('`')[1]}\n\n" in OPERATIONS
    for reason in (
        Reason.NO_CREDENTIALS,
        Reason.REFRESH_DUE,
        Reason.REQUESTED,
        Reason.CLOCK_LEAPT_BACK,
        Reason.LAST_CHANCE,
        Reason.SOURCE_RENEWED,
    ):
        assert f"`{reason.value}`" in OPERATIONS


def test_metrics_in_operations_exist() -> None:
    known = set(re.findall(r"`(sts_broker_\w+)`", tables.metrics_table()))
    named = set(re.findall(r"\bsts_broker_\w+", OPERATIONS))
    assert named
    assert named <= known


def test_files_table_names_the_files_that_are_published(tmp_path: Path) -> None:
    profile = make_profile("p")
    sink = FileSink(load_publish(tmp_path), [profile], FakeClock(), Secret("token"))
    sink.publish([make_generation("p")])
    named = re.findall(r"^\| `([\w<>.-]+)` \|", SDKS.split("## What readers get")[1].split("\n## ")[0], re.MULTILINE)
    assert {name.replace("<profile>", "p") for name in named} == {
        path.name for path in tmp_path.iterdir() if path.name != STATE_FILE
    }


def test_endpoint_statuses_are_documented() -> None:
    source = (ROOT / "broker/serving/credentials_endpoint.py").read_text()
    statuses = {HTTPStatus[name].value for name in re.findall(r"HTTPStatus\.([A-Z_]+)", source)}
    section = SDKS.split("## What readers get")[1].split("\n## ")[0]
    assert set(map(int, re.findall(r"^\| (\d{3}) \|", section, re.MULTILINE))) == statuses


def load_publish(directory: Path) -> Any:  # noqa: ANN401 - what load returns
    variables = {**environment(BROKER), "BROKER_PUBLISH_DIRECTORY": str(directory), "BROKER_PUBLISH_ENV": "true"}
    return load(variables).publish


def test_manifest_configures_the_broker() -> None:
    configuration = load(environment(BROKER))
    mounts = {mount["name"]: mount for mount in BROKER["volumeMounts"]}
    (profile,) = configuration.profiles
    assert profile.token_file.startswith(mounts["sts-broker-token"]["mountPath"] + "/")
    assert mounts["sts-broker-credentials"]["mountPath"] == configuration.publish.directory
    assert BROKER["startupProbe"]["httpGet"]["port"] == configuration.health_port
    assert BROKER["restartPolicy"] == "Always"


def test_manifest_projects_the_token_that_the_broker_expects_into_the_broker_alone() -> None:
    volumes = {volume["name"]: volume for volume in MANIFEST["spec"]["volumes"]}
    (source,) = volumes["sts-broker-token"]["projected"]["sources"]
    (profile,) = load(environment(BROKER)).profiles
    assert source["serviceAccountToken"]["audience"] == profile.audience
    assert source["serviceAccountToken"]["expirationSeconds"] >= 600
    assert profile.token_file.endswith("/" + source["serviceAccountToken"]["path"])
    (app,) = MANIFEST["spec"]["containers"]
    assert [mount["name"] for mount in app["volumeMounts"]] == ["sts-broker-credentials"]
    assert app["volumeMounts"][0]["readOnly"]
    assert "subPath" not in app["volumeMounts"][0]
    configuration = load(environment(BROKER))
    endpoint = f"http://{configuration.endpoint_host}:{configuration.endpoint_port}/v1/credentials"
    assert environment(app) == {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": endpoint,
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": f"{find_mount_path(app)}/{ENDPOINT_TOKEN_FILE}",
        "AWS_REGION": environment(BROKER)["AWS_REGION"],
        "AWS_DEFAULT_REGION": environment(BROKER)["AWS_REGION"],
    }


def find_mount_path(container: dict[str, Any]) -> str:
    return str(container["volumeMounts"][0]["mountPath"])


@pytest.mark.parametrize(
    ("example", "names"),
    [(PROFILES, ["default", "reports"]), (read_yaml_block(CHAINED_ROLES), ["default", "reports", "partner"])],
    ids=["README", "chained-roles"],
)
def test_profiles_example_is_a_valid_configuration(example: dict[str, Any], names: list[str], tmp_path: Path) -> None:
    assert [profile.name for profile in load_document(example, tmp_path).profiles] == names


def test_chained_roles_example_writes_env_files(tmp_path: Path) -> None:
    assert load_document(read_yaml_block(CHAINED_ROLES), tmp_path).publish.env


def test_settings_examples_are_one_role_by_variables_and_by_file(tmp_path: Path) -> None:
    (variables,) = re.findall(r"```sh\n(.*?)```", SETTINGS, re.DOTALL)
    by_variables = load(dict(line.split("=", 1) for line in variables.splitlines()))
    by_file = load_document(read_yaml_block(SETTINGS), tmp_path)
    (one,), (other,) = by_variables.profiles, by_file.profiles
    assert (one.role_arn, one.region) == (other.role_arn, other.region)
    assert other.duration == timedelta(hours=12)
    assert (by_file.log_format, by_file.log_level) == ("console", "debug")


def test_make_targets_that_documents_name_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        assert set(re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text(), re.MULTILINE)) <= targets, page.name


@pytest.mark.parametrize(("target", "lock"), [("demo", "demo"), ("test", "dev")])
def test_package_counts_are_those_of_the_locks(target: str, lock: str) -> None:
    count = sum("==" in line for line in (ROOT / f"requirements/{lock}.txt").read_text().splitlines())
    assert re.findall(rf"^\| `make {target}` \|[^|]*\| (\d+) \|", README, re.MULTILINE) == [str(count)]


def test_extras_that_the_readme_installs_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = re.findall(r"^pip install '\.\[(\w+)\]'", README, re.MULTILINE)
    assert extras
    assert set(extras) <= project["optional-dependencies"].keys()


def test_tests_that_documents_name_exist() -> None:
    sources = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for name in re.findall(r"`(test_\w+)`", (ROOT / "docs/pitfalls.md").read_text()):
        assert f"def {name}(" in sources, name


def test_relative_links_lead_to_a_file_and_a_heading() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text()):
            path, _, anchor = target.partition("#")
            there = page.parent / path if path else page
            assert there.exists(), f"{page.name}: {target}"
            assert not anchor or anchor in anchors(there.read_text()), f"{page.name}: {target}"


def test_commands_table_is_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    verbs = set(re.findall(r"^    ([a-z]+) {2,}", capsys.readouterr().out, re.MULTILINE))
    assert set(re.findall(r"^\| `sts-broker ([a-z]+)` \|", README, re.MULTILINE)) == verbs


def test_exit_codes_table_is_the_taxonomy() -> None:
    section = README.split("| exit code | meaning |")[1].split("\n\n")[0]
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)}
    assert listed == {0, 1, EXIT_BUG, *(kind.exit_code for kind in tables.leaves(BrokerError))}


@pytest.mark.parametrize("form", ["bug_report", "feature_request"])
def test_issue_forms_ask_for_what_is_needed(form: str) -> None:
    document = yaml.safe_load((ROOT / f".github/ISSUE_TEMPLATE/{form}.yml").read_text())
    assert document.keys() >= {"name", "description", "body"}
    fields = [field for field in document["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields)
    assert all(field["attributes"]["label"] for field in fields)
    assert any(field.get("validations", {}).get("required") for field in fields)


def test_log_events_are_distinct() -> None:
    assert len(set(logs.EVENTS)) == len(logs.EVENTS)


def test_documents_name_no_path_of_a_developers_machine() -> None:
    for page in PAGES:
        assert not re.search(r"/(?:root|home|work)/", page.read_text()), page.name
