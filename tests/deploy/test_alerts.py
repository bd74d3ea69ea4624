"""The alerts, judged by promtool: their own unit tests, and fleets of the real loop in good and bad hours."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import yaml

from broker.core.errors import ExchangeThrottled, ExchangeUnavailable, RoleDenied
from broker.core.refresher import RefreshNow
from tests.deploy.alerting import MONITORING, RULES, Fleet, needs_promtool, promtool
from tests.deploy.queries import queries
from tests.support.fakes import make_chained, make_profile
from tests.support.world import World, raising

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = needs_promtool

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def fleet(duration: timedelta = HOUR, token_lifetime: timedelta = HOUR, pods: int = 1, seed: int = 0) -> Fleet:
    """Return pods that start together, each with chances of its own: two profiles, and a role chained to the first."""
    chained = replace(make_chained("chained", source="first"), duration=min(duration, HOUR))
    specs = (make_profile("first", duration=duration), make_profile("second", duration=duration), chained)
    return Fleet(worlds=[World(seed=seed + pod, profiles=specs, token_lifetime=token_lifetime) for pod in range(pods)])


def test_rules_are_well_formed(tmp_path: Path) -> None:
    done = promtool("check", "rules", "alerts.yaml", directory=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(RULES)} rules found" in done.stdout


def test_unit_tests_of_the_rules_pass(tmp_path: Path) -> None:
    shutil.copy(MONITORING / "alerts.test.yaml", tmp_path)
    done = promtool("test", "rules", "alerts.test.yaml", directory=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_has_unit_tests_of_firing_and_of_silence() -> None:
    tests = yaml.safe_load((MONITORING / "alerts.test.yaml").read_text())["tests"]
    questions = [question for test in tests for question in test["alert_rule_test"]]
    fires = {each["alertname"] for each in questions if each.get("exp_alerts")}
    silent = {each["alertname"] for each in questions if not each.get("exp_alerts")}
    assert fires == silent == {rule["alert"] for rule in RULES}


@pytest.mark.parametrize(
    ("duration", "token_lifetime", "hours"),
    [
        (15 * MINUTE, HOUR, 12),
        (15 * MINUTE, 10 * MINUTE, 12),
        (HOUR, HOUR, 12),
        (HOUR, 24 * HOUR, 26),
        (12 * HOUR, HOUR, 26),
        (12 * HOUR, 24 * HOUR, 26),
    ],
)
def test_no_alert_fires_while_all_is_well(
    duration: timedelta, token_lifetime: timedelta, hours: int, tmp_path: Path
) -> None:
    """The kubelet rotates at 80 % of a token's life, late by up to 70 s."""
    pods = fleet(duration, token_lifetime, pods=3)
    pods.live(hours * HOUR)
    pods.judge({hours * HOUR - MINUTE: set()}, tmp_path)
    assert all(len(world.calls) >= 2 * hours * HOUR // duration for world in pods.worlds)


@pytest.mark.parametrize("duration", [15 * MINUTE, HOUR, 12 * HOUR])
def test_hiccup_of_sts_disturbs_nobody(duration: timedelta, tmp_path: Path) -> None:
    """A throttled minute at the start, and a few bad ones later, when refreshes are due in a fleet."""
    pods = fleet(duration, pods=4)
    pods.all_worlds(lambda world: setattr(world, "sts_fault", raising(ExchangeThrottled)))
    pods.live(MINUTE)
    pods.all_worlds(lambda world: setattr(world, "sts_fault", None))
    pods.live(0.4 * duration)
    for _ in range(6):
        pods.all_worlds(lambda world: setattr(world, "sts_fault", raising(ExchangeUnavailable)))
        pods.live(2 * MINUTE)
        pods.all_worlds(lambda world: setattr(world, "sts_fault", None))
        pods.live(5 * MINUTE)
    pods.live(HOUR)
    pods.judge({MINUTE + 0.4 * duration + 42 * MINUTE + HOUR - MINUTE: set()}, tmp_path)
    assert sum(len(world.calls) for world in pods.worlds) > 4 * HOUR // duration


def test_requested_refreshes_and_leaps_of_the_clock_disturb_nobody(tmp_path: Path) -> None:
    """SIGHUP now and then; the node's clock is set by a minute, as a time service does."""
    pods = fleet(pods=2)
    for _ in range(12):
        pods.live(10 * MINUTE)
        pods.all_worlds(lambda world: world.inbox.put(RefreshNow()))
        pods.all_worlds(lambda world: world.clock.jump(timedelta(seconds=60)))
        pods.live(10 * MINUTE)
        pods.all_worlds(lambda world: world.clock.jump(timedelta(seconds=-60)))
    pods.judge({4 * HOUR - MINUTE: set()}, tmp_path)


def test_outage_of_sts_warns_in_minutes_and_pages_before_and_after_expiry(tmp_path: Path) -> None:
    """Sessions of 1 h, due with 30 to 36 min left; STS goes away right after the first exchange."""
    pods = fleet()
    pods.live(MINUTE)
    pods.all_worlds(lambda world: setattr(world, "sts_fault", raising(ExchangeUnavailable)))
    pods.live(2 * HOUR)
    warned, soon = {"StsBrokerRefreshFailing"}, {"StsBrokerRefreshFailing", "StsBrokerCredentialsExpiring"}
    pods.judge(
        {
            28 * MINUTE: set(),
            37 * MINUTE: warned,
            45 * MINUTE: warned,
            48 * MINUTE: soon,
            60 * MINUTE: soon,
            65 * MINUTE: soon | {"StsBrokerNotReady"},
            2 * HOUR: soon | {"StsBrokerNotReady"},
        },
        tmp_path,
    )


def test_long_sessions_page_an_hour_before_they_expire(tmp_path: Path) -> None:
    pods = Fleet(worlds=[World(profiles=(make_profile(duration=12 * HOUR),))])
    pods.live(MINUTE)
    pods.all_worlds(lambda world: setattr(world, "sts_fault", raising(ExchangeUnavailable)))
    pods.live(12 * HOUR)
    pods.judge(
        {
            10 * HOUR + 58 * MINUTE: {"StsBrokerRefreshFailing"},
            11 * HOUR + 4 * MINUTE: {"StsBrokerRefreshFailing", "StsBrokerCredentialsExpiring"},
        },
        tmp_path,
    )


def test_role_that_never_let_the_pod_in_pages_at_once(tmp_path: Path) -> None:
    pods = fleet()
    pods.all_worlds(lambda world: setattr(world, "sts_fault", raising(RoleDenied)))
    pods.live(HOUR)
    pods.judge(
        {
            2 * MINUTE: set(),
            4 * MINUTE: {"StsBrokerNotReady"},
            50 * MINUTE: {"StsBrokerNotReady", "StsBrokerRefreshFailing"},
        },
        tmp_path,
    )


def test_one_denied_role_is_one_alert_though_others_are_chained_to_it(tmp_path: Path) -> None:
    world = World(profiles=(make_profile(required=False), replace(make_chained("partner"), required=False)))
    world.sts_fault, world.denied_profile = raising(RoleDenied), "default"
    pods = Fleet(worlds=[world])
    pods.live(HOUR)
    pods.judge({50 * MINUTE: {"StsBrokerRefreshFailing"}}, tmp_path)
    fault = ("sts_broker_fault", frozenset({("profile", "partner"), ("reason", "source_unavailable")}))
    assert any(name == fault[0] and fault[1] <= labels for name, labels in pods.series)


def test_token_that_is_gone_warns_though_nothing_was_exchanged(tmp_path: Path) -> None:
    pods = fleet()
    pods.live(MINUTE)
    pods.all_worlds(lambda world: setattr(world, "token_absent", True))
    pods.live(20 * MINUTE)
    pods.judge({4 * MINUTE: set(), 15 * MINUTE: {"StsBrokerRefreshFailing"}}, tmp_path)


def test_stuck_kubelet_warns_before_the_token_dies_and_pages_before_credentials_do(tmp_path: Path) -> None:
    """The token dies after 60 min; the last chance, at 54 min, keeps credentials until 114."""
    pods = fleet()
    pods.all_worlds(lambda world: setattr(world, "kubelet_stuck", True))
    pods.live(2 * HOUR + 10 * MINUTE)
    tokens = {"StsBrokerTokenNotRotating", "StsBrokerTokenExpiring"}
    pods.judge(
        {
            56 * MINUTE: set(),
            58 * MINUTE: {"StsBrokerTokenNotRotating"},
            60 * MINUTE: tokens,
            67 * MINUTE: tokens | {"StsBrokerRefreshFailing"},
            98 * MINUTE: tokens | {"StsBrokerRefreshFailing"},
            103 * MINUTE: tokens | {"StsBrokerRefreshFailing", "StsBrokerCredentialsExpiring"},
            2 * HOUR: tokens | {"StsBrokerRefreshFailing", "StsBrokerCredentialsExpiring", "StsBrokerNotReady"},
        },
        tmp_path,
    )


def test_full_disk_warns_and_pages_before_the_files_expire(tmp_path: Path) -> None:
    """The exchange goes on, so that what is held is fresh while what readers have is not."""
    pods = fleet()
    pods.live(MINUTE)
    pods.all_worlds(lambda world: setattr(world, "disk_fault", True))
    pods.live(HOUR)
    pods.judge(
        {
            24 * MINUTE: set(),
            44 * MINUTE: {"StsBrokerPublishFailing"},
            48 * MINUTE: {"StsBrokerPublishFailing", "StsBrokerCredentialsExpiring"},
        },
        tmp_path,
    )


def test_every_panel_shows_something_of_a_fleet_in_trouble(tmp_path: Path) -> None:
    """Grafana's variables as it fills them in: one value, and all."""
    pods = fleet(pods=2)
    pods.live(40 * MINUTE)
    pods.all_worlds(lambda world: setattr(world, "sts_fault", raising(ExchangeUnavailable)))
    pods.live(20 * MINUTE)
    pods.process["process_start_time_seconds"] = 3600
    pods.live(2 * MINUTE)
    filled_in = [
        query.replace("$namespace", namespace).replace("$profile", ".*")
        for where, query in queries().items()
        for namespace in ("demo", ".*")
        if where.startswith(("panel ", "variable "))
    ]
    assert len(filled_in) > 40
    pods.demand_answers(filled_in, tmp_path)


@pytest.mark.parametrize("minutes", [-10, 10])
def test_clock_that_is_off_warns(minutes: int, tmp_path: Path) -> None:
    pods = fleet()
    pods.live(10 * MINUTE)
    pods.all_worlds(lambda world: setattr(world, "clock_skew", timedelta(minutes=minutes)))
    pods.all_worlds(lambda world: world.inbox.put(RefreshNow()))
    pods.live(10 * MINUTE)
    pods.judge({9 * MINUTE: set(), 18 * MINUTE: {"StsBrokerClockSkew"}}, tmp_path)
