"""Publishes on a thread of its own: a volume that hangs stops neither the endpoint nor other refreshes."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Generic, TypeVar

from broker.core.errors import NO_THREAD, PublishError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broker.core.collaborators import Sink

Item = TypeVar("Item")


class BackgroundSink(Generic[Item]):
    """A Publisher for a sink. `name` is the sink's name in logs, `wake` wakes the main loop. Its thread never ends.

    Only the main loop calls `begin` and `missing`.
    """

    def __init__(self, sink: Sink[Item], *, name: str, wake: Callable[[], None]) -> None:
        self.name = name
        self._sink = sink
        self._wake = wake
        self._tasks: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._missing: frozenset[str] = frozenset()
        self._is_looking = False

    def begin(self, items: Sequence[Item], on_end: Callable[[Exception | None], None]) -> None:
        """Begin to make these items visible to readers. `on_end` is called on the thread."""

        def publish() -> None:
            error: Exception | None = None
            try:
                self._sink.publish(items)
                self._missing = self._sink.missing()  # before the loop hears of it, and compares
            except Exception as caught:  # noqa: BLE001 - the loop raises what it does not expect
                error = caught
            on_end(error)

        if not self._run(publish):
            on_end(PublishError(*NO_THREAD, sink=self.name))

    def missing(self) -> frozenset[str]:
        """Return the profiles of which readers see nothing, as last seen, and begin to look again."""
        if not self._is_looking:
            self._is_looking = True  # before the thread, which may be quicker, resets it
            if not self._run(self._look):
                self._is_looking = False
        return self._missing

    def _look(self) -> None:
        before, self._missing = self._missing, self._sink.missing()
        self._is_looking = False
        if self._missing - before:
            self._wake()

    def _run(self, task: Callable[[], None]) -> bool:
        """Have the thread run the task. Return False if the system allows no thread."""
        if self._thread is None:
            thread = threading.Thread(target=self._work, name="publisher", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return False
            self._thread = thread
        self._tasks.put(task)
        return True

    def _work(self) -> None:
        while True:
            self._tasks.get()()
