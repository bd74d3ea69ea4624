"""Rules for the Dockerfile that its text alone can show. Other tests build and run the images."""

import json
import re
import tomllib
from importlib.metadata import requires
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from image import assemble

REPOSITORY: Final = Path(__file__).parents[2]
TEXT: Final = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
IMAGES: Final = ("operator", "sidecar")


class Instruction(NamedTuple):
    """One instruction of a Dockerfile, continuation lines joined."""

    word: str
    argument: str


def instructions() -> list[Instruction]:
    """Return the Dockerfile's instructions, without comments."""
    lines = "\n".join(line for line in TEXT.splitlines() if line and not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", lines)
    return [Instruction(*line.split(maxsplit=1)) for line in joined.splitlines()]


def stages() -> dict[str, list[Instruction]]:
    """Return the instructions of each stage by its name, in order."""
    everything = instructions()
    starts = [index for index, instruction in enumerate(everything) if instruction.word == "FROM"]
    parts = [everything[start:end] for start, end in pairwise([*starts, len(everything)])]
    return {part[0].argument.rpartition(" AS ")[2]: part for part in parts}


def arguments(stage: str, word: str) -> list[str]:
    """Return the arguments of one kind of instruction in a stage."""
    return [instruction.argument for instruction in stages()[stage] if instruction.word == word]


def commands() -> list[str]:
    """Return the single shell commands of every RUN."""
    runs = (instruction.argument for instruction in instructions() if instruction.word == "RUN")
    return [command.strip() for run in runs for command in run.split("&&")]


def test_every_base_is_empty_or_the_one_python_image_with_a_definite_tag() -> None:
    bases = [instruction.argument.split()[0] for instruction in instructions() if instruction.word == "FROM"]
    (default,) = (i.argument for i in instructions() if i.argument.startswith("PYTHON_IMAGE="))
    assert set(bases) == {"scratch", "${PYTHON_IMAGE}", "wheel"}
    assert re.fullmatch(r"PYTHON_IMAGE=python:3\.\d+-slim-[a-z]+(@sha256:[0-9a-f]{64})?", default)
    assert "latest" not in TEXT


def test_no_address_is_written_into_the_file() -> None:
    assert "://" not in TEXT


def test_default_target_is_the_sidecar() -> None:
    assert list(stages())[-1] == "sidecar"


@pytest.mark.parametrize("image", IMAGES)
def test_image_starts_empty_and_only_copies_its_own_files(image: str) -> None:
    assert arguments(image, "FROM") == [f"scratch AS {image}"]
    assert {instruction.word for instruction in stages()[image]}.isdisjoint({"ADD", "RUN", "SHELL", "VOLUME"})
    assert all(argument.startswith(f"--from={image}-files ") for argument in arguments(image, "COPY"))


@pytest.mark.parametrize("image", IMAGES)
def test_files_of_an_image_are_those_of_its_lock_and_its_contents(image: str) -> None:
    runs = " ".join(arguments(f"{image}-files", "RUN"))
    assert re.findall(r"--requirement (\S+)", runs) == [
        {"operator": "requirements/operator.txt", "sidecar": "requirements/runtime.txt"}[image]
    ]
    assert f"python -m image.assemble {image} /rootfs /site" in runs
    assert ("reduce_botocore" in runs) == (image == "sidecar")


@pytest.mark.parametrize("image", IMAGES)
def test_user_is_numeric_and_known_to_the_image(image: str) -> None:
    assert arguments(image, "USER") == [f"{assemble.USER_ID}:{assemble.USER_ID}"]
    assert f":{assemble.USER_ID}:" in assemble.ETC["passwd"]


@pytest.mark.parametrize(("image", "default"), [("operator", ["--help"]), ("sidecar", ["run"])])
def test_entry_point_is_the_launcher_without_a_shell(image: str, default: list[str]) -> None:
    (entry_point,), (command,) = arguments(image, "ENTRYPOINT"), arguments(image, "CMD")
    assert json.loads(entry_point) == [str(assemble.LAUNCHER)]
    assert json.loads(command) == default
    assert arguments(image, "STOPSIGNAL") == ["SIGTERM"]


def test_publish_directory_belongs_to_the_user_and_to_group_zero() -> None:
    assert f"--from=sidecar-files --chown={assemble.USER_ID}:0 /publish/ /var/run/" in arguments("sidecar", "COPY")
    assert "install --directory --mode=0770 /publish/aws" in commands()


def test_every_package_is_checked_against_a_hash_or_built_here() -> None:
    installs = [command for command in commands() if re.search(r"\bpip (install|wheel)\b", command)]
    assert len(installs) == 6
    for command in installs:
        assert "--no-deps" in command, command
        assert "--require-hashes" in command or "--no-index" in command, command


def test_lock_of_the_build_backend_has_the_pinned_version_and_is_complete() -> None:
    (pin,) = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    lock = (REPOSITORY / "requirements/build.txt").read_text(encoding="utf-8")
    assert f"\n{pin} \\" in f"\n{lock}"
    # tomli is for Python 3.10 only. The dependencies of hatchling have no dependencies.
    needed = {re.split(r"[^A-Za-z0-9-]", requirement)[0] for requirement in requires("hatchling") or []} - {"tomli"}
    assert set(re.findall(r"^([a-z0-9-]+)==", lock, re.MULTILINE)) == {"hatchling", *needed}
    assert not [name for name in needed if [r for r in requires(name) or [] if "extra ==" not in r]]


def test_build_context_has_neither_sandbox_nor_tests() -> None:
    patterns = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [pattern for pattern in patterns if pattern and not pattern.startswith("#")]
    assert patterns[0] == "*"
    included = {pattern.removeprefix("!") for pattern in patterns if pattern.startswith("!")}
    assert included == {
        "LICENSE",
        "README.md",
        "broker",
        "iam-policies",
        "image",
        "pyproject.toml",
        "requirements",
        "share",
    }
    copied = {i.argument.split()[0] for i in instructions() if i.word == "COPY" and "--from" not in i.argument}
    assert copied == {"requirements/", "image/", "pyproject.toml", "broker/", "iam-policies/", "share/"}
    assert "sandbox" not in " ".join(instruction.argument for instruction in instructions())


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("label", ["title", "description", "licenses", "version"])
def test_image_has_the_label(image: str, label: str) -> None:
    (labels,) = arguments(image, "LABEL")
    assert re.search(rf'\borg\.opencontainers\.image\.{label}="[^"]+"', labels)
