"""The alerts as promtool reads them, and series that a simulated fleet with the real loop gives Prometheus.

Tests of promtool begin at the epoch, so times are seconds since the start of the simulation. A series that is absent
from a scrape ends with a stale marker, as in Prometheus.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from broker.serving.answer_counts import AnswerCounts
from broker.serving.metrics import render_metrics
from tests.deploy.rendering import DEPLOY
from tests.support.fakes import EPOCH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from tests.support.world import World

MONITORING = DEPLOY / "monitoring"
RULE = yaml.safe_load((MONITORING / "prometheus-rule.yaml").read_text())
RULES: list[dict[str, Any]] = [rule for group in RULE["spec"]["groups"] for rule in group["rules"]]
PROMTOOL = shutil.which("promtool") or ""
SCRAPE = timedelta(seconds=30)
FIRING = 'ALERTS{alertstate="firing"}'

needs_promtool = pytest.mark.skipif(
    not PROMTOOL, reason="SKIPPED: promtool is not installed; it is part of Debian's package prometheus"
)

# Reads thousands of pages, where the parser of prometheus_client takes seven times as long as the broker.
SAMPLE = re.compile(r"^(\w+)(\{.*\})? (\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')

Series = dict[tuple[str, frozenset[tuple[str, str]]], list[str]]


def run_promtool(*arguments: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run promtool in a directory whose alerts.yaml has the rules of the PrometheusRule."""
    (directory / "alerts.yaml").write_text(yaml.safe_dump(RULE["spec"]))
    return subprocess.run(
        [PROMTOOL, *arguments], cwd=directory, capture_output=True, text=True, timeout=120, check=False
    )


@dataclass(kw_only=True)
class Fleet:
    """Pods that run at the same time, each in a simulated world of its own, and are scraped together."""

    worlds: Sequence[World]
    scrapes: int = 0
    series: Series = field(default_factory=dict)
    process: dict[str, float] = field(
        default_factory=lambda: {
            "process_start_time_seconds": 0,
            "process_resident_memory_bytes": 4e7,
            "process_cpu_seconds_total": 0.5,
        }
    )
    """The metrics of the process, in every pod."""

    def live(self, duration: timedelta) -> None:
        """Let this time pass, with a scrape every 30 s."""
        for _ in range(duration // SCRAPE):
            for number, world in enumerate(self.worlds):
                world.live(SCRAPE)
                self._scrape(world, f"app-{number}")
            self.scrapes += 1
            for values in self.series.values():
                if len(values) < self.scrapes:
                    values.append("_" if values[-1] in {"_", "stale"} else "stale")

    def change_worlds(self, change: Callable[[World], None]) -> None:
        """Apply a change to every world."""
        for world in self.worlds:
            change(world)

    def _scrape(self, world: World, pod: str) -> None:
        target = {"job": "sts-federation-broker", "namespace": "demo", "pod": pod}
        for name, value in {"up": 1.0, **self.process}.items():
            self._add(name, target, value)
        answers = AnswerCounts(profile.name for profile in world.profiles)
        page = render_metrics(world.snapshot(), world.clock.now, None, answers=answers.counts).decode()
        for name, labels, text in SAMPLE.findall(page):
            offset = EPOCH.timestamp() if name.endswith("_timestamp_seconds") else 0
            self._add(name, {**target, **dict(LABEL.findall(labels))}, float(text) - offset)

    def _add(self, name: str, labels: dict[str, str], value: float) -> None:
        values = self.series.setdefault((name, frozenset(labels.items())), ["_"] * self.scrapes)
        values.append(f"{value:.3f}".removesuffix(".000"))

    def check_alerts(self, expected: dict[timedelta, set[str]], directory: Path) -> None:
        """Check that exactly these alerts have fired by each of these times, in any pod."""
        questions = [
            {
                "expr": f"group by (alertname) (last_over_time({FIRING}[{_format_seconds(at)}]))",
                "eval_time": _format_seconds(at),
                "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in sorted(alerts)],
            }
            for at, alerts in expected.items()
        ]
        assert max(expected) <= SCRAPE * (self.scrapes - 1), "the simulation ends before"
        self._run_queries(questions, directory)

    def check_results(self, queries: Iterable[str], directory: Path) -> None:
        """Check that each of these queries returns a result now."""
        now = _format_seconds(SCRAPE * (self.scrapes - 1))
        something = [{"labels": "{}", "value": 1}]
        self._run_queries(
            [{"expr": f"group({query})", "eval_time": now, "exp_samples": something} for query in queries], directory
        )

    def _run_queries(self, questions: list[dict[str, Any]], directory: Path) -> None:
        inputs = [
            {"series": f"{name}{{{_format_labels(labels)}}}", "values": " ".join(values)}
            for (name, labels), values in self.series.items()
        ]
        test = {"interval": _format_seconds(SCRAPE), "input_series": inputs, "promql_expr_test": questions}
        document = {"rule_files": ["alerts.yaml"], "evaluation_interval": _format_seconds(SCRAPE), "tests": [test]}
        (directory / "fleet.test.yaml").write_text(json.dumps(document))
        done = run_promtool("test", "rules", "fleet.test.yaml", directory=directory)
        assert done.returncode == 0, done.stdout + done.stderr


def _format_labels(labels: frozenset[tuple[str, str]]) -> str:
    return ",".join(f'{name}="{value}"' for name, value in sorted(labels))


def _format_seconds(duration: timedelta) -> str:
    return f"{duration.total_seconds():.0f}s"
