"""Keeps what the host's shell says of AWS out of this process: moto makes boto sessions as it pleases.

A profile that does not exist would keep the box from starting, and a proxy or an endpoint would lead calls elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_SETTINGS = re.compile(r"(AWS|BOTO|MOTO)_.*|\w+_proxy", re.IGNORECASE)


@contextlib.contextmanager
def hidden() -> Iterator[None]:
    """Hide the host's AWS profile, files and proxies from this process until the end of the `with`."""
    before = dict(os.environ)
    for name in before:
        if _SETTINGS.fullmatch(name):
            del os.environ[name]
    os.environ.update(AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
