"""Simulates a kubelet: rotates one bound token in a projected volume, or produces a fault on demand.

Updates and rotation times follow Kubernetes `atomic_writer.go` and `token_manager.go`. An update creates a directory
with a timestamp, renames a `..data_tmp` link to `..data`, and removes the old directory. So a reader sees the old token
or the new one. A token is replaced when it is past 80 % of its lifetime, older than 24 hours, or issued in the future;
each rule applies a random time early. A kubelet looks only about once a minute whether that is so: on a real node,
tokens of 600 s were replaced at 81 % and 88 % of their lifetime. The thread here looks ten times in a lifetime, or
every minute. As on a real node, `open` fails with ENOENT if it resolved `..data` just before
the old directory was removed. The next attempt succeeds. This module does not sign tokens (a callable does) and does
not know their readers.
"""

from __future__ import annotations

import contextlib
import enum
import random
import shutil
import tempfile
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

MAX_AGE = timedelta(hours=24)
MAX_JITTER = timedelta(seconds=10)
MAX_SYNC_PERIOD = timedelta(minutes=1)
"""The kubelet's syncFrequency (KubeletConfiguration): how often it looks at each pod."""
_SYNCS_PER_LIFETIME = 10
_REFRESH_FRACTION = 0.8
_FOREIGN_AUDIENCE = "https://kubernetes.default.svc"


class Misbehaviour(enum.Enum):
    """The faults of a projected volume. While a fault lasts, the token does not rotate."""

    STUCK = "stuck"
    ABSENT = "absent"
    TRUNCATED = "truncated"
    EMPTY = "empty"
    GARBLED = "garbled"
    WRONG_AUDIENCE = "wrong-audience"
    FUTURE_NBF = "future-nbf"


