"""Run `sts-broker inject` in this process, and build small manifests for it."""

from __future__ import annotations

import io
from typing import Any

from broker.core.errors import ConfigurationError
from broker.inject.injection import run
from broker.inject.sidecar_request import Request

ROLE = "arn:aws:iam::123456789012:role/app"
OPTIONS = {"role_arn": ROLE, "region": "eu-west-1"}
POD = """\
apiVersion: v1
kind: Pod
metadata:
  name: app
spec:
  containers:
    - name: app
      image: x
"""


def run_inject(text: str, options: dict[str, str], *, check: bool = False, **more: Any) -> tuple[int, str]:  # noqa: ANN401
    """Return the exit code and the output for one stream. Raises ConfigurationError, and then nothing was printed."""
    output = io.BytesIO()
    request = Request(options=options, **more)
    try:
        code = run(["-"], request, check=check, stdin=io.BytesIO(text.encode()), output=output)
    except ConfigurationError:
        assert not output.getvalue(), "a fault prints nothing"
        raise
    return code, output.getvalue().decode()


def inject_text(text: str, options: dict[str, str] | None = None) -> str:
    """Return the manifests with the sidecar, after a check that a second run would change nothing."""
    options = OPTIONS if options is None else options
    code, result = run_inject(text, options)
    assert code == 0
    assert run_inject(result, options, check=True) == (0, ""), "the output has the sidecar"
    return result


def collect_faults(text: str, options: dict[str, str] | None = None, *, check: bool = False) -> tuple[str, ...]:
    """Return the faults of a stream that must have some."""
    try:
        result = run_inject(text, OPTIONS if options is None else options, check=check)
    except ConfigurationError as error:
        return error.faults
    raise AssertionError(f"no fault, but {result}")
