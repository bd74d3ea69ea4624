"""The names of the two images, without a registry.

Each delivery has one setting that adds the registry; deploy/README.md lists them. The Makefile builds the images
under these names.
"""

from __future__ import annotations

from typing import Final

from broker import __version__

SIDECAR_IMAGE: Final = f"sts-federation-broker:{__version__}"
OPERATOR_IMAGE: Final = f"sts-federation-broker-operator:{__version__}"
