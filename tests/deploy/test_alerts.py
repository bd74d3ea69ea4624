"""The alerts, evaluated by promtool: their own unit tests, and simulated fleets that run the real loop."""

from __future__ import annotations

import shutil
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from msgspec.structs import replace

from broker.core.errors import ExchangeThrottled, ExchangeUnavailable, RoleDenied, WebIdentityTokenDenied
from broker.core.notify_targets import SignalTarget
from broker.core.refresher import RefreshNow
from broker.core.session_sizes import SessionSizes
from broker.core.web_identity_spec import WebIdentityTokenSpec
from tests.deploy.alerting import MONITORING, RULES, Fleet, needs_promtool, run_promtool
from tests.deploy.queries import queries
from tests.support.fakes import make_chained, make_profile
from tests.support.token_world import TokenWorld
from tests.support.world import World, raising

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = needs_promtool

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


WEB_IDENTITY_TOKEN = WebIdentityTokenSpec(audiences=("vault",))


def add_tokens(pods: Fleet) -> Fleet:
    """Let the first profile of each pod have a web identity token of five minutes."""
    for seed, world in enumerate(pods.worlds):
        TokenWorld(world, seed)
    return pods


def make_fleet(
    duration: timedelta = HOUR,
    token_lifetime: timedelta = HOUR,
    pods: int = 1,
    seed: int = 0,
    **fields: Any,  # noqa: ANN401 - of World
) -> Fleet:
    """Return pods that start together, each with its own random numbers, two profiles and a chained role."""
    chained = replace(make_chained("chained", source="first"), duration=min(duration, HOUR))
    first = make_profile("first", duration=duration, web_identity_token=WEB_IDENTITY_TOKEN)
    second = make_profile("second", duration=duration, notify=(SignalTarget(signal="HUP", process="nginx"),))
    specs = (first, second, chained)
    return Fleet(
        worlds=[World(seed=seed + pod, profiles=specs, token_lifetime=token_lifetime, **fields) for pod in range(pods)]
    )


def test_rules_are_well_formed(tmp_path: Path) -> None:
    done = run_promtool("check", "rules", "alerts.yaml", directory=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(RULES)} rules found" in done.stdout


