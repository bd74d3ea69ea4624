"""Set-up for every test: hypothesis has no deadline, because runners stall, and in CI draws the same examples each time."""

from __future__ import annotations

import os

import hypothesis

hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")
