"""Hashes without OpenSSL: hashlib would load libcrypto, 4 MiB, for a few SHA-256 digests of small files.

Python has hash functions of its own, which hashlib uses where its OpenSSL module cannot be imported. A module that is
None in sys.modules cannot (https://docs.python.org/3/reference/import.html#the-module-cache).
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

_OWN_SHA256 = ("_sha2", "_sha256")
"""The module with Python's own SHA-256, since 3.12 and before. Some distributions build Python without it."""


def keep_openssl_out() -> None:
    """Make this process use Python's own hash functions, if it has some and has not imported hashlib yet."""
    if "hashlib" not in sys.modules and any(find_spec(name) for name in _OWN_SHA256):
        sys.modules["_hashlib"] = None  # type: ignore[assignment]  # None is what the import system looks for
