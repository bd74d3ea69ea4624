"""Hides the host's AWS settings and proxies from this process, because moto creates boto sessions of its own.

A profile that does not exist would keep the simulator from starting. A proxy or an endpoint URL would redirect calls.
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
def hide_host_settings() -> Iterator[None]:
    """Remove AWS, boto and proxy variables from this process's environment until the end of the `with`."""
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
