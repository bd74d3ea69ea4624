"""A reader that reads the published files in a loop: `python reading.py DIRECTORY` runs until its input closes.

It prints one JSON object: the number of reads, every fault, and a hash of each access key with its secret and token.
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
    """Return a hash of an access key, its secret and its session token."""
    return hashlib.sha256(f"{key}\n{secret}\n{token}".encode()).hexdigest()


def from_json(content: str) -> str:
    """Return the hash of the credentials in `default.json`. ValueError, KeyError: they are incomplete."""
    document = json.loads(content)
    if document["Version"] != 1 or not all(document.values()):
        raise ValueError("a blank field")
    return hash_of(document["AccessKeyId"], document["SecretAccessKey"], document["SessionToken"])


def from_ini(content: str) -> str:
    """Return the hash of the credentials in `credentials`. ValueError: they are incomplete."""
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
