"""What the Dockerfile promises, as far as its text can show it; the image itself is built and run elsewhere."""

import json
import re
import tomllib
from importlib.metadata import requires
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from image import assemble

REPOSITORY: Final = Path(__file__).parents[2]
TEXT: Final = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")


class Instruction(NamedTuple):
    """One instruction of a Dockerfile, continuation lines joined."""

    word: str
    argument: str


def instructions() -> list[Instruction]:
    """Read the Dockerfile's instructions, without comments."""
    lines = "\n".join(line for line in TEXT.splitlines() if line and not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", lines)
    return [Instruction(*line.split(maxsplit=1)) for line in joined.splitlines()]


def final_stage() -> list[Instruction]:
    """Give the instructions that make the image itself."""
    everything = instructions()
    start = max(index for index, instruction in enumerate(everything) if instruction.word == "FROM")
    return everything[start:]


def arguments(word: str) -> list[str]:
    """Give the arguments of one kind of instruction in the final stage."""
    return [instruction.argument for instruction in final_stage() if instruction.word == word]


def commands() -> list[str]:
    """Give the single shell commands of every RUN."""
    runs = (instruction.argument for instruction in instructions() if instruction.word == "RUN")
    return [command.strip() for run in runs for command in run.split("&&")]


def test_every_base_is_empty_or_the_one_python_image_with_a_definite_tag() -> None:
    bases = [instruction.argument.split()[0] for instruction in instructions() if instruction.word == "FROM"]
    (default,) = (i.argument for i in instructions() if i.argument.startswith("PYTHON_IMAGE="))
    assert set(bases) == {"scratch", "${PYTHON_IMAGE}"}
    assert re.fullmatch(r"PYTHON_IMAGE=python:3\.\d+-slim-[a-z]+", default)
    assert "latest" not in TEXT


def test_no_address_is_written_into_the_file() -> None:
    assert "://" not in TEXT


def test_final_stage_starts_empty_and_only_copies() -> None:
    assert arguments("FROM") == ["scratch"]
    assert {instruction.word for instruction in final_stage()}.isdisjoint({"ADD", "RUN", "SHELL", "VOLUME"})
    assert all(argument.startswith("--from=build ") for argument in arguments("COPY"))


def test_user_is_the_numeric_one_that_the_image_knows() -> None:
    assert arguments("USER") == [f"{assemble.USER_ID}:{assemble.USER_ID}"]
    assert f":{assemble.USER_ID}:" in assemble.ETC["passwd"]


def test_entry_point_is_the_launcher_without_a_shell() -> None:
    (entry_point,), (command,) = arguments("ENTRYPOINT"), arguments("CMD")
    assert json.loads(entry_point) == [str(assemble.LAUNCHER)]
    assert json.loads(command) == ["run"]
    assert arguments("STOPSIGNAL") == ["SIGTERM"]


def test_publish_directory_belongs_to_the_user_and_to_group_zero() -> None:
    assert f"--from=build --chown={assemble.USER_ID}:0 /publish/ /var/run/" in arguments("COPY")
    assert "install --directory --mode=0770 /publish/aws" in commands()


def test_every_package_is_checked_against_a_hash_or_made_here() -> None:
    installs = [command for command in commands() if re.search(r"\bpip (install|wheel)\b", command)]
    assert len(installs) == 4
    for command in installs:
        assert "--require-hashes" in command or ("--no-index" in command and "--no-deps" in command), command


def test_build_back_end_is_the_pinned_one_and_its_list_is_complete() -> None:
    (kept,) = re.findall(r"\^\(([a-z|-]+)\)==", TEXT)
    (pin,) = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    lock = (REPOSITORY / "requirements/dev.txt").read_text(encoding="utf-8")
    assert f"\n{pin} \\" in f"\n{lock}"
    # tomli is for Python 3.10 only; hatchling's dependencies have none of their own.
    needed = {re.split(r"[^A-Za-z0-9-]", requirement)[0] for requirement in requires("hatchling") or []} - {"tomli"}
    assert set(kept.split("|")) == {"hatchling", *needed}
    assert not [name for name in needed if [r for r in requires(name) or [] if "extra ==" not in r]]


def test_build_context_has_neither_sandbox_nor_tests() -> None:
    patterns = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [pattern for pattern in patterns if pattern and not pattern.startswith("#")]
    assert patterns[0] == "*"
    let_in = {pattern.removeprefix("!") for pattern in patterns if pattern.startswith("!")}
    assert let_in == {"LICENSE", "README.md", "broker", "iam-policies", "image", "pyproject.toml", "requirements"}
    copied = {i.argument.split()[0] for i in instructions() if i.word == "COPY" and "--from" not in i.argument}
    assert copied == {"requirements/", "image/", "pyproject.toml", "broker/", "iam-policies/"}
    assert "sandbox" not in " ".join(instruction.argument for instruction in instructions())


@pytest.mark.parametrize("label", ["title", "description", "licenses", "version"])
def test_image_is_labelled(label: str) -> None:
    (labels,) = arguments("LABEL")
    assert re.search(rf'\borg\.opencontainers\.image\.{label}="[^"]+"', labels)
