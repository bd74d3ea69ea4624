"""The simulated kubelet: the volume's layout at every moment, the rotation rules, and the faults."""

from __future__ import annotations

import contextlib
import random
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import Misbehaviour, ProjectedToken, Rotation
from sandbox.cluster.kubelet import is_due

if TYPE_CHECKING:
    from pathlib import Path

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
durations = st.timedeltas(min_value=timedelta(minutes=10), max_value=timedelta(days=3))
jitters = st.timedeltas(min_value=timedelta(0), max_value=timedelta(seconds=10))


@dataclass(slots=True)
class Cluster:
    """A fake clock, and a mint whose tokens contain their arguments."""

    now: datetime = START
    minted: int = 0
    rotations: list[Rotation] = field(default_factory=list)

    def read(self) -> datetime:
        """Return the current time."""
        return self.now

    def mint(self, lifetime: timedelta, *, audience: str | None = None, not_before: datetime | None = None) -> str:
        """Return the next token."""
        self.minted += 1
        return f"token-{self.minted}/{lifetime}/{audience}/{not_before}"

    def volume(
        self, directory: Path, *, lifetime: timedelta = HOUR, jitter: timedelta = timedelta(0)
    ) -> ProjectedToken:
        """Create a volume with its first token."""
        return ProjectedToken(
            directory,
            mint=self.mint,
            lifetime=lifetime,
            now=self.read,
            source=random.Random(1),
            jitter=jitter,
            on_rotation=self.rotations.append,
        )


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def test_layout_is_that_of_atomic_writer(tmp_path: Path, cluster: Cluster) -> None:
    volume = cluster.volume(tmp_path / "volume")
    assert str(volume.path.readlink()) == "..data/token"
    target = str((volume.directory / "..data").readlink())
    assert target.startswith("..2026_11_23_12_00_00.")
    assert sorted(entry.name for entry in volume.directory.iterdir()) == sorted(["..data", target, "token"])
    assert (volume.directory / target).stat().st_mode & 0o777 == 0o755
    assert volume.path.stat().st_mode & 0o777 == 0o644
    assert volume.path.read_text().startswith("token-1/")


def test_file_mode_is_as_asked(tmp_path: Path, cluster: Cluster) -> None:
    volume = ProjectedToken(tmp_path, mint=cluster.mint, mode=0o600)
    assert volume.path.stat().st_mode & 0o777 == 0o600


def test_rotation_swaps_the_directory_and_deletes_the_old_one(tmp_path: Path, cluster: Cluster) -> None:
    volume = cluster.volume(tmp_path)
    before = (tmp_path / "..data").readlink()
    with volume.path.open() as held:
        volume.rotate()
        assert held.read().startswith("token-1/")  # an open file keeps the old token
    after = (tmp_path / "..data").readlink()
    assert before != after
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted(["..data", str(after), "token"])
    assert volume.path.read_text().startswith("token-2/")


def test_reader_never_sees_a_partial_token(tmp_path: Path, cluster: Cluster) -> None:
    volume = cluster.volume(tmp_path)
    done = threading.Event()

    def rotate_often() -> None:
        for _ in range(100):
            volume.rotate()
        done.set()

    thread = threading.Thread(target=rotate_often)
    thread.start()
    seen = set()
    while not done.is_set():
        with contextlib.suppress(FileNotFoundError):  # ..data was resolved just before the old directory was removed
            seen.add(volume.path.read_text().rpartition("/")[0].rpartition("/")[2])
    thread.join()
    assert seen == {"None"}


@given(lifetime=durations, jitter=jitters, age=st.timedeltas(timedelta(0), timedelta(days=4)))
def test_token_is_due_at_eighty_percent_or_a_day_less_the_jitter(
    lifetime: timedelta, jitter: timedelta, age: timedelta
) -> None:
    oracle = age.total_seconds() > min(lifetime.total_seconds() * 0.8, 86_400) - jitter.total_seconds()
    border = abs(age.total_seconds() - min(lifetime.total_seconds() * 0.8, 86_400) + jitter.total_seconds()) < 0.001
    assert border or is_due(now=START + age, issued_at=START, lifetime=lifetime, jitter=jitter) is oracle


@given(lifetime=durations, jitter=jitters, ahead=st.timedeltas(timedelta(microseconds=1), timedelta(days=400)))
def test_token_issued_in_the_future_is_always_due(lifetime: timedelta, jitter: timedelta, ahead: timedelta) -> None:
    assert is_due(now=START - ahead, issued_at=START, lifetime=lifetime, jitter=jitter)


