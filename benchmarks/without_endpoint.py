"""`sts-broker run` without its credentials endpoint: what the endpoint adds to memory is the difference.

Run by the interpreter of `.venv-runtime`. The endpoint's module is never imported, its listener never made; all else is
the broker itself.
"""

import sys
import types
from typing import Any

from broker.core.model import Secret


class _Nothing:
    """Replaces the served credentials, the application and the listener."""

    name = "none"
    address = ("127.0.0.1", 0)

    def __init__(self, **_: Any) -> None:  # noqa: ANN401 - whatever those are made of
        """Be made like any of them."""

    def record(self, _: object) -> None:
        """Keep nothing."""

    def start(self) -> None:
        """Serve nobody."""

    def close(self) -> None:
        """Have nothing to close."""


_stub: Any = types.ModuleType("broker.serving.credentials_endpoint")
_stub.ServedCredentials = _stub.CredentialsApplication = _Nothing
_stub.generate_token = lambda: Secret("not-a-token-for-there-is-no-endpoint")
sys.modules["broker.serving.credentials_endpoint"] = _stub

from broker.cli import main  # noqa: E402 - the stub has to be there first
from broker.runtime import daemon  # noqa: E402 - the stub has to be there first

_daemon: Any = daemon
_daemon.open_credentials_listener = lambda *_: _Nothing()
sys.exit(main.main(["run"]))
