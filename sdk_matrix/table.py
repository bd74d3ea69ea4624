"""The Markdown table of verdicts: formats it, reads it from a document, and compares. Pure.

The document can be any file with the two markers. The row of a skipped client in the document is kept and not compared.
A version that the system determines may differ. Everything else must be equal.
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
    """The document lacks the markers between which the table belongs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A client's row. `verdicts` has the text of each column. `skipped` is the reason if there are no verdicts.

    `is_version_variable`: the system determines the version.
    """

    client: str
    version: str = ""
    verdicts: Mapping[str, str]
    setting: str = ""
    is_version_variable: bool = False
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
    """Return rows as a Markdown table."""
    lines = [COLUMNS, ("---",) * len(COLUMNS), *([cells[column] for column in COLUMNS] for cells in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def read_table(document: str) -> dict[str, dict[str, str]]:
    """Return the rows between the markers, by client. Raises MarkersMissingError."""
    found = {}
    for line in _split(document)[1].splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("|") and len(cells) == len(COLUMNS) and cells[0] != _NAME and set(cells[0]) != {"-"}:
            found[cells[0]] = dict(zip(COLUMNS, cells, strict=True))
    return found


def find_differences(document: str, rows: Sequence[Row]) -> list[str]:
    """Return each difference between the table in a document and these rows. An empty list means that they agree."""
    written = read_table(document)
    clients = {row.client for row in rows}
    found = [f"{client}: unknown client. Remove the row." for client in written if client not in clients]
    for row in rows:
        if row.skipped:
            continue
        if row.client not in written:
            found.append(f"{row.client}: the row is missing")
            continue
        cells = written[row.client]
        for column, cell in row.cells().items():
            if cells[column] != cell and not (column == _VERSION and row.is_version_variable):
                found.append(f"{row.client}, {column}: the document has {cells[column]!r}, this run {cell!r}")
    return found


def replace_table(document: str, rows: Sequence[Row], about: str) -> str:
    """Return the document with a new table and the line `about` below it. Skipped clients keep their rows."""
    written = read_table(document)
    cells = [written.get(row.client) if row.skipped else row.cells() for row in rows]
    table = render([each for each in cells if each is not None])
    before, _, after = _split(document)
    return f"{before}{BEGIN}\n{table}\n\n{about}\n{END}{after}"


def _split(document: str) -> tuple[str, str, str]:
    """Return the text before, between and after the markers."""
    before, begin, rest = document.partition(BEGIN)
    between, end, after = rest.partition(END)
    if not (begin and end):
        raise MarkersMissingError(f"The markers {BEGIN} and {END} are missing. Add them where the table belongs.")
    return before, between, after
