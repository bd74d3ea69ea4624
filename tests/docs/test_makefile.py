"""The Makefile: its help fits 80 columns, and a target whose program is missing says what to install."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from broker import __version__

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
ALWAYS_THERE = ("make", "sh", "test", "true", "sed", "grep", "awk", "echo", "touch")
PYTHON = "python3.99"


def run_make(*arguments: str, directory: Path, is_ready: bool = False) -> subprocess.CompletedProcess[str]:
    """Run make with a copy of the Makefile, where only the programs of every system are installed.

    `is_ready`: the virtual environment seems to be there.
    """
    programs = directory / "bin"
    programs.mkdir()
    for name in ALWAYS_THERE:
        (programs / name).symlink_to(shutil.which(name) or pytest.fail(f"{name} is missing"))
    tree = directory / "tree"
    (tree / "broker").mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", tree)
    shutil.copy(ROOT / "broker/__init__.py", tree / "broker")
    shutil.copytree(ROOT / "requirements", tree / "requirements")
    shutil.copy(ROOT / "pyproject.toml", tree)
    if is_ready:
        (tree / ".venv").mkdir()
        for name in (".created", ".ready"):
            (tree / ".venv" / name).touch()
    return subprocess.run(
        [programs / "make", *arguments],
        cwd=tree,
        env={"PATH": str(programs)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_help_lists_every_target_in_80_columns(tmp_path: Path) -> None:
    done = run_make("help", directory=tmp_path)
    assert done.returncode == 0, done.stderr
    (targets,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert set(re.findall(r"^  make ([a-z-]+) +\S", done.stdout, re.MULTILINE)) == set(targets.split())
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    ("target", "program", "advice"),
    [
        *((name, "buildah", "apt-get install buildah") for name in ("image", "image-operator", "image-all", "publish")),
        ("lock", "uv", "pip install uv"),
        *((name, PYTHON, "apt-get install python3-venv") for name in ("demo", "test", "check", "bench", "soak")),
    ],
)
def test_missing_program_is_named_with_what_to_install(target: str, program: str, advice: str, tmp_path: Path) -> None:
    done = run_make(f"PYTHON={PYTHON}", target, directory=tmp_path)
    assert done.returncode == 2
    assert f"{program} is not installed. " in done.stderr
    assert advice in done.stderr
    assert "not found" not in done.stderr, "the message of the shell"


@pytest.mark.parametrize("target", ["test", "test-all"])
def test_missing_timeout_is_named_before_the_tests_start(target: str, tmp_path: Path) -> None:
    done = run_make(target, directory=tmp_path, is_ready=True)
    assert done.returncode == 2
    assert "timeout is not installed. Install GNU coreutils" in done.stderr
    assert "pytest" not in done.stdout


def test_every_program_of_a_recipe_is_checked_first() -> None:
    """What a recipe starts is in the virtual environment, is of the shell, or is named with `need`."""
    needed = set(re.findall(r"\$\(call need,([\w-]+),", MAKEFILE)) | set(ALWAYS_THERE)
    started = re.findall(r"^\t@?([a-z][\w-]*)\b", MAKEFILE, re.MULTILINE)
    assert "for" in started
    assert set(started) - needed - {"for", "echo"} == set()
    for variable in ("PYTEST", "COMPILE", "BUILD"):
        (program,) = re.findall(rf"^{variable} = ([a-z]+) ", MAKEFILE, re.MULTILINE)
        assert program in needed


class TestPublishing:
    """`make publish` pushes what `make image-all` built, only to a named registry and only on a pinned base."""

    @pytest.fixture
    def tree(self, tmp_path: Path) -> Path:
        """Create a checkout with a buildah that prints its arguments."""
        tree = tmp_path / "tree"
        (tree / "broker").mkdir(parents=True)
        shutil.copy(ROOT / "broker/__init__.py", tree / "broker")
        for name in ("Makefile", "Dockerfile"):
            shutil.copy(ROOT / name, tree)
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin/buildah").write_text('#!/bin/sh\necho "buildah $*"\n')
        (tmp_path / "bin/buildah").chmod(0o755)
        return tree

    def run(self, tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run make in the checkout. It prints the commands of the fake buildah only."""
        return subprocess.run(
            ["make", "--silent", *arguments],
            cwd=tree,
            env={"PATH": f"{tree.parent / 'bin'}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def pin(self, tree: Path) -> None:
        """Give the base image of the checkout a digest."""
        text = (tree / "Dockerfile").read_text()
        pinned, count = re.subn(r"(?m)^(ARG PYTHON_IMAGE=[^@\n]*).*$", rf"\1@sha256:{'0' * 64}", text)
        assert count == 1
        (tree / "Dockerfile").write_text(pinned)

    def test_both_images_are_pushed_with_all_platforms_and_their_digests(self, tree: Path) -> None:
        self.pin(tree)
        done = self.run(tree, "publish", "REGISTRY=registry.example:5000/platform")
        assert (done.returncode, done.stderr) == (0, "")
        prefix = "registry.example:5000/platform"
        assert done.stdout.splitlines() == [
            f"buildah manifest push --all --digestfile {name}.digest {prefix}/{name}:{__version__} "
            f"docker://{prefix}/{name}:{__version__}"
            for name in ("sts-federation-broker", "sts-federation-broker-operator")
        ]

    def test_base_without_a_digest_is_refused(self, tree: Path) -> None:
        text = (tree / "Dockerfile").read_text()
        (tree / "Dockerfile").write_text(re.sub(r"(?m)^(ARG PYTHON_IMAGE=[^@\n]*).*$", r"\1", text))
        done = self.run(tree, "publish", "REGISTRY=registry.example/platform")
        assert (done.returncode, done.stdout) == (2, "")
        assert 'PYTHON_IMAGE in the Dockerfile has no digest. Pin it: CONTRIBUTING.md, "Base image"' in done.stderr
        assert "\n### Base image\n" in (ROOT / "CONTRIBUTING.md").read_text()

    def test_missing_registry_is_named(self, tree: Path) -> None:
        self.pin(tree)
        done = self.run(tree, "publish")
        assert (done.returncode, done.stdout) == (2, "")
        assert "REGISTRY is empty. Name your registry: make publish REGISTRY=" in done.stderr

    def test_all_images_are_built_for_both_platforms_into_new_manifest_lists(self, tree: Path) -> None:
        done = self.run(tree, "image-all", "REGISTRY=registry.example/platform")
        assert done.returncode == 0, done.stderr
        removed, built = done.stdout.splitlines()[:2], done.stdout.splitlines()[2:]
        for name, target, rm, bud in zip(
            ("sts-federation-broker", "sts-federation-broker-operator"),
            ("sidecar", "operator"),
            removed,
            built,
            strict=True,
        ):
            image = f"registry.example/platform/{name}:{__version__}"
            assert rm == f"buildah manifest rm {image}"
            assert f"--platform linux/amd64,linux/arm64 --target {target} --manifest {image} ." in bud
