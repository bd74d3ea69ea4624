"""The table of the README: rendered, read back and compared. Pure.

Rules: a client that was skipped leaves its row in the README alone; a version that the system decides may differ,
everything else must be equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BEGIN, END = "<!-- sdk-matrix -->", "<!-- /sdk-matrix -->"
COLUMNS = ("client", "version", "endpoint", "process profile", "static file", "setting needed")
_NAME, _VERSION = COLUMNS[:2]


class MarkersMissingError(Exception):
    """The document has no place for the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A client's row. `verdicts` are words by column; `skipped` says why there are none."""

    client: str
    version: str = ""
    verdicts: Mapping[str, str]
    setting: str = ""
    is_version_free: bool = False
    skipped: str = ""

    def cells(self) -> dict[str, str]:
        """Return the cells by column."""
        outcomes = {column: "SKIPPED" if self.skipped else self.verdicts.get(column, "-") for column in COLUMNS[2:-1]}
        return {
            _NAME: self.client,
            _VERSION: self.version or "-",
            **outcomes,
            COLUMNS[-1]: (f"SKIPPED: {self.skipped}" if self.skipped else self.setting) or "-",
        }


def render(rows: Sequence[Mapping[str, str]]) -> str:
    """Write rows as a Markdown table."""
    lines = [COLUMNS, ("---",) * len(COLUMNS), *([cells[column] for column in COLUMNS] for cells in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def read(document: str) -> dict[str, dict[str, str]]:
    """Read the rows between the markers, by client."""
    found = {}
    for line in _parts(document)[1].splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("|") and len(cells) == len(COLUMNS) and cells[0] != _NAME and set(cells[0]) != {"-"}:
            found[cells[0]] = dict(zip(COLUMNS, cells, strict=True))
    return found


def differences(document: str, rows: Sequence[Row]) -> list[str]:
    """Tell each difference between the table in a document and these rows; none means that the document is right."""
    written = read(document)
    told = [
        f"{client}: no such client; take the row out" for client in written if client not in {r.client for r in rows}
    ]
    for row in rows:
        if row.skipped:
            continue
        if row.client not in written:
            told.append(f"{row.client}: no row")
            continue
        there = written[row.client]
        for column, cell in row.cells().items():
            if there[column] != cell and not (column == _VERSION and row.is_version_free):
                told.append(f"{row.client}, {column}: written {there[column]!r}, now {cell!r}")
    return told


def rewritten(document: str, rows: Sequence[Row], about: str) -> str:
    """Return the document with the table and the line under it replaced; a skipped client keeps the row it has."""
    written = read(document)
    cells = [written.get(row.client) if row.skipped else row.cells() for row in rows]
    table = render([each for each in cells if each is not None])
    before, _, after = _parts(document)
    return f"{before}{BEGIN}\n{table}\n\n{about}\n{END}{after}"


def _parts(document: str) -> tuple[str, str, str]:
    """Return what stands before, between and after the markers."""
    before, begin, rest = document.partition(BEGIN)
    between, end, after = rest.partition(END)
    if not (begin and end):
        raise MarkersMissingError(f"the document needs the markers {BEGIN} and {END}")
    return before, between, after
