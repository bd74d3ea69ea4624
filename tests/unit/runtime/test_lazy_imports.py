"""Which modules `run` does not import at its start."""

from __future__ import annotations

import subprocess
import sys


def test_start_imports_no_module_for_token_requests() -> None:
    code = "import sys, broker.runtime.daemon; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = done.stdout.split()
    assert "broker.tokens.token_file" in imported
    assert not [name for name in imported if name.startswith("broker.tokens.token_re")]
