"""How `sts-broker inject` splits and reads a stream: what kubectl reads, it reads."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest
import yaml

from broker.inject.injection import run
from broker.inject.sidecar_request import Request
from broker.manifests.documents import split_documents
from tests.support.injecting import OPTIONS, POD, collect_faults, inject_text

if TYPE_CHECKING:
    from pathlib import Path

MARK = "\ufeff"
COMPACT = json.dumps(yaml.safe_load(POD))
TABBED = json.dumps(yaml.safe_load(POD), indent="\t")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [""]),
        ("a: 1\n---\nb: 2\n", ["a: 1\n", "---\nb: 2\n"]),
        ("---\n---\na: 1\n", ["---\n", "---\na: 1\n"]),
        ("# c\n%YAML 1.2\n---\na: 1\n", ["# c\n%YAML 1.2\n---\na: 1\n"]),
        ("a: 1\n...\nb: 2\n", ["a: 1\n...\n", "b: 2\n"]),
        ("a: 1\n--- # c\nb: 2\n", ["a: 1\n", "--- # c\nb: 2\n"]),
        ("a: 1\n---\tb\n", ["a: 1\n", "---\tb\n"]),
        ("a: 1\r\n---\r\nb: 2\r\n", ["a: 1\r\n", "---\r\nb: 2\r\n"]),
        ("a: |\n  x\n  ---\n  y\n", ["a: |\n  x\n  ---\n  y\n"]),
        ("a: 1\n---b: 2\n", ["a: 1\n---b: 2\n"]),
        (f"a: 1\n{MARK}---\nb: 2\n", ["a: 1\n", f"{MARK}---\nb: 2\n"]),
        ('{"a": 1}\n{"b": 2}\n', ['{"a": 1}', '\n{"b": 2}\n']),
        (f'{MARK}{{"a": 1}} {{}}', [f'{MARK}{{"a": 1}}', " {}"]),
        ('{"a": 1}\n---\n{"b": 2} {"c": 3}', ['{"a": 1}\n', '---\n{"b": 2} {"c": 3}']),
        ('{"a": 1}{b: 2}', ['{"a": 1}{b: 2}']),
        ("{a: 1}\n", ["{a: 1}\n"]),
    ],
)
def test_stream_is_split_at_its_documents(text: str, expected: list[str]) -> None:
    assert list(split_documents(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        f"{COMPACT}\n{COMPACT}",
        TABBED * 2,
        f"{MARK}{TABBED}\n---\n{POD}",
        f"{POD}{MARK}---\r\n{POD}",
        f"---\n---\n# nothing\n---\n\n{POD}--- # second\n{POD}...\n---\n",
        f"null\n---\n[]\n---\ntext\n---\n{POD}---\n{POD}",
        POD.replace("\n", "\r\n") + "---\n" + POD,
        "%YAML 1.2\t# version\n---\n" + POD + "---\t\n" + POD,
    ],
)
def test_every_document_of_an_odd_stream_gets_the_sidecar(text: str) -> None:
    result = inject_text(text)
    assert result.count("restartPolicy") == 2
    assert (result[0] == MARK) == (text[0] == MARK)


@pytest.mark.parametrize(
    "text",
    [
        POD.replace("image: x", "image:\tx"),
        POD.replace("image: x", "image: x\t# pinned"),
        POD.replace("image: x", "args: [a,\tb]\t"),
        POD.replace("image: x", "image: a\tb"),
        POD.replace("image: x", "args: |\t# text\n        x\ty"),
        POD.replace("name: app", "name\t: app"),
        POD.replace("spec:", "spec:\t!!map\t&a"),
        TABBED,
        TABBED.replace("\n", "\r\n"),
    ],
)
def test_tabs_where_kubectl_reads_them_are_kept(text: str) -> None:
    result = inject_text(text)
    lines = iter(result.splitlines())
    assert all(any(line.rstrip(",") == each.rstrip(",") for each in lines) for line in text.splitlines())


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (POD.replace("      image", "\timage"), 8),
        (POD.replace("  containers", "\tcontainers"), 6),
        (f"{POD}---\nkind: Pod\nspec:\n\tcontainers: []\n", 12),
    ],
)
def test_indentation_with_tabs_is_a_fault_with_its_line(text: str, line: int) -> None:
    (fault,) = collect_faults(text)
    assert f", line {line}, column 1: not valid YAML: " in fault
    assert fault.endswith("YAML cannot be indented with tabs. Use spaces")


def test_byte_order_mark_inside_a_document_is_a_fault() -> None:
    (fault,) = collect_faults(f"---\n{MARK}{POD}")
    assert fault.endswith("Remove the byte order marks (U+FEFF) that are not at the start of the file")


def test_control_character_is_a_fault_with_its_line_whatever_precedes_it() -> None:
    (fault,) = collect_faults("a: ééééééé\nb: ééééé\nc: \x07\n")
    assert fault.startswith("document 1, line 3: not valid YAML: ")


@pytest.mark.parametrize(("opening", "count"), [("[", 100_000), ("- ", 100_000), ('{"a":', 5000)])
def test_deep_nesting_is_a_fault(opening: str, count: int) -> None:
    (fault,) = collect_faults(opening * count)
    assert fault == "document 1, line 1: nested too deeply to be read"


def test_byte_order_marks_of_several_files_are_not_put_inside_the_stream(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a", "b", "c")]
    for file, text in zip(files, (POD, POD, f"---\n{POD}"), strict=True):
        file.write_text(MARK + text)
    output = io.BytesIO()
    code = run([str(file) for file in files], Request(options=OPTIONS), check=False, stdin=io.BytesIO(), output=output)
    result = output.getvalue().decode()
    assert code == 0
    assert result.count(MARK) == 1
    assert len([each for each in yaml.safe_load_all(result) if each["spec"]["initContainers"]]) == 3
