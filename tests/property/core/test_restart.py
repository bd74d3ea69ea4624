"""Restarts at any time, with the real sink: nothing expired or of other settings is served, no refresh is postponed."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from broker.core.errors import ExchangeUnavailable
from broker.core.model import ChainSpec, PublishSpec
from broker.core.refresher import Refresher
from broker.core.status import Status, is_ready
from broker.publish.file_sink import FileSink
from broker.publish.published_state import Origin
from broker.serving.credentials_endpoint import ServedCredentials
from tests.support.fakes import InlinePublisher, make_chained, make_profile
from tests.support.world import World, raising

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.core.events import Event
    from broker.core.model import Generation, ProfileSpec

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
CHAIN = (make_profile(), make_chained("partner"))
CHANGES: tuple[dict[str, Any], ...] = (
    {"role_arn": "arn:aws:iam::123456789012:role/other"},
    {"session_policy": '{"Version":"2012-10-17"}'},
    {"policy_arns": ("arn:aws:iam::aws:policy/ReadOnlyAccess",)},
    {"session_name": "other"},
    {"chain": ChainSpec(source="default", external_id="other")},
)
seeds = st.integers(min_value=0, max_value=2**32)
ages = st.integers(min_value=1, max_value=7200)


@dataclass(kw_only=True)
class RestartingWorld(World):
    """A world whose broker writes real files into `directory`, and can be killed and started again."""

    directory: str
    boot: str = "boot-1"
    sink: FileSink = field(init=False)
    served: ServedCredentials = field(init=False)

    def __post_init__(self) -> None:
        """Start the broker for the first time."""
        super().__post_init__()
        self.start()

    def start(self) -> None:
        """Start the broker as `run` does, without what the one before had in memory."""
        self.inbox = SimpleQueue()
        self.status, self.served = Status(self.profiles), ServedCredentials()
        publish, origin = PublishSpec(directory=self.directory), Origin(boot=self.boot)
        self.sink = FileSink(publish, self.profiles, self.clock, origin=origin)
        self.refresher = Refresher(
            profiles=self.profiles,
            tokens=self.refresher.tokens,
            exchanges=self,
            publisher=InlinePublisher(self),
            record=self._record,
            clock=self.clock,
            inbox=self.inbox,
            chance=self.chance or self.random.random,
            policy=self.policy,
        )
        restoration = self.sink.restore()
        self.refresher.restore(restoration.generations, restoration.incomplete)

    def publish(self, generations: Sequence[Generation]) -> None:
        """Write the files."""
        super().publish(generations)
        self.sink.publish(generations)

    def missing(self) -> frozenset[str]:
        """Return the profiles without files."""
        return self.sink.missing()

    def is_served(self, profile: str) -> bool:
        """Return whether the endpoint has credentials."""
        return self.served.get_response(profile, self.clock.now) is not None

    def _record(self, event: Event) -> None:
        super()._record(event)
        self.served.record(event)


def live(seed: int, directory: str, seconds: int, *profiles: ProfileSpec, **fields: Any) -> RestartingWorld:  # noqa: ANN401 - of the world
    world = RestartingWorld(seed=seed, directory=directory, profiles=profiles or CHAIN, **fields)
    world.live(timedelta(seconds=seconds))
    return world


@settings(max_examples=40, deadline=None)
@given(seed=seeds, age=ages, down=ages, jump=st.integers(min_value=-7200, max_value=7200), boots=st.booleans())
def test_expired_credentials_are_never_served_after_a_restart(
    seed: int, age: int, down: int, jump: int, boots: bool
) -> None:
    """Neither clock may show that they have expired. If the node has booted, only the wall clock can."""
    with tempfile.TemporaryDirectory() as directory:
        world = live(seed, directory, age)
        before = dict(world.published)
        world.sts_fault = raising(ExchangeUnavailable)
        world.clock.advance(timedelta(seconds=down))
        world.clock.jump(timedelta(seconds=jump))
        if boots:
            world.boot, world.clock.monotonic = "boot-2", timedelta(seconds=20)
        world.start()
        now, monotonic = world.clock.now, world.clock.monotonic
        for name, generation in before.items():
            credentials = generation.credentials
            expired = credentials.usable_until <= now
            if boots:
                refused = expired or credentials.received_at > now
            else:
                refused = expired or monotonic - generation.succeeded_at >= credentials.lifetime
            assert world.is_served(name) is not refused
        assert is_ready(world.status.snapshot(), now) is all(map(world.is_served, before))


@settings(max_examples=40, deadline=None)
@given(
    seed=seeds,
    ages=st.lists(st.integers(min_value=1, max_value=2400), min_size=1, max_size=4),
    jitter=st.floats(min_value=0, max_value=1, exclude_max=True),
    jump=st.integers(min_value=-1500, max_value=1500),
)
def test_restarts_never_postpone_a_refresh(seed: int, ages: list[int], jitter: float, jump: int) -> None:
    """Compared with a broker that never restarts. A restarted one would draw a jitter that refreshes later."""
    with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryDirectory() as other_directory:
        steady = live(seed, directory, 60, make_profile(), chance=lambda: jitter)
        restarted = live(seed, other_directory, 60, make_profile(), chance=lambda: jitter)
        restarted.chance = lambda: 0.0
        for age in ages:
            for world in (steady, restarted):
                world.live(timedelta(seconds=age))
            restarted.start()
        for world in (steady, restarted):
            world.clock.jump(timedelta(seconds=jump))
        restarted.start()
        for world in (steady, restarted):
            world.live(2 * HOUR)
        assert restarted.calls[1][0].monotonic <= steady.calls[1][0].monotonic


@settings(max_examples=40, deadline=None)
@given(seed=seeds, age=st.integers(min_value=2, max_value=3000), change=st.sampled_from(CHANGES))
def test_credentials_of_other_settings_are_never_served(seed: int, age: int, change: dict[str, Any]) -> None:
    """A changed chain affects its own profile, a changed source also those chained to it."""
    with tempfile.TemporaryDirectory() as directory:
        world = live(seed, directory, age)
        files = {path.name: path.read_bytes() for path in Path(directory).iterdir()}
        changed = 1 if "chain" in change else 0
        world.profiles = tuple(
            replace(spec, **change) if index == changed else spec for index, spec in enumerate(CHAIN)
        )
        world.sts_fault = raising(ExchangeUnavailable)
        world.start()
        assert world.is_served("default") is (changed == 1)
        assert not world.is_served("partner")
        world.live(MINUTE)
        assert not world.is_served("partner")
        assert {path.name: path.read_bytes() for path in Path(directory).iterdir()} == files


@settings(max_examples=25, deadline=None)
@given(seed=seeds, ages=st.lists(ages, min_size=1, max_size=6), full=st.lists(st.booleans(), min_size=6, max_size=6))
def test_endpoint_has_what_readers_have_after_each_restart(seed: int, ages: list[int], full: list[bool]) -> None:
    """A disk that was full before the crash does not matter: the records of what is in place stay."""
    with tempfile.TemporaryDirectory() as directory:
        world = live(seed, directory, 5, make_profile())
        for age, is_full in zip(ages, full, strict=False):
            world.disk_fault = is_full
            world.live(timedelta(seconds=age))
            world.start()
            published = world.published["default"].credentials
            assert world.is_served("default") is (published.usable_until > world.clock.now)
