"""The token in a real projected volume, while the kubelet swaps it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from broker.tokens.token_file import read_token_text
from sandbox import ProjectedToken
from tests.support.fakes import make_jwt

if TYPE_CHECKING:
    from pathlib import Path


def test_file_swapped_during_a_read_is_always_found(tmp_path: Path) -> None:
    """A path resolved just before a swap may lead to the directory that the swap deletes."""
    serial = iter(range(10**6))
    volume = ProjectedToken(tmp_path, mint=lambda *_, **__: make_jwt(jti=str(next(serial))))
    done = threading.Event()

    def rotate() -> None:
        for _ in range(400):
            volume.rotate()
        done.set()

    kubelet = threading.Thread(target=rotate)
    kubelet.start()
    reads = set()
    while not done.is_set():
        reads.add(read_token_text(str(volume.path)))
    kubelet.join()
    assert len(reads) > 1
    assert all(text.count(".") == 2 for text in reads)
