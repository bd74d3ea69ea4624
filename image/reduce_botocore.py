"""Cut botocore's data down to what a client for one service, STS, reads.

Nine tenths of what botocore adds to an image describe some four hundred services that the broker never calls. Nor is
it only a matter of disk: every session parses `endpoints.json`, more than a megabyte of text, which costs a sidecar
some 50 ms of CPU time at each start and 7 MB of memory for as long as it lives.

What goes, and why it may go:

* the directory of every other service: a client loads the directory of its own service only;
* the examples and waiters of STS itself: documentation generators read the examples, and STS has no waiters;
* in `endpoints.json`, the entries of every other service. Partitions, their Regions, their defaults and
  the entries of STS stay, because pseudo-Regions, signing Regions and `get_partition_for_region` come from there.

What stays as it was: `partitions.json`, `_retry.json`, `sdk-default-configuration.json`, the model and endpoint rules.

A reduction that finds anything else than it expects fails the build. That the reduced data resolve every Region of
every partition to the same endpoint as the full data, with and without FIPS and dual-stack, is what
`tests/image/test_reduced_botocore.py` proves with real clients.
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
        raise SystemExit(
            f"{data}: botocore no longer ships {', '.join(sorted(missing))}; look at how it loads its data"
        )
    endpoints = data / "endpoints.json"
    reduced = reduce_endpoints(json.loads(endpoints.read_text(encoding="utf-8")))
    endpoints.write_text(json.dumps(reduced, separators=(",", ":")) + "\n", encoding="utf-8")


def reduce_endpoints(endpoints: dict[str, Any]) -> dict[str, Any]:
    """Leave out every service but STS, in each partition, and keep the order of everything."""
    if endpoints["version"] != 3:  # noqa: PLR2004  (the only layout that this function knows)
        raise SystemExit(f"endpoints.json has version {endpoints['version']}, not 3; look at its layout first")
    partitions = []
    for partition in endpoints["partitions"]:
        services = {name: entry for name, entry in partition["services"].items() if name == SERVICE}
        if not services:
            raise SystemExit(f"partition {partition['partition']} has no {SERVICE} entry; look at endpoints.json first")
        partitions.append({**partition, "services": services})
    return {**endpoints, "partitions": partitions}


if __name__ == "__main__":
    reduce_data(Path(sys.argv[1]))
