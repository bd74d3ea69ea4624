"""What the resident process imports: neither an AWS SDK, nor TLS, nor a settings library. They would stay in memory."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("asyncio", "botocore", "http.client", "inspect", "jwt", "pydantic", "pydantic_core", "ssl", "urllib3", "yaml")
OPERATORS_OWN = ("argcomplete", "boto3", "broker.manifests", "broker.trust", "jinja2", "rich")
WEB_IDENTITY = (
    "broker.core.web_identity_keeper",
    "broker.core.web_identity_schedule",
    "broker.core.web_identity_spec",
    "broker.core.web_identity_status",
    "broker.core.web_identity_token",
    "broker.publish.token_sink",
    "broker.runtime.web_identity_tokens",
)
"""Only for profiles with a web identity token."""
WORKERS_OWN = ("broker.settings.loader", "broker.sts.exchange", "broker.tokens.decoding")
START = "import broker.cli.main, broker.runtime.start"
IMPORTS = {
    "run": f"{START}, broker.runtime.daemon, broker.runtime.rival_credentials",
    "run, with programs to notify": f"{START}, broker.runtime.daemon, broker.runtime.notifier",
    "once": f"{START}, broker.runtime.daemon, broker.core.first_publication",
    "exec": f"{START}, broker.runtime.exec_command",
    "run, with tokens from the API": f"{START}, broker.runtime.daemon, broker.tokens.token_request",
}


def find_loaded(code: str) -> set[str]:
    """Return which of the heavy modules a fresh interpreter has after this code."""
    names = (*HEAVY, *WORKERS_OWN, *OPERATORS_OWN, *WEB_IDENTITY)
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
    assert find_loaded(code) == {*HEAVY, *WORKERS_OWN, "broker.core.web_identity_spec"}


@pytest.mark.usefixtures("unmeasured")
def test_resident_process_with_web_identity_tokens_imports_their_modules_and_nothing_heavy() -> None:
    assert find_loaded(f"{START}, broker.runtime.daemon, broker.runtime.web_identity_tokens") == set(WEB_IDENTITY)


@pytest.mark.usefixtures("unmeasured")
def test_audit_imports_what_only_operators_need() -> None:
    """Proves that these names are right, too."""
    code = "import broker.trust.audit.iam_account, broker.trust.audit.html_report, broker.trust.audit.tables, "
    assert set(OPERATORS_OWN) <= find_loaded(f"{code}broker.trust.audit.command, argcomplete")
