"""What the documents say is so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from broker.cli.main import main
from broker.core.errors import EXIT_BUG, BrokerError
from broker.core.model import ENDPOINT_TOKEN_FILE, Secret
from broker.core.schedule import Reason
from broker.publish.file_sink import FileSink
from broker.runtime import logs
from broker.settings.loader import load
from tests.docs import tables
from tests.support.fakes import FakeClock, make_generation, make_profile

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
OPERATIONS = (ROOT / "docs/operations.md").read_text()
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()
MANIFEST, PROFILES = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL))
BROKER = MANIFEST["spec"]["initContainers"][0]


def environment(container: dict[str, Any]) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in container["env"]}


def test_settings_table_is_the_schema() -> None:
    assert tables.settings_table() in README


def test_metrics_table_is_what_a_scrape_yields() -> None:
    assert tables.metrics_table() in README


def test_reasons_table_is_the_taxonomy() -> None:
    assert tables.reasons_table() in OPERATIONS


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
    known = set(re.findall(r"`(broker_\w+)`", tables.metrics_table()))
    assert set(re.findall(r"\bbroker_\w+", OPERATIONS)) <= known


def test_files_table_names_the_files_that_are_published(tmp_path: Path) -> None:
    profile = make_profile("p")
    sink = FileSink(load_publish(tmp_path), [profile], FakeClock(), Secret("token"))
    sink.publish([make_generation("p")])
    named = re.findall(r"^\| `([\w<>.-]+)` \|", README.split("## What readers get")[1].split("##")[0], re.MULTILINE)
    assert {name.replace("<profile>", "p") for name in named} == {path.name for path in tmp_path.iterdir()}


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
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": f"{volumes_mount(app)}/{ENDPOINT_TOKEN_FILE}",
        "AWS_REGION": environment(BROKER)["AWS_REGION"],
    }


def volumes_mount(container: dict[str, Any]) -> str:
    return str(container["volumeMounts"][0]["mountPath"])


def test_yaml_example_is_a_valid_configuration(tmp_path: Path) -> None:
    path = tmp_path / "broker.yaml"
    path.write_text(yaml.safe_dump(PROFILES))
    configuration = load({"BROKER_CONFIG": str(path)})
    assert [profile.name for profile in configuration.profiles] == ["default", "reports", "partner"]
    assert configuration.publish.env


def test_make_targets_that_documents_name_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for document in (README, OPERATIONS, ARCHITECTURE, (ROOT / "CONTRIBUTING.md").read_text()):
        assert set(re.findall(r"(?:`|^)make ([a-z-]+)", document, re.MULTILINE)) <= targets


def test_tests_that_documents_name_exist() -> None:
    sources = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for name in re.findall(r"`(test_\w+)`", (ROOT / "docs/pitfalls.md").read_text()):
        assert f"def {name}(" in sources, name


def test_relative_links_lead_somewhere() -> None:
    for document in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_commands_table_is_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    verbs = set(re.findall(r"^    ([a-z]+) {2,}", capsys.readouterr().out, re.MULTILINE))
    assert set(re.findall(r"^\| `sts-broker ([a-z]+)` \|", README, re.MULTILINE)) == verbs


def test_exit_codes_table_is_the_taxonomy() -> None:
    section = README.split("| exit code | meaning |")[1].split("## Settings")[0]
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)}
    assert listed == {0, 1, EXIT_BUG, *(kind.exit_code for kind in tables.leaves(BrokerError))}


def test_commands_to_try_work_as_they_stand(tmp_path: Path) -> None:
    """The sandbox's block of the README, in a shell, with a directory of its own."""
    (block,) = (each for each in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) if "python -m sandbox" in each)
    lines = [line for line in block.splitlines() if "activate" not in line]
    script = "\n".join(["set -e", "trap 'kill $! 2>/dev/null || true' EXIT", *lines]).replace(
        "/tmp/aws", str(tmp_path / "aws")
    )
    script = script.replace("./box.env", "box.env").replace("box.env", str(tmp_path / "box.env"))
    kept = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    done = subprocess.run(
        ["bash", "-c", script], cwd=ROOT, env=kept, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "subject      system:serviceaccount:demo:app" in done.stdout
    assert "assumed-role/app/demo.app-7d9c5b6f8-x2x7k" in done.stdout


def test_package_table_is_the_package() -> None:
    packages = {path.parent.name for path in (ROOT / "broker").glob("*/__init__.py")}
    section = ARCHITECTURE.split("## The packages")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `broker/(\w+)/` \|", section, re.MULTILINE)) == packages


def test_rules_in_the_architecture_are_nine() -> None:
    section = ARCHITECTURE.split("## When to refresh")[1].split("The **lead**")[0]
    assert re.findall(r"^(\d)\. ", section, re.MULTILINE) == list("123456789")


def test_log_events_are_distinct() -> None:
    assert len(set(logs.EVENTS)) == len(logs.EVENTS)


def test_documents_name_no_path_of_a_developers_machine() -> None:
    for document in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        assert not re.search(r"/(?:root|home|work)/", document.read_text())
