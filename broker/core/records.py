"""Records: classes with typed fields and little else. All modules of the sidecar import msgspec's names from here.

A Struct is made in C. A dataclass is made by compiling its methods at each start, which took half of the time that the
resident process needs for its imports (docs/adr/0034-records.md).
"""

from __future__ import annotations

import sys

# msgspec would use typing_extensions, which loads `inspect` and the parser of Python: 7 ms, and nearly 1 MiB. A module
# that is None cannot be imported (https://docs.python.org/3/reference/import.html#the-module-cache). Workers need it.
_is_loaded = "typing_extensions" in sys.modules
if not _is_loaded:
    sys.modules["typing_extensions"] = None  # type: ignore[assignment]  # None is what the import system looks for
try:
    from msgspec import Struct, convert, field
    from msgspec.structs import asdict, replace
finally:
    if not _is_loaded:
        del sys.modules["typing_extensions"]

__all__ = ["Struct", "Unprinted", "asdict", "convert", "field", "replace"]


class Unprinted(Struct, frozen=True):
    """A record that prints as its class alone, so that no log line and no exception quotes what it holds."""

    def __repr__(self) -> str:
        """Return the name of the class."""
        return f"<{type(self).__name__}>"
