"""What the resident process imports: neither an AWS SDK, nor TLS, nor a settings library. They would stay in memory."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "argcomplete",
    "asyncio",
    "botocore",
    "http.client",
    "jwt",
    "pydantic",
    "pydantic_core",
    "ssl",
    "urllib3",
    "yaml",
)
WORKERS_OWN = ("broker.settings.loader", "broker.sts.exchange", "broker.tokens.decoding")
START = "import broker.cli.main, broker.runtime.start"
IMPORTS = {
    "run": f"{START}, broker.runtime.daemon, broker.runtime.rival_credentials",
    "once": f"{START}, broker.runtime.daemon, broker.core.first_publication",
    "exec": f"{START}, broker.runtime.exec_command",
    "run, with tokens from the API": f"{START}, broker.runtime.daemon, broker.tokens.token_request",
}


def find_loaded(code: str) -> set[str]:
    """Return which of the heavy modules a fresh interpreter has after this code."""
    names = (*HEAVY, *WORKERS_OWN)
    shown = f"{code}\nimport sys\nprint(*(name for name in {names!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("command", IMPORTS)
def test_resident_process_imports_nothing_that_a_worker_needs(command: str) -> None:
    assert find_loaded(IMPORTS[command]) == set()


def test_worker_imports_all_of_it() -> None:
    """Proves that the names above are those to look for."""
    code = "import broker.sts.exchange, broker.settings.loader, broker.tokens.decoding, http.client, asyncio, yaml"
    code += ", argcomplete"
    assert find_loaded(code) == {*HEAVY, *WORKERS_OWN}
