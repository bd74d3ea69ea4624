"""Variables of libraries that reach the broker's container: they have no effect, and the log and the doctor say so."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from broker.core.library_variables import REMOVED
from tests.process.commands import run_exec

if TYPE_CHECKING:
    from tests.process.pod import Pod

pytestmark = pytest.mark.process
ROOT = Path(__file__).parents[2]
VERBS = {"once": ("once",), "exec": ("exec", "--", "env"), "doctor": ("doctor",)}


def plant(directory: Path) -> tuple[dict[str, str], Path]:
    """Return every variable of REMOVED with a value that creates the returned file if a library reads it."""
    witness = directory / "witness"
    (directory / "planted.py").write_text(f"open({str(witness)!r}, 'w').close()\n")
    values = {"SSLKEYLOGFILE": str(witness), "BOTOCORE_EXPERIMENTAL__PLUGINS": "planted=planted"}
    assert set(values) == set(REMOVED)
    return values, witness


@pytest.mark.parametrize("name", REMOVED)
@pytest.mark.parametrize("verb", VERBS)
def test_removed_variable_has_no_effect_and_is_reported(pod: Pod, tmp_path: Path, verb: str, name: str) -> None:
    values, witness = plant(tmp_path)
    ended = pod.run(*VERBS[verb], PYTHONPATH=str(tmp_path), **{name: values[name]})
    assert pod.sts.calls, "the library was in use"
    assert not witness.exists()
    assert f"{name} is set, but the broker ignores it" in ended.out + ended.err


@pytest.mark.parametrize("name", REMOVED)
def test_run_removes_the_variable_too(pod: Pod, tmp_path: Path, name: str) -> None:
    values, witness = plant(tmp_path)
    program = pod.start(PYTHONPATH=str(tmp_path), wrapper=("env", f"{name}={values[name]}"))
    program.wait_for("refreshed")
    assert not witness.exists()
    warnings = [line["message"] for line in program.lines("warning")]
    assert any(warning.startswith(f"{name} is set, but the broker ignores it") for warning in warnings)
    assert any("changes how Python runs the broker: PYTHONPATH." in warning for warning in warnings)


def test_command_of_exec_gets_the_variables(pod: Pod, tmp_path: Path) -> None:
    values, _ = plant(tmp_path)
    seen = run_exec(pod, "--", "env", PYTHONPATH=str(tmp_path), **values).out.splitlines()
    assert {f"{name}={value}" for name, value in values.items()} <= set(seen)


def test_isolated_python_ignores_its_variables(pod: Pod, tmp_path: Path) -> None:
    """With `-I`, as in the launcher of the images, and `-c` in place of it, because the tests run from a checkout."""
    isolated = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from broker.cli.main import main; sys.exit(main())"
    program = (sys.executable, "-Ic", isolated)
    ended = pod.run("once", program=program, PYTHONPATH=str(tmp_path), PYTHONINSPECT="1")
    assert ended.code == 0, ended.err
    assert "changes how Python" not in ended.err