@pytest.mark.parametrize(
    ("lifetime", "due_after"),
    [
        (timedelta(minutes=10), timedelta(minutes=8)),
        (HOUR, timedelta(minutes=48)),
        (timedelta(days=1), timedelta(hours=19, minutes=12)),
        (timedelta(days=30), timedelta(hours=24)),
    ],
)
def test_tick_rotates_when_due_and_not_before(
    tmp_path: Path, cluster: Cluster, lifetime: timedelta, due_after: timedelta
) -> None:
    volume = cluster.volume(tmp_path, lifetime=lifetime)
    cluster.now = START + due_after
    assert not volume.tick()
    cluster.now += timedelta(seconds=1)
    assert volume.tick()
    assert not volume.tick()
    assert [rotation.number for rotation in cluster.rotations] == [1, 2]
    assert cluster.rotations[1] == Rotation(number=2, at=cluster.now, expires_at=cluster.now + lifetime)


def test_tick_rotates_after_the_clock_jumped_back(tmp_path: Path, cluster: Cluster) -> None:
    volume = cluster.volume(tmp_path)
    cluster.now = START - timedelta(minutes=1)
    assert volume.tick()


def test_jitter_starts_a_rotation_up_to_ten_seconds_early(tmp_path: Path, cluster: Cluster) -> None:
    volume = cluster.volume(tmp_path, jitter=timedelta(seconds=10))
    cluster.now = START + timedelta(minutes=48) - timedelta(seconds=11)
    assert not any(volume.tick() for _ in range(100))
    cluster.now += timedelta(seconds=6)
    assert any(volume.tick() for _ in range(100))


@pytest.mark.parametrize("mode", Misbehaviour)
def test_fault_lasts_until_healed(tmp_path: Path, cluster: Cluster, mode: Misbehaviour) -> None:
    volume = cluster.volume(tmp_path)
    volume.misbehave(mode)
    cluster.now += timedelta(days=2)
    assert not volume.tick()
    content = volume.path.read_bytes() if volume.path.exists() else None
    expected = {
        Misbehaviour.STUCK: b"token-1/1:00:00/None/None",
        Misbehaviour.ABSENT: None,
        Misbehaviour.TRUNCATED: b"token-2/1:00",
        Misbehaviour.EMPTY: b"",
        Misbehaviour.WRONG_AUDIENCE: b"token-2/1:00:00/https://kubernetes.default.svc/None",
        Misbehaviour.FUTURE_NBF: b"token-2/1:00:00/None/2026-11-23 12:30:00+00:00",
    }
    if mode is Misbehaviour.GARBLED:
        assert content is not None
        with pytest.raises(UnicodeDecodeError):
            content.decode()
    else:
        assert content == expected[mode]
    volume.heal()
    assert volume.path.read_text().endswith("/None/None")
    assert volume.misbehaviour is None
    assert len(list(tmp_path.iterdir())) == 3


def test_absent_volume_is_empty(tmp_path: Path, cluster: Cluster) -> None:
    volume = cluster.volume(tmp_path)
    volume.misbehave(Misbehaviour.ABSENT)
    volume.misbehave(Misbehaviour.ABSENT)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("lifetime", "period"),
    [
        (timedelta(seconds=5), timedelta(seconds=0.5)),
        (timedelta(minutes=10), timedelta(minutes=1)),
        (timedelta(hours=1), timedelta(minutes=1)),
    ],
)
def test_kubelet_looks_ten_times_in_a_lifetime_or_each_minute(
    tmp_path: Path, cluster: Cluster, lifetime: timedelta, period: timedelta
) -> None:
    """A real kubelet replaced tokens of 600 s at 81 % and 88 % of their lifetime: after 80 %, and within a minute."""
    volume = ProjectedToken(tmp_path, mint=cluster.mint, lifetime=lifetime)
    assert volume.sync_period == period


def test_thread_rotates_in_real_time_and_stops(tmp_path: Path, cluster: Cluster) -> None:
    rotated = threading.Event()
    with ProjectedToken(tmp_path, mint=cluster.mint, lifetime=timedelta(milliseconds=10)) as volume:
        volume.on_rotation = lambda _: rotated.set()
        volume.start(period=timedelta(milliseconds=2))
        with pytest.raises(RuntimeError, match="already"):
            volume.start()
        assert rotated.wait(5)
    minted = cluster.minted
    assert not threading.Event().wait(0.02)
    assert cluster.minted == minted
