"""The Helm chart: the files that it copies from deploy/, its values, and what Helm renders.

`python -m tests.deploy.charts` writes the copies; tests compare them with their sources.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from tests.deploy.rendering import DEPLOY, Document

if TYPE_CHECKING:
    from collections.abc import Iterator

CHART = DEPLOY / "charts/sts-broker-platform"
COPIES = {
    CHART / "files" / source.name: source
    for source in (
        DEPLOY / "admission/injection.yaml",
        DEPLOY / "admission/validation.yaml",
        DEPLOY / "monitoring/pod-monitor.yaml",
        DEPLOY / "monitoring/prometheus-rule.yaml",
        DEPLOY / "monitoring/dashboard.json",
    )
}
"""Each file of the chart that is a copy, and its source. Helm reads no file outside of a chart."""
LABELS = ("app.kubernetes.io/", "helm.sh/")
"""What the labels begin with that Helm's conventions add."""


class Value(NamedTuple):
    """A value of the chart. `default` is that of values.yaml, `description` that of values.schema.json."""

    key: str
    default: Any
    description: str


def read_values() -> list[Value]:
    """Return the values that a user can set, in the order of values.yaml."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    return list(_find_values(yaml.safe_load((CHART / "values.yaml").read_text()), schema, ""))


def _find_values(defaults: Document, schema: Document, prefix: str) -> Iterator[Value]:
    for name, default in defaults.items():
        below = schema["properties"][name]
        if isinstance(default, dict) and default:
            yield from _find_values(default, below, f"{prefix}{name}.")
        else:
            yield Value(f"{prefix}{name}", default, below["description"])


def remove_labels(document: Document) -> Document:
    """Return a document without the labels that Helm's conventions add."""
    labels = {name: value for name, value in document["metadata"]["labels"].items() if not str(name).startswith(LABELS)}
    metadata = {key: value for key, value in document["metadata"].items() if key != "labels"}
    return {**document, "metadata": {**metadata, "labels": labels} if labels else metadata}


def sort_by_kind(documents: list[Document]) -> list[Document]:
    """Return the documents in the order of their kinds. No two of the chart have the same kind."""
    return sorted(documents, key=lambda document: str(document["kind"]))


if __name__ == "__main__":
    for copy, source in COPIES.items():
        shutil.copyfile(source, copy)
