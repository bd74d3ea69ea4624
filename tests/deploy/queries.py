"""The PromQL of alerts, dashboard and documents, and the metrics that a broker really has."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

import promql_parser
from prometheus_client.parser import text_string_to_metric_families

from broker.core.errors import ExchangeUnavailable
from broker.core.notify_targets import SignalTarget
from broker.core.session_sizes import SessionSizes
from broker.core.web_identity_spec import WebIdentityTokenSpec
from broker.serving.answer_counts import AnswerCounts
from broker.serving.metrics import render_metrics
from broker.serving.process_readings import ProcessReader
from tests.deploy.alerting import MONITORING, RULES
from tests.support.fakes import make_profile
from tests.support.token_world import TokenWorld
from tests.support.world import World, raising

if TYPE_CHECKING:
    from collections.abc import Iterator

DASHBOARD_TEXT = (MONITORING / "dashboard.json").read_text()
DASHBOARD: dict[str, Any] = json.loads(DASHBOARD_TEXT)
TARGET_LABELS = {"namespace", "pod", "job"}
"""The labels that Prometheus adds to each series that it scrapes through a PodMonitor."""


@cache
def scraped() -> dict[str, frozenset[str]]:
    """Return the labels of every metric, scraped from a broker that worked at first and fails now."""
    spec = WebIdentityTokenSpec(audiences=("vault",))
    world = World(
        profiles=(make_profile(web_identity_token=spec, notify=(SignalTarget(signal="HUP", process="nginx"),)),),
        sizes=SessionSizes(packed_policy_percent=5, session_token_percent=40, session_token_bytes=1600),
    )
    TokenWorld(world)
    world.live(timedelta(minutes=40))
    world.sts_fault = raising(ExchangeUnavailable)
    world.live(timedelta(hours=1))
    answers = AnswerCounts(profile.name for profile in world.profiles)
    body = render_metrics(world.snapshot(), world.clock.now, ProcessReader().read(), answers=answers.counts)
    found: dict[str, frozenset[str]] = {"up": frozenset(TARGET_LABELS)}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            found[sample.name] = frozenset(TARGET_LABELS | sample.labels.keys())
    return found


@dataclass(frozen=True, slots=True)
class Selected:
    """A metric that a query selects, with its matchers as pairs of label and value."""

    metric: str
    matchers: tuple[tuple[str, str], ...]


def selected(query: str) -> list[Selected]:
    """Return the metrics that a query selects. Raises ValueError if the query is not valid PromQL."""
    return [
        Selected(node.name or "", tuple((matcher.name, matcher.value) for matcher in node.matchers.matchers))
        for node in _iterate_nodes(promql_parser.parse(query))
        if isinstance(node, promql_parser.VectorSelector)
    ]


def grouped(query: str) -> set[str]:
    """Return the labels in the aggregations and joins of a query."""
    labels: set[str] = set()
    for node in _iterate_nodes(promql_parser.parse(query)):
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            labels.update(node.modifier.labels)
        if isinstance(node, promql_parser.BinaryExpr) and node.modifier is not None and node.modifier.matching:
            labels.update(node.modifier.matching.labels)
    return labels


def _iterate_nodes(node: Any) -> Iterator[Any]:  # noqa: ANN401 - any kind of expression
    yield node
    for name in ("lhs", "rhs", "expr", "param", "vector_selector"):
        below = getattr(node, name, None)
        if below is not None:
            yield from _iterate_nodes(below)
    for below in getattr(node, "args", ()) or ():
        yield from _iterate_nodes(below)


def queries() -> dict[str, str]:
    """Return every query of alerts and dashboard, as Prometheus gets it, by its place."""
    found = {f"alert {rule['alert']}": rule["expr"] for rule in RULES}
    for rule in RULES:
        templates = re.findall(r'printf "([^"]+)"', rule["annotations"]["description"])
        found |= {f"text of {rule['alert']}": text.replace("%q", '"x"') for text in templates}
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            query = target["expr"].replace("$__rate_interval", "5m")
            found[f"panel {panel['title']} {target['refId']}"] = query
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            (match,) = re.findall(r"^label_values\((.+), (\w+)\)$", variable["definition"])
            found[f"variable {variable['name']}"] = f"group by ({match[1]}) ({match[0]})"
    return found
