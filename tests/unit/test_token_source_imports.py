"""What a broker that reads a file does not pay for."""

from __future__ import annotations

import subprocess
import sys


def test_nothing_that_asks_the_api_is_imported_at_a_start() -> None:
    code = "import sys, broker.daemon; print(*(name for name in sys.modules if name.startswith('broker.token_re')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
