"""What a broker that reads a file does not pay for."""

from __future__ import annotations

import subprocess
import sys


def test_nothing_that_asks_the_api_is_imported_at_a_start() -> None:
    code = "import sys, broker.runtime.daemon; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = done.stdout.split()
    assert "broker.tokens.token_file" in imported
    assert not [name for name in imported if name.startswith("broker.tokens.token_re")]
