"""A reader that hammers the published files: `python reading.py DIRECTORY` reads until its standard input closes.

Prints one JSON object: how often it read, every fault it saw, and a hash of each triple of key, secret and token.
"""

from __future__ import annotations

import hashlib
import json
import re
import select
import sys
from pathlib import Path

_SECTION = re.compile(
    r"\[default\]\n# expires (\S+)\naws_access_key_id = (\S+)\naws_secret_access_key = (\S+)\n"
    r"aws_session_token = (\S+)\n"
)


def hash_of(key: str, secret: str, token: str) -> str:
    """Name three texts that belong together without showing them."""
    return hashlib.sha256(f"{key}\n{secret}\n{token}".encode()).hexdigest()


def from_json(content: str) -> str:
    """Return the hash of what `default.json` says. ValueError, KeyError: it is not whole."""
    document = json.loads(content)
    if document["Version"] != 1 or not all(document.values()):
        raise ValueError("a blank field")
    return hash_of(document["AccessKeyId"], document["SecretAccessKey"], document["SessionToken"])


def from_ini(content: str) -> str:
    """Return the hash of what `credentials` says. ValueError: it is not whole."""
    match = _SECTION.fullmatch(content)
    if match is None:
        raise ValueError(f"torn: {len(content)} characters")
    return hash_of(match[2], match[3], match[4])


def main(directory: Path) -> None:
    """Read until standard input ends."""
    reads, faults, seen = 0, list[str](), set[str]()
    sys.stdout.write("reading\n")
    sys.stdout.flush()
    while not select.select([sys.stdin], [], [], 0)[0]:
        for name, parse in (("default.json", from_json), ("credentials", from_ini)):
            try:
                seen.add(parse((directory / name).read_text()))
            except (OSError, ValueError, KeyError) as error:
                faults.append(f"{name}: {type(error).__name__}: {error}")
            reads += 1
    json.dump({"reads": reads, "faults": faults, "seen": sorted(seen)}, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
