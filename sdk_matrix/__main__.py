"""Run the clients and print the table: `python -m sdk_matrix`; `--help` tells the rest.

Exit codes: 0 the table is printed (and, with --check, equals the document's); 1 it differs, or the broker did not come
up; 2 wrong usage. Clients that fail are in the table, and told on standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sdk_matrix.clients import CLIENTS, Client, Way
from sdk_matrix.installs import Install, UnavailableError
from sdk_matrix.stage import SESSION_LIFETIME, Cell, Stage, StageError
from sdk_matrix.table import MarkersMissingError, Row, differences, render, rewritten
from sdk_matrix.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

_INSTALLS_AT_ONCE = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Install, run, print, compare. Return the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if (options.check or options.write) and (options.client or options.way):
        parser.error("a document's table is that of all clients and ways")
    clients = [client for client in CLIENTS if not options.client or client.name in options.client]
    ways = [way for way in Way if not options.way or way in options.way]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what was started is ended
    began = time.monotonic()
    skipped = _install(clients)
    _tell(f"installed in {time.monotonic() - began:.0f} s")
    pairs = [(client, way) for client in clients for way in ways if client.name not in skipped]
    try:
        with Stage(needs_endpoint=Way.ENDPOINT in ways) as stage:
            cells = stage.run(pairs, _tell)
            about = _about(cells, stage.generations)
    except StageError as error:
        _tell(str(error))
        return 1
    rows = [_row(client, [cell for cell in cells if cell.client is client], skipped) for client in clients]
    if options.json:
        print(json.dumps({"about": about, "rows": [_document(row, cells) for row in rows]}, indent=2))
    else:
        print(render([row.cells() for row in rows]), about, sep="\n\n")
    return _compare(options, rows, about)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sdk_matrix", description=__doc__)
    parser.add_argument("--client", action="append", choices=[client.name for client in CLIENTS], help="(repeatable)")
    parser.add_argument("--way", action="append", type=Way, choices=list(Way), help="(repeatable)")
    parser.add_argument("--json", action="store_true", help="print JSON with the counts")
    compare = parser.add_mutually_exclusive_group()
    compare.add_argument("--check", type=Path, metavar="FILE", help="exit 1 if the table in this document differs")
    compare.add_argument("--write", type=Path, metavar="FILE", help="replace the table in this document")
    return parser


def _install(clients: Sequence[Client]) -> dict[str, str]:
    """Fetch what the clients need, some at a time. Return why each of those not to be had is skipped."""

    def prepare(install: Install) -> str:
        try:
            install.prepare()
        except UnavailableError as error:
            return str(error) or type(error).__name__
        return ""

    installs = list(dict.fromkeys(client.install for client in clients))
    with ThreadPoolExecutor(_INSTALLS_AT_ONCE) as pool:
        faults = dict(zip(installs, pool.map(prepare, installs), strict=True))
    skipped = {client.name: faults[client.install] for client in clients if faults[client.install]}
    for name, reason in skipped.items():
        _tell(f"SKIPPED {name}: {reason}")
    return skipped


def _row(client: Client, cells: Sequence[Cell], skipped: dict[str, str]) -> Row:
    return Row(
        client=client.name,
        version=next((cell.version for cell in cells if cell.version), ""),
        verdicts={cell.way.value: str(cell.verdict) for cell in cells},
        setting=client.setting,
        is_version_free=client.is_debian,
        skipped=skipped.get(client.name, ""),
    )


def _document(row: Row, cells: Sequence[Cell]) -> dict[str, object]:
    ways = {
        cell.way.value: {"verdict": cell.verdict, **asdict(cell.counts)}
        for cell in cells
        if cell.client.name == row.client
    }
    return {"client": row.client, "version": row.version, "skipped": row.skipped, "setting": row.setting, "ways": ways}


def _about(cells: Sequence[Cell], generations: int) -> str:
    """Return a line that says when, where and how much."""
    calls = sum(cell.counts.accepted + cell.counts.refused for cell in cells)
    refused = sum(cell.counts.refused for cell in cells)
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {len(cells)} processes, {calls} calls ({refused} refused, of clients that do "
        f"not follow) over {generations} generations of {SESSION_LIFETIME.total_seconds():.0f} s; {os.cpu_count()} "
        f"cores, {platform.system()} {platform.machine()}."
    )


def _compare(options: argparse.Namespace, rows: Sequence[Row], about: str) -> int:
    failed = [row.client for row in rows if Verdict.FAILS in row.verdicts.values()]
    try:
        if options.write and failed:
            _tell(f"{options.write} is left as it is, because these failed: {', '.join(failed)}")
            return 1
        if options.write:
            options.write.write_text(rewritten(options.write.read_text(), rows, about))
        if not options.check:
            return 0
        told = differences(options.check.read_text(), rows)
    except MarkersMissingError as error:
        _tell(str(error))
        return 1
    for difference in told:
        _tell(f"{options.check}: {difference}")
    return 1 if told else 0


def _tell(text: str) -> None:
    sys.stderr.write(f"sdk-matrix: {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
