"""Tables of the docs pages, generated from the code.

`python -m tests.docs.tables` writes them into the pages; tests compare the pages with them.
"""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from broker.core import errors
from broker.core.errors import BrokerError
from broker.core.status import Status
from broker.core.web_identity_status import WebIdentityTokenStatuses
from broker.serving.metrics import collect_metrics
from broker.serving.process_readings import ProcessReader
from broker.settings.schema import NamedProfile, Notify, ProfileKeys, Settings
from broker.settings.variables import CONFIG_VARIABLE, ENVIRONMENT
from broker.trust.audit.rules import AUDIT_RULES
from broker.trust.linter.rules import RULES
from tests.deploy.charts import read_values
from tests.support.fakes import EPOCH, make_profile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

    from broker.trust.linter.rule import Rule


COSTS = (
    "resident memory after an hour of `run`, scraped",
    "CPU from exec to first published credentials",
    "wall time from exec to first published credentials",
    "idle CPU, each second",
    "credentials endpoint, p99 at 200 requests a second",
)
"""The figures of the README, by their names in docs/performance.md."""


def settings_table() -> str:
    """Return the settings table: YAML key, environment variables, default and meaning of each setting."""
    variables: dict[str, list[str]] = {}
    for variable in ENVIRONMENT:
        variables.setdefault(".".join(variable.path), []).append(f"`{variable.name}`")
    rows = [f"| | `{CONFIG_VARIABLE}` | | The YAML file. |"]
    for key, field in _fields(Settings):
        if key != "profiles":
            names = ", ".join(variables.get(key, []))
            rows.append(f"| `{key}` | {names} | {_default(key, field)} | {field.description} |")
        if key == "notify":
            rows += [
                f"| `notify[].{name}` | | {_default(name, each)} | {each.description} |"
                for name, each in Notify.model_fields.items()
            ]
    rows.append("| `profiles` | | one, `default` | A list: `name`, the keys from `role_arn` to `notify`, and these: |")
    for key, field in NamedProfile.model_fields.items():
        if key not in ProfileKeys.model_fields and key != "name":
            rows.append(f"| `profiles[].{key}` |  |  | {field.description} |")
    return _table("| YAML key | environment | default | meaning |", rows)


def metrics_table() -> str:
    """Return the metrics table: name, type, labels and meaning of each metric."""
    tokens = WebIdentityTokenStatuses(["default"]).snapshot()
    snapshot = replace(Status([make_profile()]).snapshot(), web_identity_tokens=tokens)
    rows = [
        f"| `{metric.name}` | {metric.type} | {', '.join(metric.labels)} | {metric.help} |"
        for metric in collect_metrics(snapshot, EPOCH, ProcessReader().read())
    ]
    return _table("| metric | type | labels | meaning |", rows)


def reasons_table() -> str:
    """Return the reasons table: meaning, what the loop does and the exit code of `once`, for each error class."""
    actions = {
        errors.Disposition.SOON: "retries after 1 s, doubling to 60 s",
        errors.Disposition.SOON_THEN_SLOW: "retries after 1 s, doubling; from the sixth failure, after 1 to 5 min",
        errors.Disposition.SLOW: "retries after 1 min, doubling to 5 min",
        errors.Disposition.ROTATION: "waits for the kubelet's next token; looks every 15 s",
    }
    rows = []
    for kind in leaves(BrokerError):
        action = actions[kind.disposition]
        if issubclass(kind, errors.TokenError):
            action = "looks again after 1 s, doubling to 15 s"
        if kind is errors.SourceUnavailable:
            action = "retries as soon as the source has credentials"
        if kind is errors.ConfigurationError:
            action = "exits before anything starts"
        rows.append(f"| `{kind.reason}` | {(kind.__doc__ or '').splitlines()[0]} | {action} | {kind.exit_code} |")
    return _table("| reason | meaning | the loop | exit code of `once` |", rows)


def trust_rules_table() -> str:
    """Return a row for each rule of `sts-broker trust lint`: id, severity, what is wrong, why it matters, the fix."""
    return _list_rules(RULES.values())


def audit_rules_table() -> str:
    """Return the same for the rules that `sts-broker trust audit` adds."""
    return _list_rules(AUDIT_RULES.values())


def _list_rules(rules: Iterable[Rule]) -> str:
    rows = [f"| `{rule.id}` | {rule.severity.value} | {rule.title}. | {rule.why} | {rule.fix} |" for rule in rules]
    return _table("| rule | severity | what is wrong | why it matters | fix |", rows)


def cost_table() -> str:
    """Return the figures of docs/performance.md that matter to someone who decides."""
    page = (Path(__file__).parents[2] / "docs/performance.md").read_text()
    rows = []
    for name in COSTS:
        (found,) = re.findall(rf"^\| {re.escape(name)} \| (.*?) \| (.*?) \| (.*?) \|", page, re.MULTILINE)
        rows.append(f"| {name} | {' | '.join(found)} |")
    return _table("| what it costs | measured (least to most) | against | ratio |", rows)


def chart_values_table() -> str:
    """Return a row for each value of the Helm chart: key, default and meaning."""
    rows = [f"| `{value.key}` | `{json.dumps(value.default)}` | {value.description} |" for value in read_values()]
    return _table("| value | default | meaning |", rows)


def _table(head: str, rows: list[str]) -> str:
    rule = "|" + " --- |" * (head.count("|") - 1)
    return "\n".join([head, rule, *rows])


def _fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        nested = field.annotation
        if isinstance(nested, type) and hasattr(nested, "model_fields"):
            yield from _fields(nested, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def _default(key: str, field: FieldInfo) -> str:
    value = field.default
    if key in {"role_arn", "region"}:
        return "must be set"
    if key == "publish.mode":
        return f"`{value:04o}`"
    if value in (None, ()) or isinstance(value, timedelta):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def leaves(kind: type[BrokerError]) -> Iterator[type[BrokerError]]:
    """Yield the error classes without subclasses: those that are raised."""
    below = kind.__subclasses__()
    if not below:
        yield kind
    for each in below:
        yield from leaves(each)


def with_table(page: str, table: str) -> str:
    """Return the page with the table that has the same first column heading replaced. Raises ValueError without one."""
    first_cell = table[: table.index("|", 1) + 1]
    stale = rf"^{re.escape(first_cell)}.*\n(?:\|.*\n)+"
    written, count = re.subn(stale, lambda _: f"{table}\n", page, flags=re.MULTILINE)
    if count != 1:
        raise ValueError(f"{count} tables begin with {first_cell}; expected one")
    return written


TABLES: dict[str, Callable[[], str]] = {
    "README.md": cost_table,
    "deploy/charts/sts-broker-platform/README.md": chart_values_table,
    "docs/settings.md": settings_table,
    "docs/metrics.md": metrics_table,
    "docs/operations.md": reasons_table,
    "docs/trust.md": trust_rules_table,
    "docs/audit.md": audit_rules_table,
}
"""What generates the table of each page."""


if __name__ == "__main__":
    root = Path(__file__).parents[2]
    for name, table in TABLES.items():
        page = root / name
        page.write_text(with_table(page.read_text(), table()))
