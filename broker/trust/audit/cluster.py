"""The service accounts of a cluster, and the pods that request a role, as `kubectl get -A -o yaml` prints them.

The text may be a stream of documents, of Lists, and of JSON values. Roles come from the broker's own annotation, from
that of the EKS Pod Identity webhook on the service account, and from AWS_ROLE_ARN in a container. Pure.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import yaml

from broker.core.model import DEFAULT_AUDIENCE
from broker.manifests.annotations import PREFIX, ROLE_ANNOTATION
from broker.manifests.documents import BYTE_ORDER_MARK, describe_syntax_error, split_documents
from broker.manifests.pod_templates import find_pods
from broker.manifests.service_accounts import find_service_accounts
from broker.manifests.yaml_text import UneditableYaml, compose, find_node, get_line, read_value
from broker.policy.provider_claims import SERVICE_ACCOUNT_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.manifests.pod_templates import PodPlace

GET_MANIFESTS: Final = "kubectl get serviceaccounts,pods,deployments,statefulsets,daemonsets,cronjobs -A -o json"
_AUDIENCE_ANNOTATION: Final = "eks.amazonaws.com/audience"
_BROKER_ROLE: Final = f"{PREFIX}role-arn"
_UNREAD_KEYS: Final = ("status", "managedFields")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAccount:
    """A service account. `role` and `audience` are those of the webhook's annotations, "" where it has none."""

    namespace: str
    name: str
    role: str = ""
    audience: str = ""

    @property
    def subject(self) -> str:
        """The subject of its tokens."""
        return f"{SERVICE_ACCOUNT_PREFIX}{self.namespace}:{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A pod, or an object with a pod template.

    `roles` has the roles that it requests for itself, each with the setting. `audience` is that of its annotation, ""
    where it has none, and `projected` those of its projected tokens. `is_pod` is true for a pod that exists.
    """

    place: str
    line: int
    namespace: str
    account: str
    is_pod: bool
    roles: tuple[tuple[str, str], ...]
    audience: str
    projected: tuple[str, ...]

    @property
    def subject(self) -> str:
        """The subject of its tokens."""
        return f"{SERVICE_ACCOUNT_PREFIX}{self.namespace}:{self.account}"


@dataclass(slots=True, kw_only=True)
class Cluster:
    """What the manifests have. `file` is their name; `faults` has the documents that cannot be read."""

    file: str
    accounts: dict[str, ServiceAccount] = field(default_factory=dict)
    """By subject."""
    workloads: list[Workload] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    unjudged: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleRequest:
    """A role that pods request: which one, by which setting, and with tokens of which audiences."""

    workload: Workload
    role: str
    setting: str
    audiences: tuple[str, ...]


def read_cluster(text: str, file: str) -> Cluster:
    """Return what a stream of manifests has."""
    cluster = Cluster(file=file)
    line = 0
    for number, part in enumerate(split_documents(text), start=1):
        try:
            for root in _read_roots(part.removeprefix(BYTE_ORDER_MARK)):
                _add_object(root, line, cluster)
        except yaml.YAMLError as error:
            cluster.faults.append(f"{file}: document {number}, {describe_syntax_error(error, part, line)}")
        except UneditableYaml as error:
            cluster.faults.append(f"{file}: document {number}, line {line + error.line}: {error}")
        except RecursionError:
            cluster.faults.append(f"{file}: document {number}, line {line + 1}: nested too deeply to be read")
        line += part.count("\n")
    listed = bool(cluster.accounts)
    for one in cluster.workloads:  # without a list of accounts, pods and templates are the only source
        if one.namespace and (one.is_pod or not listed):
            account = ServiceAccount(namespace=one.namespace, name=one.account)
            cluster.accounts.setdefault(account.subject, account)
    if not cluster.faults and not cluster.accounts:
        cluster.faults.append(f"{file}: neither a service account nor a pod; pass the output of `{GET_MANIFESTS}`")
    return cluster


def list_requests(cluster: Cluster) -> Iterator[RoleRequest]:
    """Yield the roles that workloads request, each once for all workloads that request it in the same way."""
    seen = set()
    for workload in cluster.workloads:
        for request in _list_requests_of(workload, cluster.accounts.get(workload.subject)):
            key = (workload.subject, request.role, request.audiences)
            if key not in seen:
                seen.add(key)
                yield request


def _list_requests_of(workload: Workload, account: ServiceAccount | None) -> Iterator[RoleRequest]:
    """Yield the roles of a workload. The sidecar's token has the annotated audience, whatever the pod mounts."""
    own = (workload.audience or DEFAULT_AUDIENCE,)
    mounted = workload.projected or ((account.audience,) if account and account.audience else (DEFAULT_AUDIENCE,))
    for role, setting in workload.roles:
        audiences = own if setting == _BROKER_ROLE else mounted
        yield RoleRequest(workload=workload, role=role, setting=setting, audiences=audiences)
    if account is not None and account.role and account.role not in {role for role, _ in workload.roles}:
        setting = f"{ROLE_ANNOTATION} of its service account"
        yield RoleRequest(workload=workload, role=account.role, setting=setting, audiences=mounted)


