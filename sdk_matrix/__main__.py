"""Run the clients and print the table.

Exit codes: 0 the table is printed, and with --check it equals the table in the document; 1 it differs, or the broker
did not start; 2 wrong usage. Clients that fail are in the table and on standard error.
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

from sdk_matrix.clients import CLIENTS, Client, Delivery
from sdk_matrix.installs import Install, UnavailableError
from sdk_matrix.matrix_run import SESSION_LIFETIME, BrokerStartError, Cell, MatrixRun
from sdk_matrix.table import MarkersMissingError, Row, find_differences, render, replace_table
from sdk_matrix.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

_INSTALLS_AT_ONCE = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Install and run the clients, print the table and compare it. Return the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if (options.check or options.write) and (options.client or options.delivery):
        parser.error("--check and --write need all clients and deliveries; remove --client and --delivery")
    clients = [client for client in CLIENTS if not options.client or client.name in options.client]
    deliveries = [delivery for delivery in Delivery if not options.delivery or delivery in options.delivery]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that started processes are ended
    began = time.monotonic()
    skipped = _install(clients)
    _report(f"installed in {time.monotonic() - began:.0f} s")
    pairs = [(client, delivery) for client in clients for delivery in deliveries if client.name not in skipped]
    try:
        with MatrixRun(needs_endpoint=Delivery.ENDPOINT in deliveries) as run:
            cells = run.run(pairs, _report)
            about = _describe_run(cells, run.generations)
    except BrokerStartError as error:
        _report(str(error))
        return 1
    rows = [_make_row(client, [cell for cell in cells if cell.client is client], skipped) for client in clients]
    if options.json:
        print(json.dumps({"about": about, "rows": [_describe_row(row, cells) for row in rows]}, indent=2))
    else:
        print(render([row.cells() for row in rows]), about, sep="\n\n")
    return _compare(options, rows, about)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sdk_matrix", description=__doc__)
    names = [client.name for client in CLIENTS]
    parser.add_argument("--client", action="append", choices=names, help="run only this client (repeatable)")
    parser.add_argument(
        "--delivery", action="append", type=Delivery, choices=list(Delivery), help="run only this delivery (repeatable)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON with the counts")
    compare = parser.add_mutually_exclusive_group()
    compare.add_argument("--check", type=Path, metavar="FILE", help="exit 1 if the table in this document differs")
    compare.add_argument("--write", type=Path, metavar="FILE", help="replace the table in this document")
    return parser


def _install(clients: Sequence[Client]) -> dict[str, str]:
    """Install the clients, several at a time. Return the reason for each client that is skipped."""

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
        _report(f"SKIPPED {name}: {reason}")
    return skipped


def _make_row(client: Client, cells: Sequence[Cell], skipped: dict[str, str]) -> Row:
    return Row(
        client=client.name,
        version=next((cell.version for cell in cells if cell.version), ""),
        verdicts={cell.delivery.value: str(cell.verdict) for cell in cells},
        setting=client.setting,
        is_version_variable=client.is_debian,
        skipped=skipped.get(client.name, ""),
    )


def _describe_row(row: Row, cells: Sequence[Cell]) -> dict[str, object]:
    deliveries = {
        cell.delivery.value: {"verdict": cell.verdict, **asdict(cell.counts)}
        for cell in cells
        if cell.client.name == row.client
    }
    return {
        "client": row.client,
        "version": row.version,
        "skipped": row.skipped,
        "setting": row.setting,
        "deliveries": deliveries,
    }


def _describe_run(cells: Sequence[Cell], generations: int) -> str:
    """Return the line below the table: date, size of the run, and machine."""
    calls = sum(cell.counts.accepted + cell.counts.refused for cell in cells)
    refused = sum(cell.counts.refused for cell in cells)
    return (
        f"{datetime.now(UTC):%Y-%m-%d}: {len(cells)} processes, {calls} calls ({refused} refused, for clients that do "
        f"not follow), {generations} generations of {SESSION_LIFETIME.total_seconds():.0f} s; {os.cpu_count()} "
        f"cores, {platform.system()} {platform.machine()}."
    )


def _compare(options: argparse.Namespace, rows: Sequence[Row], about: str) -> int:
    failed = [row.client for row in rows if Verdict.FAILS in row.verdicts.values()]
    try:
        if options.write and failed:
            _report(f"{options.write} is unchanged, because these clients failed: {', '.join(failed)}")
            return 1
        if options.write:
            options.write.write_text(replace_table(options.write.read_text(), rows, about))
        if not options.check:
            return 0
        differences = find_differences(options.check.read_text(), rows)
    except MarkersMissingError as error:
        _report(f"{options.write or options.check}: {error}")
        return 1
    for difference in differences:
        _report(f"{options.check}: {difference}")
    return 1 if differences else 0


def _report(text: str) -> None:
    sys.stderr.write(f"sdk-matrix: {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
