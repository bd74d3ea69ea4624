"""Set-up for every test: hypothesis has no deadline, for runners stall, and in CI always draws the same examples."""

from __future__ import annotations

import os

import hypothesis

hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")
