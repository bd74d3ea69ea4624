"""Service accounts in the manifests that have the annotation of the EKS Pod Identity webhook.

In the cluster, the webhook sets AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE in the containers of pods with such an
account, and SDKs prefer these variables to the endpoint. It leaves out containers that already have the second
variable, as the sidecar does, and those that the pod's annotation names. Source:
https://github.com/aws/amazon-eks-pod-identity-webhook

Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from broker.manifests.annotations import ROLE_ANNOTATION
from broker.manifests.pod_templates import read_text
from broker.manifests.service_accounts import find_service_accounts
from broker.manifests.yaml_text import find_node

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import yaml

    from broker.inject.sidecar import Tree

SKIP_ANNOTATION: Final = "eks.amazonaws.com/skip-containers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An annotated service account. `namespace` is "" if the manifest does not name it. `place` is its document."""

    name: str
    namespace: str
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A pod with the sidecar, and its containers that the webhook would change. `place` identifies it in messages."""

    account: str
    namespace: str
    containers: tuple[str, ...]
    place: str


def find_accounts(root: yaml.Node, place: str) -> Iterator[Account]:
    """Yield the annotated service accounts of one document."""
    for one in find_service_accounts(root):
        if find_node(one, "metadata", "annotations", ROLE_ANNOTATION) is not None:
            name, namespace = (read_text(find_node(one, "metadata", key)) for key in ("name", "namespace"))
            yield Account(name=name, namespace=namespace, place=place)


def build_use(
    pod: Tree, annotations: Mapping[str, str], namespace: str, chosen: frozenset[str], place: str
) -> Use | None:
    """Return which containers with the endpoint the webhook would change, or None if it would change none."""
    skipped = {name.strip() for name in annotations.get(SKIP_ANNOTATION, "").split(",")}
    containers = tuple(
        str(each.get("name"))
        for each in (*(pod.get("initContainers") or ()), *pod["containers"])
        if each.get("name") in chosen - skipped
        and not any(variable.get("name") == "AWS_WEB_IDENTITY_TOKEN_FILE" for variable in each.get("env") or ())
    )
    account = str(pod.get("serviceAccountName") or pod.get("serviceAccount") or "default")
    return Use(account=account, namespace=namespace, containers=containers, place=place) if containers else None


def find_account_warnings(uses: Iterable[Use], accounts: Iterable[Account]) -> Iterator[str]:
    """Yield a warning for each pod whose service account is annotated. An unnamed namespace can be any."""
    by_name: dict[str, list[Account]] = {}
    for account in accounts:
        by_name.setdefault(account.name, []).append(account)
    for use in uses:
        for account in by_name.get(use.account, ()):
            if use.namespace and account.namespace and use.namespace != account.namespace:
                continue
            yield (
                f"{use.place}: service account {account.name} ({account.place}) has annotation {ROLE_ANNOTATION}. With "
                "it, the webhook of EKS sets AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE in the app, which SDKs "
                f"prefer to the endpoint. Remove it, or annotate the pod with {SKIP_ANNOTATION}: "
                f'"{",".join(use.containers)}"'
            )
