"""The report as JSON, SARIF, tables and page; and names in it that try to be markup."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest
from jsonschema import Draft7Validator
from rich.console import Console

from broker.trust.audit.html_report import render_page
from broker.trust.audit.report import as_json, as_sarif, describe_duration, summarize
from broker.trust.audit.rules import ALL_RULES, AUDIT_RULES
from broker.trust.audit.tables import print_tables, write_tables
from broker.trust.linter.rules import RULES
from tests.support.audited_account import MANIFESTS, PROVIDERS, ROLES, for_tokens, role_arn, trust
from tests.support.sarif import SARIF
from tests.unit.trust.audit.auditing import run_audit

if TYPE_CHECKING:
    from broker.trust.audit.audit import Audit

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(2)">[bold red]\x1b[31m"\'&{{ 7 * 7 }}'
TOKEN_LIKE = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0."


@pytest.fixture(scope="module")
def result() -> Audit:
    return run_audit(ROLES, MANIFESTS, providers=PROVIDERS)


@pytest.fixture(scope="module")
def hostile() -> Audit:
    statement = for_tokens(f"{HOSTILE}{TOKEN_LIKE}*", Sid=HOSTILE)
    return run_audit({HOSTILE: trust(statement), "broken": HOSTILE}, providers={HOSTILE: [HOSTILE], **PROVIDERS})


def write_text(audit: Audit) -> str:
    stream = io.StringIO()
    print_tables(audit, stream)
    return stream.getvalue()


def test_json_has_every_part(result: Audit) -> None:
    found = json.loads(json.dumps(as_json(result)))
    assert {one["arn"]: one["reached"] for one in found["roles"]}[role_arn("reports")] == "chain"
    assert {one["issuer"]: one["roles"] for one in found["providers"]}["https://gitlab.com"] == 0
    (row,) = (one for one in found["matrix"] if one["role"] == role_arn("archive"))
    assert row == {
        "subject": "system:serviceaccount:shop:cart",
        "meaning": "system:serviceaccount:shop:cart",
        "kind": "service account",
        "provider": "arn:aws:iam::123456789012:oidc-provider/oidc.example/cluster",
        "audiences": ["sts.amazonaws.com"],
        "role": role_arn("archive"),
        "through": [role_arn("cart"), role_arn("reports")],
        "verdict": "conditional",
        "conditions": ["StringEquals sts:ExternalId archive"],
        "exists": True,
        "max_session_seconds": 3600,
        "permissions_boundary": "",
    }
    assert found["cluster"] == {"issuer": "https://oidc.example/cluster", "service_accounts": 2, "workloads": 2}
    assert found["other_roles"] == 1


def test_sarif_is_valid_and_names_places(result: Audit) -> None:
    document = json.loads(json.dumps(as_sarif(result)))
    assert list(Draft7Validator(SARIF).iter_errors(document)) == []
    (run,) = document["runs"]
    assert run["tool"]["driver"]["name"] == "sts-broker trust audit"
    assert [one["id"] for one in run["tool"]["driver"]["rules"]] == list(ALL_RULES)
    places = {one["ruleId"]: one["locations"][0] for one in run["results"]}
    assert places["missing-provider"] == {"logicalLocations": [{"fullyQualifiedName": role_arn("legacy")}]}
    assert places["pod-refused"]["physicalLocation"]["artifactLocation"]["uri"] == "cluster.yaml"


def test_rules_of_lint_and_audit_differ() -> None:
    assert not RULES.keys() & AUDIT_RULES.keys()


def test_table_has_every_row_and_finding(result: Audit) -> None:
    text = write_text(result)
    for part in ("cart > reports", "pod-refused", "2 h", "workload-boundary", summarize(result)):
        assert part in text, part
    assert "the service account doesn't exist" in re.sub(r"\s+", " ", text)


def test_long_table_is_cut_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.trust.audit.tables.MAXIMUM_ROWS", 3)
    policies = {f"app-{one}": trust(for_tokens(f"system:serviceaccount:shop:app-{one}")) for one in range(5)}
    text = write_text(run_audit(policies))
    assert text.count("and 2 more rows: use --html or --format json") == 2
    assert "app-2 " in text
    assert "app-3 " not in text


def test_empty_account_has_a_summary_only() -> None:
    assert write_text(run_audit({}, providers={})) == (
        "0 roles that tokens can reach, 0 other roles, 0 OIDC providers, 0 errors, 0 warnings, 0 not judged\n"
    )


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "?"), (3600, "1 h"), (5400, "1 h 30 min"), (900, "15 min"), (7, "7 s")]
)
def test_duration_is_for_people(seconds: int | None, text: str) -> None:
    assert describe_duration(seconds) == text


class Page(HTMLParser):
    """Collects tags with their attributes, and text outside of style and script."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.code: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        tag = self.tags[-1][0] if self.tags else ""
        if tag in ("style", "script") and data.strip():
            self.code.setdefault(tag, data)
        self.text.append(data)


def test_page_allows_its_own_style_and_script_only(result: Audit) -> None:
    page = Page(render_page(result, now=NOW))
    (policy,) = (
        attributes["content"]
        for tag, attributes in page.tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    hashes = {
        tag: f"'sha256-{base64.b64encode(hashlib.sha256(page.code[tag].encode()).digest()).decode()}'"
        for tag in ("style", "script")
    }
    assert policy == (
        f"default-src 'none'; style-src {hashes['style']}; script-src {hashes['script']}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") or name in ("src", "style", "action") for name in attributes), tag
        assert attributes.get("href", "data:,") == "data:,"


def test_hostile_names_add_no_markup(hostile: Audit, result: Audit) -> None:
    text = render_page(hostile, now=NOW)
    page = Page(text)
    assert {tag for tag, _ in page.tags} <= {tag for tag, _ in Page(render_page(result, now=NOW)).tags} | {"li"}
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert not any(tag == "img" for tag, _ in page.tags)
    assert "{{ 7 * 7 }}" in "".join(page.text)
    assert TOKEN_LIKE not in text
    assert "\x1b" not in text


def test_hostile_names_are_no_markup_of_a_terminal(hostile: Audit) -> None:
    stream = io.StringIO()
    write_tables(
        hostile, Console(file=stream, width=400, force_terminal=True, color_system="standard", highlight=False)
    )
    text = stream.getvalue()
    assert "[bold red]" in text
    assert "\x1b[31m" not in text.replace("\x1b[1;31m", "")
    assert TOKEN_LIKE not in text


def test_hostile_names_are_cleaned_in_json_and_sarif(hostile: Audit) -> None:
    for document in (as_json(hostile), as_sarif(hostile)):
        text = json.dumps(document)
        assert "\\u001b" not in text
        assert TOKEN_LIKE not in text
