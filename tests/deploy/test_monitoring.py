"""PodMonitor, alerts and dashboard: valid, with queries for existing metrics and links to existing documentation."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest
import yaml

from broker.core.errors import BrokerError
from broker.core.faults import FAILURE, SUCCESS
from broker.core.session_sizes import NEAR_LIMIT_PERCENT
from broker.serving import health
from tests.deploy.alerting import MONITORING, RULE, RULES, SCRAPE, needs_promtool, run_promtool
from tests.deploy.queries import DASHBOARD, DASHBOARD_TEXT, grouped, queries, scraped, selected
from tests.deploy.rendering import DEPLOY, EXAMPLES, KUBECTL, Rendered, example, kustomize, needs_kubectl
from tests.docs.anchors import anchors
from tests.docs.tables import leaves

if TYPE_CHECKING:
    from pathlib import Path

OPERATIONS = (DEPLOY.parent / "docs/operations.md").read_text()
README = (DEPLOY / "README.md").read_text()
POD_MONITOR = yaml.safe_load((MONITORING / "pod-monitor.yaml").read_text())
(ENDPOINT,) = POD_MONITOR["spec"]["podMetricsEndpoints"]
RUNBOOKS = "https://runbooks.example"
"""The address in the alerts until an operator sets one. The domain is reserved, so nobody can own it (RFC 2606)."""
REASONS = {kind.reason for kind in leaves(BrokerError)}
QUERIES = queries()
PANELS = DASHBOARD["panels"]


def test_query_parser_finds_metrics_matchers_and_groups() -> None:
    query = 'max without (a) (x{b="1"}) / on (c) group_left (d) rate(y[5m]) > clamp_max(-z, 1)'
    assert [each.metric for each in selected(query)] == ["x", "y", "z"]
    assert selected(query)[0].matchers == (("b", "1"),)
    assert grouped(query) == {"a", "c"}
    with pytest.raises(ValueError, match="unclosed"):
        selected("sum(")


@pytest.mark.parametrize("where", QUERIES)
def test_query_uses_existing_metrics_and_labels(where: str) -> None:
    known = scraped()
    labels: set[str] = set()
    found = selected(QUERIES[where])
    assert found
    for each in found:
        assert each.metric in known
        assert {name for name, _ in each.matchers} <= known[each.metric]
        labels |= known[each.metric]
    assert grouped(QUERIES[where]) <= labels


@pytest.mark.parametrize("where", QUERIES)
def test_query_matches_existing_label_values(where: str) -> None:
    allowed = {
        "reason": REASONS,
        "outcome": {SUCCESS, FAILURE},
        "job": {ENDPOINT["relabelings"][0]["replacement"]},
        "code": {str(int(code)) for code in HTTPStatus},
        "namespace": {"$namespace", "x"},
        "profile": {"$profile", "", "x"},
        "pod": {"x"},
    }
    for each in selected(QUERIES[where]):
        for name, value in each.matchers:
            assert set(value.split("|")) <= allowed[name], name


def test_every_metric_is_used_by_an_alert_or_a_panel() -> None:
    asked = {each.metric for query in QUERIES.values() for each in selected(query)}
    own = {name for name in scraped() if name.startswith("sts_broker_")}
    assert own - asked == {f"sts_broker_exchange_duration_seconds_{part}" for part in ("count", "sum")}


def test_alerts_have_severity_texts_and_a_section_in_operations_md() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule.keys() - {"for"} == {"alert", "expr", "labels", "annotations"}
        assert rule["labels"] in ({"severity": "critical"}, {"severity": "warning"})
        texts = rule["annotations"]
        assert texts.keys() == {"summary", "description", "runbook_url"}
        path, _, anchor = texts["runbook_url"].partition("#")
        assert path == f"{RUNBOOKS}/docs/operations.md"
        assert anchor == rule["alert"].lower()
        assert f"\n### {rule['alert']}\n" in OPERATIONS
        assert anchor in anchors(OPERATIONS)
        for mentioned in re.findall(r"(docs/[\w.-]+)", texts["description"]):
            assert (DEPLOY.parent / mentioned).exists()


def test_alert_on_sizes_and_the_log_have_the_same_bound() -> None:
    (rule,) = (rule for rule in RULES if rule["alert"] == "StsBrokerSizeNearLimit")
    assert re.findall(r">= (\S+)", rule["expr"]) == [f"{NEAR_LIMIT_PERCENT / 100}"] * 2


def test_operations_md_has_sections_only_for_existing_alerts() -> None:
    chapter = OPERATIONS.split("\n## The alerts\n")[1].split("\n## ")[0]
    assert re.findall(r"^### (\w+)$", chapter, re.MULTILINE) == [rule["alert"] for rule in RULES]
    row = r"^\| \[(\w+)\]\(#(\w+)\) \| (\w+) \| `(\w+)` .*, (for \w+|at once) \|$"
    assert re.findall(row, chapter, re.MULTILINE) == [
        (
            rule["alert"],
            rule["alert"].lower(),
            rule["labels"]["severity"],
            selected(rule["expr"])[0].metric.replace("issued", "expiry" if "Expiring" in rule["alert"] else "issued"),
            f"for {rule['for']}" if "for" in rule else "at once",
        )
        for rule in RULES
    ]


def test_fields_are_known_to_the_api_server_and_the_operator() -> None:
    assert RULE.keys() == POD_MONITOR.keys() == {"apiVersion", "kind", "metadata", "spec"}
    assert RULE["apiVersion"] == POD_MONITOR["apiVersion"] == "monitoring.coreos.com/v1"
    assert (RULE["kind"], POD_MONITOR["kind"]) == ("PrometheusRule", "PodMonitor")
    assert RULE["spec"].keys() == {"groups"}
    assert all(group.keys() == {"name", "rules"} for group in RULE["spec"]["groups"])
    assert POD_MONITOR["spec"].keys() == {"namespaceSelector", "selector", "podMetricsEndpoints"}
    assert ENDPOINT.keys() == {"port", "path", "interval", "relabelings"}
    (job, ended) = ENDPOINT["relabelings"]
    assert job.keys() == {"targetLabel", "replacement"}
    assert ended.keys() == {"sourceLabels", "regex", "action"}
    assert ENDPOINT["interval"] == f"{SCRAPE.total_seconds():.0f}s", "the interval of the tests"
    assert ENDPOINT["path"] in health._INDEX.split()


@needs_kubectl
@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in {"environment-variables", "exec"}])
def test_pod_monitor_finds_one_broker_in_each_pod(name: str) -> None:
    """Selects by the name of the port, in init containers and regular containers, and by no label.

    The example with environment variables runs `once`, which has no port.
    """
    assert POD_MONITOR["spec"]["selector"] == {}
    assert POD_MONITOR["spec"]["namespaceSelector"] == {"any": True}
    containers = example(name).pod.containers
    (found,) = (
        each for each in containers if any(port.get("name") == ENDPOINT["port"] for port in each.get("ports", ()))
    )
    assert found["name"] == "sts-broker"
    assert len(ENDPOINT["port"]) <= 15


@pytest.mark.parametrize(
    ("phase", "is_scraped"),
    [("Pending", True), ("Running", True), ("Unknown", True), ("Succeeded", False), ("Failed", False)],
)
def test_ended_pod_is_not_scraped(phase: str, is_scraped: bool) -> None:
    """Otherwise each completed Job would fire StsBrokerDown: operators before 0.60 do not drop such pods."""
    (dropped,) = (each for each in ENDPOINT["relabelings"] if each.get("action") == "drop")
    assert dropped["sourceLabels"] == ["__meta_kubernetes_pod_phase"]
    assert is_scraped == (not re.fullmatch(dropped["regex"], phase)), "Prometheus anchors regular expressions"


@needs_kubectl
def test_kustomization_is_in_the_namespace_that_the_network_policy_allows() -> None:
    rendered = Rendered(documents=tuple(kustomize(MONITORING)))
    assert sorted(each["kind"] for each in rendered.documents) == ["ConfigMap", "PodMonitor", "PrometheusRule"]
    (policy,) = (each["spec"] for each in example("network-policy").of_kind("NetworkPolicy"))
    allowed = {
        source["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        for rule in policy["ingress"]
        for source in rule["from"]
    }
    assert {each["metadata"]["namespace"] for each in rendered.documents} == allowed
    (dashboard,) = rendered.of_kind("ConfigMap")
    assert dashboard["metadata"]["labels"] == {"grafana_dashboard": "1"}
    assert dashboard["data"] == {"sts-federation-broker.json": DASHBOARD_TEXT}


@needs_kubectl
def test_kustomization_of_the_readme_sets_the_address_of_the_runbook(tmp_path: Path) -> None:
    """Only what precedes the # of each runbook_url changes, and the ConfigMap with the address is not printed."""
    (block,) = (each for each in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL) if "runbook-url" in each)
    shutil.copytree(MONITORING, tmp_path / "monitoring")
    root = tmp_path / "a" / "b"
    root.mkdir(parents=True)
    (root / "kustomization.yaml").write_text(block)
    rendered = Rendered(documents=tuple(kustomize(root)))
    (address,) = re.findall(r"url=(https://\S+/docs/operations\.md)\"", block)
    (rule,) = rendered.of_kind("PrometheusRule")
    expected = json.loads(json.dumps(RULE["spec"]).replace(f"{RUNBOOKS}/docs/operations.md", address))
    assert rule["spec"] == expected
    assert json.dumps(expected).count(address) == len(RULES)
    plain = Rendered(documents=tuple(kustomize(MONITORING)))
    for kind in ("ConfigMap", "PodMonitor"):
        assert rendered.of_kind(kind) == plain.of_kind(kind)
    assert len(rendered.documents) == len(plain.documents)


