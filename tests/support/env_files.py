"""Read an environment file as the kubelet reads it for `valueFrom.fileKeyRef`.

Source: kubernetes pkg/kubelet/util/env/env_util.go (ParseEnv), version 1.35. The kubelet stops at the wanted key, and
refuses a malformed line before it; this function refuses every malformed line.
"""

from __future__ import annotations

import re

_LINE = re.compile(r"[ \t]*(?P<name>[^ \t=]+)='(?P<value>[^']*)'[ \t]*(#.*)?")
_IGNORED = re.compile(r"[ \t]*(#.*)?")


def parse_env_file(text: str) -> dict[str, str]:
    """Return the variables of a file. Raises ValueError if a value is not in single quotes."""
    values = {}
    for number, line in enumerate(text.splitlines(), start=1):
        parts = _LINE.fullmatch(line)
        if parts:
            values[parts["name"]] = parts["value"]
        elif not _IGNORED.fullmatch(line):
            raise ValueError(f"line {number}: value must be enclosed in single quotes")
    return values
