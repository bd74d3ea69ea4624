"""An event loop on a thread of its own, for tests whose clients block."""

from __future__ import annotations

import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from broker.loop.event_loop import EventLoop

if TYPE_CHECKING:
    from collections.abc import Callable


class LoopThread:
    """Runs `loop` from `start` to `stop`. `run` runs a task on its thread, as everything of a loop must be."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.loop = EventLoop(monotonic)
        self._tasks: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def run(self, task: Callable[[], None]) -> None:
        """Run the task on the thread, and wait for its end."""
        done = threading.Event()
        self._tasks.put(task)
        self._tasks.put(done.set)
        self.loop.wake()
        assert done.wait(10)

    def stop(self) -> None:
        """End the thread."""
        self._is_stopping = True
        self.loop.wake()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        while not self._is_stopping:
            self.loop.turn(10)
            while True:
                try:
                    self._tasks.get_nowait()()
                except Empty:
                    break
