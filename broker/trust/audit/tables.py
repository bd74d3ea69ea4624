"""Print an audit as tables, with rich. Nothing in a name is interpreted as markup."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from broker.trust.audit import report

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    from broker.trust.audit.audit import Audit

PLAIN_WIDTH: Final = 140
"""Columns where the output is not a terminal."""
MAXIMUM_ROWS: Final = 1000
"""Of one table. More would take rich minutes, and nobody reads them in a terminal."""
_STYLES: Final = {"error": "bold red", "warning": "yellow", "yes": "green"}


def print_tables(audit: Audit, stream: TextIO) -> None:
    """Print the audit to a terminal or a file."""
    write_tables(audit, Console(file=stream, width=None if stream.isatty() else PLAIN_WIDTH, highlight=False))


def write_tables(audit: Audit, console: Console) -> None:
    """Write the tables to a console of rich."""
    providers = [
        (
            report.clean(one.issuer),
            "?" if one.audiences is None else report.clean(", ".join(one.audiences)) or "none",
            str(audit.users.get(one.arn, 0)),
        )
        for one in audit.account.providers
    ]
    roles = [
        (
            report.shorten_arn(one.policy.role.arn),
            one.reached,
            report.count(len(one.entries), "subject"),
            report.describe_duration(one.policy.role.maximum_seconds),
            report.describe_boundary(one.policy.role.boundary),
        )
        for one in audit.roles
    ]
    entries = [
        (
            report.describe_subject(one),
            report.shorten_arn(one.role),
            report.describe_path(one),
            report.describe_verdict(one),
            report.describe_duration(one.maximum_seconds),
        )
        for one in audit.entries
    ]
    findings = [
        (
            one.finding.rule.severity.value,
            report.shorten_arn(one.source.address),
            f"{report.clean(one.finding.statement)}: {one.message}" if one.finding.statement else one.message,
            one.finding.rule.fix,
            one.finding.rule.id,
        )
        for one in audit.findings
    ]
    for title, columns, rows in (
        ("OIDC providers", ("issuer", "audiences", "roles"), providers),
        ("Roles that tokens can reach", ("role", "reached by", "who", "longest session", "boundary"), roles),
        ("Who can become what", ("subject", "role", "through", "can", "longest session"), entries),
        ("Findings", ("severity", "place", "finding", "fix", "rule"), findings),
    ):
        _write_table(console, title, columns, rows)
    console.print(Text(report.summarize(audit)))


def _write_table(console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows[:MAXIMUM_ROWS]:
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    if table.row_count:
        console.print(table)
    if len(rows) > MAXIMUM_ROWS:
        console.print(Text(f"and {len(rows) - MAXIMUM_ROWS:,} more rows: use --html or --format json"))