@needs_kubectl
@needs_promtool
def test_rules_extracted_as_in_the_readme_pass_their_tests(tmp_path: Path) -> None:
    """The way for clusters without the Prometheus operator."""
    (block,) = (each for each in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) if "--local" in each)
    shutil.copytree(MONITORING, tmp_path / "monitoring")
    done = subprocess.run(["bash", "-ec", block], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (address,) = re.findall(r"^RUNBOOK_URL=(\S+)$", block, re.MULTILINE)
    extracted = (tmp_path / "monitoring/alerts.yaml").read_text()
    assert yaml.safe_load(extracted.replace(address, f"{RUNBOOKS}/docs/operations.md")) == RULE["spec"]
    assert RUNBOOKS not in extracted
    checked = run_promtool("check", "rules", "monitoring/alerts.yaml", directory=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert KUBECTL


def test_dashboard_is_formatted_like_json_dumps() -> None:
    assert json.dumps(DASHBOARD, indent=2, ensure_ascii=False) + "\n" == DASHBOARD_TEXT


def test_panels_have_unique_titles_and_descriptions() -> None:
    for key in ("id", "title", "description"):
        assert len({panel[key] for panel in PANELS}) == len(PANELS)
    for panel in PANELS:
        assert panel["type"] in {"stat", "timeseries", "heatmap", "table"}
        assert panel["description"].endswith(".")
        references = [target["refId"] for target in panel["targets"]]
        assert references
        assert len(set(references)) == len(references)


def test_panels_fill_the_grid_without_overlapping() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = set(
            itertools.product(range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"]))
        )
        assert cells
        assert not cells & taken, panel["title"]
        taken |= cells
    bottom = max(y for _, y in taken) + 1
    assert len(taken) == 24 * bottom, "there are holes"


def test_every_query_of_the_dashboard_uses_the_selected_data_source() -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    asking = [*PANELS, *(target for panel in PANELS for target in panel["targets"])]
    asking += [each for each in DASHBOARD["templating"]["list"] if each["type"] == "query"]
    assert all(each["datasource"] == chosen for each in asking)


def test_dashboard_uses_all_of_its_variables() -> None:
    names = [variable["name"] for variable in DASHBOARD["templating"]["list"]]
    assert names == ["datasource", "namespace", "profile"]
    used = set(re.findall(r"\$\{?(?!__)(\w+)", DASHBOARD_TEXT))
    assert used == set(names)


def test_legends_use_labels_of_their_query() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            named = set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")))
            query = QUERIES[f"panel {panel['title']} {target['refId']}"]
            kept = grouped(query) or scraped()[selected(query)[0].metric]
            assert named <= kept, panel["title"]


def test_dashboard_has_a_uid_and_no_instance_specific_fields() -> None:
    assert DASHBOARD["uid"] == "sts-federation-broker"
    assert "id" not in DASHBOARD, "Grafana assigns it"
    assert not re.search(r"https?://", DASHBOARD_TEXT)
