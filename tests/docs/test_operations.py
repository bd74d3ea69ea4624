"""docs/operations.md: every claim has a test, every link has a target, every query uses existing metrics."""

from __future__ import annotations

import json
import re
import stat
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from broker.core.model import ENDPOINT_TOKEN_FILE, PublishSpec, Secret
from broker.core.schedule import RefreshPolicy
from broker.publish.file_sink import FileSink
from broker.publish.state_file import STATE_FILE
from broker.runtime.logs import EVENTS
from broker.serving.answer_counts import AnswerCounts
from broker.serving.metrics import render_metrics
from broker.serving.process_readings import ProcessReader
from tests.deploy.queries import grouped, scraped, selected
from tests.docs import tables
from tests.docs.anchors import anchors
from tests.policies.test_permissions import analyze
from tests.support.fakes import FakeClock, make_generation, make_profile
from tests.support.world import World

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/operations.md"
TEXT = PAGE.read_text()
TESTS = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
MIB = 2**20


def chapter(title: str) -> str:
    """Return the text under a heading, up to the next heading of its level."""
    level = "#" * (2 if f"\n## {title}\n" in TEXT else 3)
    return re.split(rf"\n{level[:3]} |\n## ", TEXT.split(f"\n{level} {title}\n")[1])[0]