def _read_roots(part: str) -> Iterator[yaml.Node]:
    """Yield the root nodes of a document. A List in JSON is read item by item, because it may be of any size."""
    if part.lstrip().startswith("{"):
        try:
            document = json.loads(part)
        except (ValueError, RecursionError):
            pass  # YAML in flow style, or a mistake that the YAML reader locates
        else:
            yield from (node for item in _list_items(document) for node in compose(json.dumps(item)).roots)
            return
    yield from compose(part).roots


def _list_items(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON document, without what the audit does not look at."""
    kind, items = document.get("kind"), document.get("items")
    if not isinstance(kind, str) or not kind.endswith("List") or not isinstance(items, list):
        yield {key: value for key, value in document.items() if key not in _UNREAD_KEYS}
        return
    typed = {"kind": kind.removesuffix("List"), "apiVersion": document.get("apiVersion", "")}
    for item in items:
        if isinstance(item, dict):
            whole = item if item.get("kind") else {**typed, **item}
            yield {key: value for key, value in whole.items() if key not in _UNREAD_KEYS}


def _add_object(root: yaml.Node, line: int, cluster: Cluster) -> None:
    for account in find_service_accounts(root):
        _add_account(read_value(account), cluster)
    for place in find_pods(root):
        _add_workload(place, line, cluster)


def _add_account(manifest: Any, cluster: Cluster) -> None:  # noqa: ANN401 - the value of a manifest
    metadata = _read_mapping(manifest, "metadata")
    annotations = _read_mapping(metadata, "annotations")
    account = ServiceAccount(
        namespace=str(metadata.get("namespace", "")),
        name=str(metadata.get("name", "")),
        role=str(annotations.get(ROLE_ANNOTATION, "")),
        audience=str(annotations.get(_AUDIENCE_ANNOTATION, "")),
    )
    if account.namespace:
        cluster.accounts[account.subject] = account
    else:
        cluster.unjudged.append(f"{cluster.file}: ServiceAccount {account.name} names no namespace")


def _add_workload(place: PodPlace, line: int, cluster: Cluster) -> None:
    pod = read_value(place.pod) if place.pod is not None else {}
    spec = _read_mapping(pod, "spec")
    annotations = _read_mapping(_read_mapping(pod, "metadata"), "annotations")
    roles = tuple(_list_roles(spec, annotations))
    if roles and not place.namespace:
        cluster.unjudged.append(f"{cluster.file}: {place.name} requests a role and names no namespace")
        return
    workload = Workload(
        place=place.name,
        line=line + get_line(find_node(place.owner, "metadata") or place.owner),
        namespace=place.namespace,
        account=str(spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"),
        is_pod=place.kind == "Pod",
        roles=roles,
        audience=str(annotations.get(f"{PREFIX}audience") or ""),
        projected=tuple(dict.fromkeys(_list_audiences(spec))),
    )
    cluster.workloads.append(workload)


def _list_roles(spec: dict[str, Any], annotations: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the roles that a pod requests, each once with the setting."""
    found = str(annotations.get(_BROKER_ROLE) or "")
    seen = {"", found}
    if found:
        yield found, _BROKER_ROLE
    for container in (*_read_list(spec, "initContainers"), *_read_list(spec, "containers")):
        for variable in _read_list(container, "env"):
            value = str(variable.get("value") or "")
            if variable.get("name") == "AWS_ROLE_ARN" and value not in seen:
                seen.add(value)
                yield value, "AWS_ROLE_ARN"


def _list_audiences(spec: dict[str, Any]) -> Iterator[str]:
    """Yield the audiences of a pod's projected tokens. One without an audience is for the Kubernetes API."""
    for volume in _read_list(spec, "volumes"):
        for source in _read_list(_read_mapping(volume, "projected"), "sources"):
            audience = _read_mapping(source, "serviceAccountToken").get("audience")
            if audience:
                yield str(audience)


def _read_mapping(value: Any, key: str) -> dict[str, Any]:  # noqa: ANN401 - the value of a manifest
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def _read_list(value: dict[str, Any], key: str) -> list[dict[str, Any]]:
    found = value.get(key)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
