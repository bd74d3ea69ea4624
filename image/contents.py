"""The broker's packages in each of the two images. The operator image has all of them; the sidecar, no operator tools.

`check_packages` fails the build if the broker has a package that neither list names.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """An image's name, and the broker's packages that it does not contain."""

    name: str
    left_out: frozenset[str] = frozenset()


SIDECAR_PACKAGES: Final = frozenset(
    {
        "cli",
        "core",
        "discovery",
        "doctor",
        "files",
        "loop",
        "net",
        "notify",
        "policy",
        "publish",
        "runtime",
        "serving",
        "settings",
        "sts",
        "tokens",
        "worker",
    }
)
"""`policy` is in the list because the doctor imports it."""
OPERATOR_PACKAGES: Final = frozenset({"iam_policies", "inject", "issuer", "manifests", "trust"})
"""What only `trust`, `issuer` and `inject` need. No module of `SIDECAR_PACKAGES` imports these at load time."""
IMAGES: Final = {
    "sidecar": Contents(name="sts-federation-broker", left_out=OPERATOR_PACKAGES),
    "operator": Contents(name="sts-federation-broker-operator"),
}


def check_packages(broker: Path) -> None:
    """Exit with an error if the directory `broker` has a package that is in neither list."""
    found = {path.name for path in broker.iterdir() if path.is_dir() and path.name != "__pycache__"}
    if unknown := sorted(found - SIDECAR_PACKAGES - OPERATOR_PACKAGES):
        raise SystemExit(
            f"No image is chosen for these packages of the broker: {', '.join(unknown)}. "
            "Add them to SIDECAR_PACKAGES or OPERATOR_PACKAGES in image/contents.py."
        )
