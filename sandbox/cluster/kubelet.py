"""A kubelet in a box: keeps one bound token fresh in a projected volume, or misbehaves on demand.

Rules, both the kubelet's own (Kubernetes `atomic_writer.go` and `token_manager.go`): an update is a new timestamped
directory, a `..data_tmp` link renamed onto `..data`, and the removal of the old directory, so that a reader sees the
old token or the new one; a token is replaced when it is past 80 % of its lifetime, or older than 24 hours, or issued
in the future, each a random moment early. As on a real node, an open that has resolved `..data` just before the old
directory goes fails with ENOENT, and works when tried again.
It refuses to know how tokens are signed (a callable mints them) and who reads them.
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
_REFRESH_FRACTION = 0.8
_FOREIGN_AUDIENCE = "https://kubernetes.default.svc"


class Misbehaviour(enum.Enum):
    """What a projected volume can do wrong; while it does, nothing rotates."""

    STUCK = "stuck"
    ABSENT = "absent"
    TRUNCATED = "truncated"
    EMPTY = "empty"
    GARBLED = "garbled"
    WRONG_AUDIENCE = "wrong-audience"
    FUTURE_NBF = "future-nbf"


class Mint(Protocol):
    """Signs one bound token; without the options, a good one."""

    def __call__(self, lifetime: timedelta, *, audience: str | None = None, not_before: datetime | None = None) -> str:
        """Give the token's text."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """One good token put in place: the first is number 1; instants are aware UTC."""

    number: int
    at: datetime
    expires_at: datetime


def is_due(*, now: datetime, issued_at: datetime, lifetime: timedelta, jitter: timedelta) -> bool:
    """Say whether the kubelet would replace this token now."""
    if now > issued_at + MAX_AGE - jitter:
        return True
    if now > issued_at + lifetime * _REFRESH_FRACTION - jitter:
        return True
    return now < issued_at


def swap(directory: Path, files: Mapping[str, bytes], *, mode: int, now: datetime) -> None:
    """Replace all files of a volume at once, as AtomicWriter does; the numbers are its steps."""
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
        file.chmod(mode)  # whatever the umask says
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(f"..data/{name}")  # (7)
    link = directory / "..data_tmp"
    link.symlink_to(new.name)  # (8)
    link.rename(data)  # (9)
    if old is not None:
        shutil.rmtree(old)  # (11)


class ProjectedToken:
    """A projected token volume in `directory` (created if missing), which holds its first token once constructed.

    `mode` is the token file's; `now` gives aware UTC instants; `jitter` is the longest random head start of a rotation
    (default: the kubelet's 10 s, scaled down for tokens that live less than 10 minutes); `on_rotation` is called after
    each good token, in the thread that rotates. A context manager that stops the thread of `start()`.
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
        self._random = source or random.Random()  # noqa: S311 - a jitter, no secret
        self._max_jitter = min(MAX_JITTER, lifetime / 60) if jitter is None else jitter
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        directory.mkdir(parents=True, exist_ok=True)
        self.rotate()

    def __enter__(self) -> Self:
        """Return itself, not started."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the thread, if there is one."""
        self.stop()

    def rotate(self) -> Rotation:
        """Put a new good token in place now, and end any misbehaviour."""
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
        """Do one sync of the kubelet: rotate if it is due. Returns whether it did."""
        with self._lock:
            if self.misbehaviour is not None or self.rotation is None:
                return False
            jitter = self._max_jitter * self._random.random()
            if not is_due(now=self._now(), issued_at=self.rotation.at, lifetime=self.lifetime, jitter=jitter):
                return False
            self.rotate()
            return True

    def start(self, period: timedelta = timedelta(milliseconds=200)) -> None:
        """Tick in a background thread, every `period` of real time, until `stop()`."""
        if self._thread is not None:
            raise RuntimeError("This volume is already kept by a thread")
        self._stopping.clear()
        self._thread = threading.Thread(target=self._keep, args=(period.total_seconds(),), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the background thread and wait for it; the last token stays in place."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def misbehave(self, mode: Misbehaviour) -> None:
        """Go wrong in one way until `heal()` or `rotate()`; the file changes at once."""
        with self._lock:
            self.misbehaviour = mode
            if mode is Misbehaviour.STUCK:
                return
            if mode is Misbehaviour.ABSENT:
                self._remove()
            else:
                self._write(self._bad_content(mode))

    def heal(self) -> None:
        """Put a good token back and rotate again."""
        self.rotate()

    def _keep(self, period_seconds: float) -> None:
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
        swap(self.directory, {"token": content}, mode=self.mode, now=self._now())

    def _remove(self) -> None:
        data = self.directory / "..data"
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.directory / data.readlink())
        self.path.unlink(missing_ok=True)
        data.unlink(missing_ok=True)


def _make_directory(parent: Path, prefix: str) -> str:
    return tempfile.mkdtemp(dir=parent, prefix=prefix).rpartition("/")[2]