def rows(title: str) -> list[list[str]]:
    """Return the cells of the table under a heading, without the header."""
    lines = [line for line in chapter(title).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_tests_that_the_page_names_exist() -> None:
    named = re.findall(r"`([tT]est_?\w+)`", TEXT)
    assert len(named) >= 50
    for name in named:
        assert f"def {name}(" in TESTS or f"\n{name} = " in TESTS, name


@pytest.mark.parametrize("title", ["What happens when", "Who can read what"])
def test_every_row_names_a_test(title: str) -> None:
    assert len(rows(title)) >= 10
    for row in rows(title):
        everything_is_open = row[1:4] == ["yes", "yes", "yes"]
        assert "`test_" in row[-1] or "the same" in row[-1] or "`TestWeeks`" in row[-1] or everything_is_open, row


@pytest.mark.parametrize("title", ["What a compromised app gets", "What a compromised broker gets", "The endpoint"])
def test_every_claim_of_safety_names_a_test(title: str) -> None:
    """A bullet that denies something names a test, and so does each claim about the endpoint."""
    text = chapter(title)
    for bullet in re.findall(r"^- (.*?)(?=^- |\Z|\n\n)", text, re.DOTALL | re.MULTILINE):
        if re.search(r"\b(not|cannot|no)\b", bullet.split(".")[0]) and "hidden" not in bullet:
            assert "`test_" in bullet, bullet
    assert text.count("`test_") >= 4


def test_links_have_a_target_and_an_existing_heading() -> None:
    for target in re.findall(r"\]\((?!https:)([^)]+)\)", TEXT):
        path, _, anchor = target.partition("#")
        page = (PAGE.parent / path).resolve() if path else PAGE
        assert page.exists(), target
        if anchor:
            assert anchor in anchors(page.read_text()), target


def test_anchors_match_those_of_github() -> None:
    assert anchors("# What a `reason` means\n```sh\n# no heading\n```\n### publish_failed\n") == {
        "what-a-reason-means",
        "publish_failed",
    }


def test_every_reason_has_a_section_in_the_order_of_the_table() -> None:
    section = chapter("What a `reason` means")
    reasons = [row.split("`")[1] for row in tables.reasons_table().splitlines()[2:]]
    assert re.findall(r"^### (\w+)$", section, re.MULTILINE) == reasons


def test_every_log_event_is_explained_in_the_order_of_the_code() -> None:
    assert [row[0] for row in rows("Log lines and their fields") if row[0].strip("`") in EVENTS] == [
        f"`{event}`" for event in EVENTS
    ]


def test_queries_use_metrics_and_labels_of_a_broker() -> None:
    blocks = re.findall(r"```promql\n(.*?)```", TEXT, re.DOTALL)
    queries = [line for block in blocks for line in block.splitlines()]
    assert queries
    for query in queries:
        for each in selected(query):
            assert {name for name, _ in each.matchers} | grouped(query) <= scraped()[each.metric]


def test_sizes_match_the_figures_and_the_manifests() -> None:
    figures = (ROOT / "docs/performance.md").read_text()
    scraped_row = re.search(r"of `run`, scraped \| ([\d.]+) MiB", figures)
    further_row = re.search(r"each further profile \| ([\d.]+) KiB", figures)
    assert scraped_row is not None
    assert further_row is not None
    sizes = {row[0]: row[1] for row in rows("Sizing")}
    assert f"{float(scraped_row[1]):.0f} MiB, and {float(further_row[1]):.0f} KiB for each" in sizes["memory"]
    pod = yaml.safe_load((ROOT / "deploy/component/pod-template.yaml").read_text())["spec"]["template"]["spec"]
    resources = pod["initContainers"][0]["resources"]
    request, limit = resources["requests"], resources["limits"]["memory"]
    assert sizes["memory"].endswith(f"Request {request['memory'][:-2]} MiB, limit {limit[:-2]} MiB.")
    assert f"Request {request['cpu']}, and no limit" in sizes["CPU"]
    volumes = {each["name"]: each["emptyDir"]["sizeLimit"] for each in pod["volumes"] if "emptyDir" in each}
    volume = volumes["sts-broker-credentials"]
    assert sizes["publish directory"].startswith(f"{volume[:-2]} MiB")


def test_publish_directory_holds_hundreds_of_profiles(tmp_path: Path) -> None:
    """At the worst moment, one file exists twice; files take whole pages."""
    profiles = [make_profile(f"profile-{number}") for number in range(200)]
    publish = PublishSpec(directory=str(tmp_path), mode=0o640, group=None, env=True)
    key = Secret("k" * 2048)
    generations = [make_generation(profile.name, session_token=key) for profile in profiles]
    FileSink(publish, profiles, FakeClock(), Secret("t")).publish(generations)
    files = [path.lstat() for path in tmp_path.iterdir()]
    assert len(files) == 2 * len(profiles) + len(("config", "credentials", ENDPOINT_TOKEN_FILE, STATE_FILE))
    assert all(stat.S_ISREG(each.st_mode) for each in files)
    largest = max(each.st_size for each in files)
    pages = sum(-(-each.st_size // 4096) * 4096 for each in files)
    assert pages + largest < 4 * MIB
    assert "200 profiles with keys of 2 KiB take less than 4 MiB" in TEXT


def test_revoking_policy_denies_older_sessions_only() -> None:
    (block,) = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
    (statement,) = json.loads(block)["Statement"]
    assert (statement["Effect"], statement["Action"], statement["Resource"]) == ("Deny", "*", "*")
    time = statement["Condition"]["DateLessThan"]["aws:TokenIssueTime"]
    assert statement["Condition"] == {"DateLessThan": {"aws:TokenIssueTime": time}}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", time)
    assert {finding.issue for finding in analyze(block).findings} <= {"RESOURCE_STAR"}


def test_number_of_calls_for_each_session_is_correct() -> None:
    policy = RefreshPolicy()
    hour = timedelta(hours=1)
    for lifetime, fewest, most in ((hour, 2, 2.5), (12 * hour, 2, 2.5), (1.5 * hour, 3.6, 6), (0.45 * hour, 3.8, 6.3)):
        calls = [lifetime / (lifetime - policy.lead(lifetime, jitter)) for jitter in (0.0, 1.0)]
        assert fewest <= calls[0] < calls[1] <= most
    calls_row = next(row[1] for row in rows("Sizing") if row[0] == "calls to STS")
    assert "two to two and a half for each session" in calls_row
    assert calls_row.endswith("With sessions whose half lies within the SDKs' refresh windows, up to six.")
    assert round(1000 * 2.25 / 60, -1) == 40
    assert 3 < 1000 * 2.25 / (12 * 60) < 4


def test_number_of_series_for_each_pod_is_correct() -> None:
    def series(profiles: int) -> int:
        world = World(profiles=tuple(make_profile(f"p{number}") for number in range(profiles)))
        world.live(timedelta(hours=3))
        answers = AnswerCounts(profile.name for profile in world.profiles)
        body = render_metrics(world.status.snapshot(), world.clock.now, ProcessReader().read(), answers=answers.counts)
        return sum(not line.startswith("#") for line in body.decode().splitlines())

    assert "About 40 series for a pod, and 14 for each further profile." in TEXT
    assert abs(series(1) - 40) <= 2
    assert series(2) - series(1) == 14


def test_short_session_leaves_the_reaction_time_of_the_page() -> None:
    session, left = timedelta(minutes=15), timedelta(minutes=15) / 4
    assert left < timedelta(minutes=4)
    assert not RefreshPolicy().keeps_out_of_sdk_windows(session)
    assert not RefreshPolicy().keeps_out_of_sdk_windows(timedelta(minutes=26))
    assert RefreshPolicy().keeps_out_of_sdk_windows(timedelta(minutes=27))
