"""Set-up for every test.

Hypothesis has no deadline, because runners stall, and draws the same examples at each run in CI. The host's AWS
variables and proxies are hidden from the tests.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import hypothesis
import pytest

from sandbox import host_environment
from tests.support.program import leave_out_coverage

if TYPE_CHECKING:
    from collections.abc import Iterator

hypothesis.settings.register_profile("local", deadline=None, max_examples=40)
hypothesis.settings.register_profile("ci", deadline=None, max_examples=40, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep coverage out of the programs that the test starts: it loads modules of its own, and OpenSSL."""
    leave_out_coverage(monkeypatch)


@pytest.fixture(scope="session", autouse=True)
def _host_hidden() -> Iterator[None]:
    with host_environment.hide_host_settings():
        yield
