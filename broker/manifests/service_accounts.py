"""Find the service accounts of a manifest. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.manifests.pod_templates import iterate_items, read_kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    import yaml

_KIND = "ServiceAccount"


def find_service_accounts(root: yaml.Node, kind_of_item: tuple[str, str] = ("", "")) -> Iterator[yaml.Node]:
    """Yield the service accounts that an object is, or that a List has, also a typed List whose items lack their kind.

    `kind_of_item` is the API group and the kind of an object that lacks them because it is in a typed List.
    """
    group, kind = read_kind(root, kind_of_item)
    if kind == _KIND:
        yield root
    elif kind in ("List", f"{_KIND}List"):
        for item in iterate_items(root):
            yield from find_service_accounts(item, (group, kind.removesuffix("List")))
