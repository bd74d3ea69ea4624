"""Reduce botocore's data to what a client for one service, STS, reads.

Nine tenths of botocore's files describe about 400 services that the sidecar never calls. They cost more than disk
space: every session parses `endpoints.json`, more than a megabyte of text. That takes about 50 ms of CPU time at each
start, and 7 MB of memory.

What is removed, and why nothing needs it:

* the directories of the other services: a client loads only the directory of its own service;
* the examples and waiters of STS: only documentation generators read the examples, and STS has no waiters;
* the entries of the other services in `endpoints.json`. Partitions, their Regions, their defaults and the entries of
  STS stay, because pseudo-Regions, signing Regions and `get_partition_for_region` come from there.

What stays unchanged: `partitions.json`, `_retry.json`, `sdk-default-configuration.json`, the model and endpoint rules.

If the data has another layout than expected, the build fails. `tests/image/test_reduced_botocore.py` proves with real
clients that the reduced data resolves every Region of every partition to the same endpoint as the full data, with and
without FIPS and dual-stack.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any, Final

SERVICE: Final = "sts"
SHARED_FILES: Final = frozenset(
    {"_retry.json", "endpoints.json", "partitions.json", "sdk-default-configuration.json"},
)
MODEL_PREFIXES: Final = ("service-2.", "endpoint-rule-set-1.", "paginators-1.")


def reduce_data(data: Path) -> None:
    """Reduce botocore's `data` directory in place."""
    for entry in sorted(data.iterdir()):
        if entry.is_dir() and entry.name != SERVICE:
            shutil.rmtree(entry)
        elif entry.is_file() and entry.name not in SHARED_FILES:
            entry.unlink()
    for entry in sorted((data / SERVICE).glob("*/*")):
        if not entry.name.startswith(MODEL_PREFIXES):
            entry.unlink()
    missing = SHARED_FILES - {entry.name for entry in data.iterdir()}
    if missing:
        raise SystemExit(f"{data}: botocore no longer ships {', '.join(sorted(missing))}. Check how it loads its data.")
    endpoints = data / "endpoints.json"
    reduced = reduce_endpoints(json.loads(endpoints.read_text(encoding="utf-8")))
    endpoints.write_text(json.dumps(reduced, separators=(",", ":")) + "\n", encoding="utf-8")


def reduce_endpoints(endpoints: dict[str, Any]) -> dict[str, Any]:
    """Remove every service except STS from each partition. The order of entries does not change."""
    if endpoints["version"] != 3:  # noqa: PLR2004  (the only layout that this function supports)
        raise SystemExit(f"endpoints.json has version {endpoints['version']}, not 3. Check its layout.")
    partitions = []
    for partition in endpoints["partitions"]:
        services = {name: entry for name, entry in partition["services"].items() if name == SERVICE}
        if not services:
            raise SystemExit(f"Partition {partition['partition']} has no {SERVICE} entry. Check endpoints.json.")
        partitions.append({**partition, "services": services})
    return {**endpoints, "partitions": partitions}


if __name__ == "__main__":
    reduce_data(Path(sys.argv[1]))