def test_unit_tests_of_the_rules_pass(tmp_path: Path) -> None:
    shutil.copy(MONITORING / "alerts.test.yaml", tmp_path)
    done = run_promtool("test", "rules", "alerts.test.yaml", directory=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_has_unit_tests_that_fire_and_that_do_not() -> None:
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
def test_normal_operation_fires_no_alert(
    duration: timedelta, token_lifetime: timedelta, hours: int, tmp_path: Path
) -> None:
    """The kubelet rotates tokens at 80 % of their lifetime, up to 70 s late."""
    pods = add_tokens(make_fleet(duration, token_lifetime, pods=3))
    pods.live(hours * HOUR)
    pods.check_alerts({hours * HOUR - MINUTE: set()}, tmp_path)
    assert all(len(world.calls) >= 2 * hours * HOUR // duration for world in pods.worlds)


@pytest.mark.parametrize("duration", [15 * MINUTE, HOUR, 12 * HOUR])
def test_short_sts_failures_fire_no_alert(duration: timedelta, tmp_path: Path) -> None:
    """STS throttles for one minute at the start, and fails for two minutes at a time while refreshes are due."""
    pods = add_tokens(make_fleet(duration, pods=4))
    pods.change_worlds(lambda world: setattr(world, "sts_fault", raising(ExchangeThrottled)))
    pods.live(MINUTE)
    pods.change_worlds(lambda world: setattr(world, "sts_fault", None))
    pods.live(0.4 * duration)
    for _ in range(6):
        pods.change_worlds(lambda world: setattr(world, "sts_fault", raising(ExchangeUnavailable)))
        pods.live(2 * MINUTE)
        pods.change_worlds(lambda world: setattr(world, "sts_fault", None))
        pods.live(5 * MINUTE)
    pods.live(HOUR)
    pods.check_alerts({MINUTE + 0.4 * duration + 42 * MINUTE + HOUR - MINUTE: set()}, tmp_path)
    assert sum(len(world.calls) for world in pods.worlds) > 4 * HOUR // duration


def test_requested_refreshes_and_clock_jumps_fire_no_alert(tmp_path: Path) -> None:
    """Each hour three SIGHUPs, and clock jumps of one minute, as a time service makes them."""
    pods = make_fleet(pods=2)
    for _ in range(12):
        pods.live(10 * MINUTE)
        pods.change_worlds(lambda world: world.inbox.put(RefreshNow()))
        pods.change_worlds(lambda world: world.clock.jump(timedelta(seconds=60)))
        pods.live(10 * MINUTE)
        pods.change_worlds(lambda world: world.clock.jump(timedelta(seconds=-60)))
    pods.check_alerts({4 * HOUR - MINUTE: set()}, tmp_path)


def test_sts_outage_warns_within_minutes_and_is_critical_before_and_after_expiry(tmp_path: Path) -> None:
    """The refresh is due at the latest time, with 30 min left. STS fails right after the first exchange."""
    pods = make_fleet(chance=lambda: 0.0)
    pods.live(MINUTE)
    pods.change_worlds(lambda world: setattr(world, "sts_fault", raising(ExchangeUnavailable)))
    pods.live(2 * HOUR)
    warned, soon = {"StsBrokerRefreshFailing"}, {"StsBrokerRefreshFailing", "StsBrokerCredentialsExpiring"}
    pods.check_alerts(
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


def test_long_lived_credentials_are_critical_one_hour_before_expiry(tmp_path: Path) -> None:
    pods = Fleet(worlds=[World(profiles=(make_profile(duration=12 * HOUR),))])
    pods.live(MINUTE)
    pods.change_worlds(lambda world: setattr(world, "sts_fault", raising(ExchangeUnavailable)))
    pods.live(12 * HOUR)
    pods.check_alerts(
        {
            10 * HOUR + 58 * MINUTE: {"StsBrokerRefreshFailing"},
            11 * HOUR + 4 * MINUTE: {"StsBrokerRefreshFailing", "StsBrokerCredentialsExpiring"},
        },
        tmp_path,
    )


def test_role_that_denies_a_new_pod_is_critical_within_minutes(tmp_path: Path) -> None:
    pods = make_fleet()
    pods.change_worlds(lambda world: setattr(world, "sts_fault", raising(RoleDenied)))
    pods.live(HOUR)
    pods.check_alerts(
        {
            2 * MINUTE: set(),
            4 * MINUTE: {"StsBrokerNotReady"},
            50 * MINUTE: {"StsBrokerNotReady", "StsBrokerRefreshFailing"},
        },
        tmp_path,
    )


def test_denied_role_with_chained_roles_fires_one_alert(tmp_path: Path) -> None:
    world = World(profiles=(make_profile(required=False), replace(make_chained("partner"), required=False)))
    world.sts_fault, world.denied_profile = raising(RoleDenied), "default"
    pods = Fleet(worlds=[world])
    pods.live(HOUR)
    pods.check_alerts({50 * MINUTE: {"StsBrokerRefreshFailing"}}, tmp_path)
    fault = ("sts_broker_fault", frozenset({("profile", "partner"), ("reason", "source_unavailable")}))
    assert any(name == fault[0] and fault[1] <= labels for name, labels in pods.series)


def test_absent_token_warns_without_any_exchange(tmp_path: Path) -> None:
    pods = make_fleet()
    pods.live(MINUTE)
    pods.change_worlds(lambda world: setattr(world, "token_absent", True))
    pods.live(20 * MINUTE)
    pods.check_alerts({4 * MINUTE: set(), 15 * MINUTE: {"StsBrokerRefreshFailing"}}, tmp_path)


def test_stuck_kubelet_warns_before_the_token_and_is_critical_before_the_credentials_expire(tmp_path: Path) -> None:
    """The token expires after 60 min. The last exchange, at 54 min, keeps credentials valid until 114 min."""
    pods = make_fleet()
    pods.change_worlds(lambda world: setattr(world, "kubelet_stuck", True))
    pods.live(2 * HOUR + 10 * MINUTE)
    tokens = {"StsBrokerTokenNotRotating", "StsBrokerTokenExpiring"}
    pods.check_alerts(
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


def test_full_disk_warns_and_is_critical_before_the_files_expire(tmp_path: Path) -> None:
    """Exchanges continue, so the credentials in memory are fresh while those in the files are not.

    The first refresh is due at the latest time, after 30 min.
    """
    pods = make_fleet(chance=lambda: 0.0)
    pods.live(MINUTE)
    pods.change_worlds(lambda world: setattr(world, "disk_fault", True))
    pods.live(HOUR)
    pods.check_alerts(
        {
            24 * MINUTE: set(),
            44 * MINUTE: {"StsBrokerPublishFailing"},
            48 * MINUTE: {"StsBrokerPublishFailing", "StsBrokerCredentialsExpiring"},
        },
        tmp_path,
    )


def test_every_panel_shows_data_of_a_failing_fleet(tmp_path: Path) -> None:
    """Grafana's variables have one value, and all values."""
    sizes = SessionSizes(packed_policy_percent=5, session_token_percent=40, session_token_bytes=1600)
    pods = add_tokens(make_fleet(pods=2, sizes=sizes))
    pods.live(40 * MINUTE)
    pods.change_worlds(lambda world: setattr(world, "sts_fault", raising(ExchangeUnavailable)))
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
    pods.check_results(filled_in, tmp_path)


def test_refused_web_identity_tokens_warn_and_raise_no_other_alert(tmp_path: Path) -> None:
    pods = make_fleet(pods=2)
    tokens = [TokenWorld(world) for world in pods.worlds]
    tokens[0].error = raising(WebIdentityTokenDenied)
    pods.live(20 * MINUTE)
    tokens[1].error = raising(WebIdentityTokenDenied)
    pods.live(20 * MINUTE)
    pods.check_alerts(
        {
            MINUTE: set(),
            4 * MINUTE: {"StsBrokerWebIdentityTokenExpiring"},
            38 * MINUTE: {"StsBrokerWebIdentityTokenExpiring"},
        },
        tmp_path,
    )


@pytest.mark.parametrize("minutes", [-10, 10])
def test_wrong_clock_warns(minutes: int, tmp_path: Path) -> None:
    pods = make_fleet()
    pods.live(10 * MINUTE)
    pods.change_worlds(lambda world: setattr(world, "clock_skew", timedelta(minutes=minutes)))
    pods.change_worlds(lambda world: world.inbox.put(RefreshNow()))
    pods.live(10 * MINUTE)
    pods.check_alerts({9 * MINUTE: set(), 18 * MINUTE: {"StsBrokerClockSkew"}}, tmp_path)


def test_growing_session_policy_warns_until_it_is_shortened(tmp_path: Path) -> None:
    pods = make_fleet(sizes=SessionSizes(packed_policy_percent=79, session_token_percent=40))
    pods.live(10 * MINUTE)
    pods.change_worlds(lambda world: setattr(world, "sizes", SessionSizes(packed_policy_percent=80)))
    pods.live(HOUR)
    pods.check_alerts({9 * MINUTE: set(), 69 * MINUTE: {"StsBrokerSizeNearLimit"}}, tmp_path)
