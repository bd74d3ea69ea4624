"""Measure figures. Progress goes to standard error, and the table of docs/performance.md to standard output."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import container, endpoint, execution, idle, many_profiles, memory, promptness, refresh_cost, startup
from benchmarks.readings import NotReadable
from benchmarks.rows import table, with_figures
from benchmarks.runs import PIP_PYTHON, ROOT, RUNTIME_PYTHON, BenchmarkError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.rows import Row, Skipped

_PAGE = ROOT / "docs" / "performance.md"
_FIGURES = {
    module.NAME: module.measure
    for module in (startup, execution, refresh_cost, memory, idle, promptness, endpoint, many_profiles, container)
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the requested figures. Return the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.write and (options.figure or options.json):
        parser.error("--write needs all figures, as a table. Leave out --figure and --json.")
    if not (RUNTIME_PYTHON.exists() and PIP_PYTHON.exists()):
        sys.stderr.write("benchmarks: .venv-runtime or .venv-pip is missing. Run `make bench`, which builds both.\n")
        return 2
    rows: list[Row | Skipped] = []
    for name in options.figure or _FIGURES:
        began = time.monotonic()
        sys.stderr.write(f"{name} … ")
        sys.stderr.flush()
        try:
            rows += _FIGURES[name](options.repeats)
        except (BenchmarkError, NotReadable) as error:
            sys.stderr.write(f"\nbenchmarks: {name}: {error}\n")
            return 1
        sys.stderr.write(f"{time.monotonic() - began:.0f} s\n")
    if options.json:
        about = _describe_run(options.repeats)
        print(json.dumps({"about": about, "rows": [row.document() for row in rows]}, indent=2))
    else:
        figures = f"{table(rows)}\n\n{_describe_run(options.repeats)}"
        print(figures)
        if options.write:
            _PAGE.write_text(with_figures(_PAGE.read_text(), figures))
    return 1 if options.strict and any(row.is_met is False for row in rows) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--figure", action="append", choices=sorted(_FIGURES), help="measure only this (repeatable)")
    parser.add_argument("--repeats", type=int, default=10, metavar="N", help="samples for each figure (default: 10)")
    parser.add_argument("--json", action="store_true", help="print JSON with every sample")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a limit is exceeded")
    parser.add_argument("--write", action="store_true", help="also replace the table in docs/performance.md")
    return parser


def _describe_run(repeats: int) -> str:
    """Return the line below the table: date and machine."""
    model = next(
        (line.partition(":")[2].strip() for line in _read_lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    load = os.getloadavg()[0]
    return (
        f"Medians of {repeats}, {datetime.now(UTC):%Y-%m-%d}; {model}, {os.cpu_count()} cores, load {load:.1f} at the "
        f"end; {platform.system()} {platform.release()}, Python {platform.python_version()}."
    )


def _read_lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


if __name__ == "__main__":
    sys.exit(main())
