"""`sts-broker run` without its credentials endpoint, to measure the memory that the endpoint adds.

The interpreter of `.venv-runtime` runs it. The endpoint's module is not imported, and its listener is not created.
Everything else is the broker itself.
"""

import sys
import types
from typing import Any

from broker.core.model import Secret


class _Stub:
    """Replaces the credential store, the application and the listener of the endpoint."""

    name = "none"
    address = ("127.0.0.1", 0)

    def __init__(self, **_: Any) -> None:  # noqa: ANN401 - the arguments of the replaced classes
        """Accept the arguments of each replaced class."""

    def record(self, _: object) -> None:
        """Do nothing."""

    def start(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


_stub: Any = types.ModuleType("broker.serving.credentials_endpoint")
_stub.ServedCredentials = _stub.CredentialsApplication = _Stub
_stub.generate_token = lambda: Secret("unused-token")
sys.modules["broker.serving.credentials_endpoint"] = _stub

from broker.cli import main  # noqa: E402 - only after the stub
from broker.runtime import daemon  # noqa: E402 - only after the stub

_daemon: Any = daemon
_daemon.open_credentials_listener = lambda *_: _Stub()
sys.exit(main.main(["run"]))
