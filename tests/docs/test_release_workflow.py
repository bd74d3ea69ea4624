"""The release workflow. It cannot run here: its form, its pins, its permissions and its commands are checked."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PATH = ROOT / ".github/workflows/release.yaml"
TEXT = PATH.read_text()
WORKFLOW: dict[Any, Any] = yaml.safe_load(TEXT)
STEPS = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]
SCRIPTS = {step["name"]: step["run"] for step in STEPS if "run" in step}


def lint(path: Path) -> subprocess.CompletedProcess[str]:
    """Compare a workflow with the schema of GitHub workflows."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_workflow_fits_the_schema() -> None:
    done = lint(PATH)
    assert done.returncode == 0, done.stdout


def test_schema_refuses_a_misspelled_key(tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text(TEXT.replace("runs-on:", "runs_on:"))
    assert lint(tmp_path / "wrong.yaml").returncode == 1


def test_every_action_is_pinned_by_commit_with_its_version() -> None:
    used = re.findall(r"uses: (\S+)(.*)", TEXT)
    assert len(used) == len([step for step in STEPS if "uses" in step])
    for action, comment in used:
        assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", action)
        assert re.fullmatch(r"  # v\d+\.\d+\.\d+", comment), action
    pins = {action.partition("@")[0]: action for action, _ in used}
    assert len(pins) == len({action for action, _ in used}), "one commit for each action"


def test_each_job_has_only_the_permissions_that_it_needs() -> None:
    assert WORKFLOW["permissions"] == {}
    assert {name: job["permissions"] for name, job in WORKFLOW["jobs"].items()} == {
        "test": {"contents": "read"},
        "images": {"contents": "write", "id-token": "write", "attestations": "write"},
    }
    for step in STEPS:
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"] == {"persist-credentials": False}


def test_images_are_published_only_after_the_tests_of_a_tag() -> None:
    assert WORKFLOW[True] == {"push": {"tags": ["v[0-9]+.[0-9]+.[0-9]+"]}}, "YAML 1.1 reads the key `on` as true"
    assert WORKFLOW["jobs"]["images"]["needs"] == "test"


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_is_valid_and_takes_no_text_from_an_expression(name: str) -> None:
    """An expression inside a script would run whatever a tag or a variable contains."""
    assert "${{" not in SCRIPTS[name]
    done = subprocess.run(["bash", "-n", "-c", SCRIPTS[name]], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def run_step(name: str, directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a step as GitHub does."""
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", SCRIPTS[name]],
        cwd=directory,
        env={"PATH": f"{directory}:/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize(("tag", "code"), [("v0.1.0", 0), ("v0.1", 1), ("v0.1.00", 1), ("v10.1.0", 1)])
def test_tag_must_be_the_version(tag: str, code: int, tmp_path: Path) -> None:
    (tmp_path / "broker").mkdir()
    (tmp_path / "broker/__init__.py").write_text('"""Doc."""\n\n__version__ = "0.1.0"\n')
    assert run_step("The tag is the version of the package", tmp_path, GITHUB_REF_NAME=tag).returncode == code


@pytest.mark.parametrize("heading", ["## [0.1.0] - 2026-12-01", "## 0.1.0 - 2026-12-01"])
def test_release_has_the_section_of_the_changelog(heading: str, tmp_path: Path) -> None:
    (tmp_path / "CHANGELOG.md").write_text(
        f"# Changelog\n\n## Unreleased\n\n{heading}\n\n- New.\n\n## 0.0.1 - 2026-11-01\n\n- Old.\n"
    )
    (tmp_path / "gh").write_text('#!/bin/sh\necho "$*"\ncat notes.md\n')
    (tmp_path / "gh").chmod(0o755)
    done = run_step("Publish the release", tmp_path, GITHUB_REF_NAME="v0.1.0")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("release create v0.1.0 --verify-tag --notes-file notes.md ")
    assert "- New." in done.stdout
    assert "- Old." not in done.stdout
    done = run_step("Publish the release", tmp_path, GITHUB_REF_NAME="v0.2.0")
    assert done.returncode == 1
    assert "CHANGELOG.md has no section for 0.2.0" in done.stderr


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    (command,) = re.findall(r"^make (.*) REGISTRY=", SCRIPTS["Build both images for both platforms, and push them"])
    assert set(command.split()) <= targets


def test_contributing_says_what_has_not_been_run_and_what_to_set() -> None:
    section = (ROOT / "CONTRIBUTING.md").read_text().split("\n## Release\n")[1]
    assert "has not been run yet" in section
    for name in re.findall(r"\b(?:vars|secrets)\.(\w+)", TEXT):
        assert f"`{name}`" in section