class Mint(Protocol):
    """Signs one bound token. Without options, the token is valid."""

    def __call__(self, lifetime: timedelta, *, audience: str | None = None, not_before: datetime | None = None) -> str:
        """Return the token's text."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """A valid token that was written to the volume. The first has number 1. Times are in UTC."""

    number: int
    at: datetime
    expires_at: datetime


def is_due(*, now: datetime, issued_at: datetime, lifetime: timedelta, jitter: timedelta) -> bool:
    """Return whether the kubelet would replace this token now."""
    if now > issued_at + MAX_AGE - jitter:
        return True
    if now > issued_at + lifetime * _REFRESH_FRACTION - jitter:
        return True
    return now < issued_at


def replace_files(directory: Path, files: Mapping[str, bytes], *, mode: int, now: datetime) -> None:
    """Replace all files of a volume at once, as AtomicWriter does. The numbers are its steps."""
    data = directory / "..data"
    try:
        old = directory / data.readlink()  # (2)
    except FileNotFoundError:
        old = None
    new = directory / _make_directory(directory, f"{now:..%Y_%m_%d_%H_%M_%S.}")  # (5)
    new.chmod(0o755)
    for name, content in files.items():
        file = new / name
        file.write_bytes(content)  # (6)
        file.chmod(mode)  # independent of the umask
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(f"..data/{name}")  # (7)
    link = directory / "..data_tmp"
    link.symlink_to(new.name)  # (8)
    link.rename(data)  # (9)
    if old is not None:
        shutil.rmtree(old)  # (11)


class ProjectedToken:
    """A projected token volume in `directory`, which is created if missing. The constructor writes the first token.

    `mode` is the token file's mode. `now` returns the current time in UTC. `jitter` is the longest random time by which
    a rotation is early; the default is the kubelet's 10 s, less for tokens with a lifetime below 10 minutes.
    `on_rotation` is called after each valid token, in the rotating thread. A context manager that stops the thread of
    `start()`.
    """

    def __init__(  # noqa: PLR0913 - a volume's description, all by keyword
        self,
        directory: Path,
        *,
        mint: Mint,
        lifetime: timedelta = timedelta(hours=1),
        mode: int = 0o644,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        source: random.Random | None = None,
        jitter: timedelta | None = None,
        on_rotation: Callable[[Rotation], None] | None = None,
    ) -> None:
        self.directory = directory
        self.path = directory / "token"
        self.lifetime = lifetime
        self.mode = mode
        self.on_rotation = on_rotation
        self.rotation: Rotation | None = None
        self.misbehaviour: Misbehaviour | None = None
        self._mint = mint
        self._now = now
        self._random = source or random.Random()  # noqa: S311 - for a jitter, not a secret
        self._max_jitter = min(MAX_JITTER, lifetime / 60) if jitter is None else jitter
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        directory.mkdir(parents=True, exist_ok=True)
        self.rotate()

    def __enter__(self) -> Self:
        """Return the volume. Its thread is not started."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the thread, if there is one."""
        self.stop()

    @property
    def sync_period(self) -> timedelta:
        """How often the kubelet looks at the volume."""
        return min(self.lifetime / _SYNCS_PER_LIFETIME, MAX_SYNC_PERIOD)

    def rotate(self) -> Rotation:
        """Write a new valid token now, and end any fault."""
        with self._lock:
            now = self._now()
            self._write(self._mint(self.lifetime).encode())
            self.misbehaviour = None
            number = self.rotation.number + 1 if self.rotation else 1
            self.rotation = Rotation(number=number, at=now, expires_at=now + self.lifetime)
            rotation = self.rotation
        if self.on_rotation:
            self.on_rotation(rotation)
        return rotation

    def tick(self) -> bool:
        """Do one sync of the kubelet: rotate if due. Return whether it rotated."""
        with self._lock:
            if self.misbehaviour is not None or self.rotation is None:
                return False
            jitter = self._max_jitter * self._random.random()
            if not is_due(now=self._now(), issued_at=self.rotation.at, lifetime=self.lifetime, jitter=jitter):
                return False
            self.rotate()
            return True

    def start(self, period: timedelta | None = None) -> None:
        """Tick in a background thread, every `period` of real time, until `stop()`.

        By default, a tenth of the lifetime, and a minute at most. So a rotation is up to that late.
        """
        if self._thread is not None:
            raise RuntimeError("A thread already rotates this volume")
        self._stopping.clear()
        self._thread = threading.Thread(
            target=self._run, args=((period or self.sync_period).total_seconds(),), daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop the background thread and wait for it. The last token stays in the volume."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def misbehave(self, mode: Misbehaviour) -> None:
        """Start a fault, which lasts until `heal()` or `rotate()`. The file changes at once."""
        with self._lock:
            self.misbehaviour = mode
            if mode is Misbehaviour.STUCK:
                return
            if mode is Misbehaviour.ABSENT:
                self._remove()
            else:
                self._write(self._bad_content(mode))

    def heal(self) -> None:
        """End the fault: write a valid token, and rotate again when due."""
        self.rotate()

    def _run(self, period_seconds: float) -> None:
        while not self._stopping.wait(period_seconds):
            self.tick()

    def _bad_content(self, mode: Misbehaviour) -> bytes:
        match mode:
            case Misbehaviour.EMPTY:
                return b""
            case Misbehaviour.TRUNCATED:
                good = self._mint(self.lifetime).encode()
                return good[: len(good) // 2]
            case Misbehaviour.WRONG_AUDIENCE:
                return self._mint(self.lifetime, audience=_FOREIGN_AUDIENCE).encode()
            case Misbehaviour.FUTURE_NBF:
                return self._mint(self.lifetime, not_before=self._now() + timedelta(minutes=30)).encode()
            case _:
                return b"\xff\xfe\x00not a token\x80" + self._random.randbytes(64)

    def _write(self, content: bytes) -> None:
        replace_files(self.directory, {"token": content}, mode=self.mode, now=self._now())

    def _remove(self) -> None:
        data = self.directory / "..data"
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.directory / data.readlink())
        self.path.unlink(missing_ok=True)
        data.unlink(missing_ok=True)


def _make_directory(parent: Path, prefix: str) -> str:
    return tempfile.mkdtemp(dir=parent, prefix=prefix).rpartition("/")[2]
