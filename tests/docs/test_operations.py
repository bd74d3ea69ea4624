"""docs/operations.md: what it claims has a test, what it links to is there, what it asks Prometheus exists."""

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
from broker.serving.metrics import MetricsPage
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
    """Return what stands under a heading, up to the next of its own level."""
    level = "#" * (2 if f"\n## {title}\n" in TEXT else 3)
    return re.split(rf"\n{level[:3]} |\n## ", TEXT.split(f"\n{level} {title}\n")[1])[0]


def rows(title: str) -> list[list[str]]:
    """Return the cells of the table under a heading, without its head."""
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
    """A bullet that says what cannot be done, and each clause about the endpoint."""
    text = chapter(title)
    for bullet in re.findall(r"^- (.*?)(?=^- |\Z|\n\n)", text, re.DOTALL | re.MULTILINE):
        if re.search(r"\b(not|cannot|no)\b", bullet.split(".")[0]) and "hidden" not in bullet:
            assert "`test_" in bullet, bullet
    assert text.count("`test_") >= 4


def test_links_lead_somewhere_to_the_very_heading() -> None:
    for target in re.findall(r"\]\((?!https:)([^)]+)\)", TEXT):
        path, _, anchor = target.partition("#")
        page = (PAGE.parent / path).resolve() if path else PAGE
        assert page.exists(), target
        if anchor:
            assert anchor in anchors(page.read_text()), target


def test_anchors_are_those_of_github() -> None:
    assert anchors("# What a `reason` means\n```sh\n# no heading\n```\n### publish_failed\n") == {
        "what-a-reason-means",
        "publish_failed",
    }


def test_every_reason_has_a_chapter_in_the_order_of_the_table() -> None:
    section = chapter("What a `reason` means")
    reasons = [row.split("`")[1] for row in tables.reasons_table().splitlines()[2:]]
    assert re.findall(r"^### (\w+)$", section, re.MULTILINE) == reasons


def test_queries_ask_for_what_a_broker_has() -> None:
    blocks = re.findall(r"```promql\n(.*?)```", TEXT, re.DOTALL)
    queries = [line for block in blocks for line in block.splitlines()]
    assert queries
    for query in queries:
        for each in selected(query):
            assert {name for name, _ in each.matchers} | grouped(query) <= scraped()[each.metric]


def test_memory_is_that_of_the_figures_and_of_the_manifests() -> None:
    figures = (ROOT / "docs/performance.md").read_text()
    scraped_row = re.search(r"into `run`, scraped \| ([\d.]+) MiB", figures)
    further_row = re.search(r"a further profile \| ([\d.]+) KiB", figures)
    assert scraped_row is not None
    assert further_row is not None
    said = {row[0]: row[1] for row in rows("Sizing")}
    assert f"{float(scraped_row[1]):.0f} MiB, and {float(further_row[1]):.0f} KiB for each" in said["memory"]
    pod = yaml.safe_load((ROOT / "deploy/component/pod-template.yaml").read_text())["spec"]["template"]["spec"]
    resources = pod["initContainers"][0]["resources"]
    asked, limit = resources["requests"], resources["limits"]["memory"]
    assert said["memory"].endswith(f"Request {asked['memory'][:-2]} MiB, limit {limit[:-2]} MiB.")
    assert f"Request {asked['cpu']}, and no limit" in said["CPU"]
    (volume,) = (each["emptyDir"]["sizeLimit"] for each in pod["volumes"] if "emptyDir" in each)
    assert said["publish directory"].startswith(f"{volume[:-2]} MiB")


def test_publish_directory_has_room_for_hundreds_of_profiles(tmp_path: Path) -> None:
    """At the worst moment: each file twice, in whole pages."""
    profiles = [make_profile(f"profile-{number}") for number in range(200)]
    publish = PublishSpec(directory=str(tmp_path), mode=0o640, group=None, env=True)
    key = Secret("k" * 2048)
    generations = [make_generation(profile.name, session_token=key) for profile in profiles]
    FileSink(publish, profiles, FakeClock(), Secret("t")).publish(generations)
    files = [path.lstat() for path in tmp_path.iterdir()]
    assert len(files) == 2 * len(profiles) + len(("config", "credentials", ENDPOINT_TOKEN_FILE))
    assert all(stat.S_ISREG(each.st_mode) for each in files)
    largest = max(each.st_size for each in files)
    pages = sum(-(-each.st_size // 4096) * 4096 for each in files)
    assert pages + largest < 4 * MIB
    assert "200 profiles with keys of 2 KiB take less than 4 MiB" in TEXT


def test_policy_that_revokes_is_about_older_sessions_alone() -> None:
    (block,) = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
    (statement,) = json.loads(block)["Statement"]
    assert (statement["Effect"], statement["Action"], statement["Resource"]) == ("Deny", "*", "*")
    time = statement["Condition"]["DateLessThan"]["aws:TokenIssueTime"]
    assert statement["Condition"] == {"DateLessThan": {"aws:TokenIssueTime": time}}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", time)
    assert {finding.issue for finding in analyze(block).findings} <= {"RESOURCE_STAR"}


def test_calls_in_a_sessions_life_are_as_many_as_is_said() -> None:
    policy = RefreshPolicy()
    hour = timedelta(hours=1)
    for lifetime, fewest, most in ((hour, 2, 2.5), (12 * hour, 2, 2.5), (1.5 * hour, 3.6, 6), (0.45 * hour, 3.8, 6.3)):
        calls = [lifetime / (lifetime - policy.lead(lifetime, jitter)) for jitter in (0.0, 1.0)]
        assert fewest <= calls[0] < calls[1] <= most
    assert "two to two and a half in a session's life, up to six where half of it lies within the SDKs' windows" in TEXT
    assert round(1000 * 2.25 / 60, -1) == 40
    assert 3 < 1000 * 2.25 / (12 * 60) < 4


def test_series_of_a_pod_are_as_many_as_is_said() -> None:
    def series(profiles: int) -> int:
        world = World(profiles=tuple(make_profile(f"p{number}") for number in range(profiles)))
        world.live(timedelta(hours=3))
        _, body = MetricsPage(world.status.snapshot, world.clock).render("")
        return sum(not line.startswith("#") for line in body.decode().splitlines())

    assert "About 30 series for a pod, and 9 for each further profile." in TEXT
    assert abs(series(1) - 30) <= 2
    assert series(2) - series(1) == 9


def test_short_session_is_paged_of_when_the_page_says() -> None:
    session, left = timedelta(minutes=15), timedelta(minutes=15) / 4
    assert left < timedelta(minutes=4)
    assert not RefreshPolicy().keeps_out_of_sdk_windows(session)
    assert not RefreshPolicy().keeps_out_of_sdk_windows(timedelta(minutes=26))
    assert RefreshPolicy().keeps_out_of_sdk_windows(timedelta(minutes=27))
