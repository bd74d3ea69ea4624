"""Service meshes whose proxy may not be up when the broker starts: how pods ask for them, and what helps.

With a mesh's CNI plugin, outbound traffic goes to the proxy from the start of the pod. A proxy that is a regular
container starts only after the init containers, so that the broker cannot connect to STS, and its startup probe holds
back the proxy.

Sources: Istio's release notes of 1.24 and annotation reference (https://istio.io/latest/docs/reference/config/annotations/),
Linkerd's proxy configuration (https://linkerd.io/2/reference/proxy-configuration/). Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

STS_PORT: Final = 443


@dataclass(frozen=True, slots=True, kw_only=True)
class Mesh:
    """A service mesh: the labels or annotations with which a pod requests its proxy, and those that help.

    `requests` maps names to the values that turn the proxy off; any other value requests it. `native` turn the proxy
    into a native sidecar, which the mesh puts before the broker. `skips` have the outbound ports that bypass the proxy.
    """

    name: str
    requests: Mapping[str, frozenset[str]]
    native: tuple[str, ...]
    skips: tuple[str, ...]


_OFF: Final = frozenset({"false", "disabled", ""})
MESHES: Final = (
    Mesh(
        name="Istio",
        requests={"sidecar.istio.io/inject": _OFF, "istio.io/rev": frozenset({""})},
        native=("sidecar.istio.io/nativeSidecar",),
        skips=("traffic.sidecar.istio.io/excludeOutboundPorts",),
    ),
    Mesh(
        name="Linkerd",
        requests={"linkerd.io/inject": _OFF},
        native=(
            "config.beta.linkerd.io/proxy-enable-native-sidecar",
            "config.alpha.linkerd.io/proxy-enable-native-sidecar",
        ),
        skips=("config.linkerd.io/skip-outbound-ports",),
    ),
    Mesh(
        name="Consul",
        requests={"consul.hashicorp.com/connect-inject": _OFF},
        native=(),
        skips=("consul.hashicorp.com/transparent-proxy-exclude-outbound-ports",),
    ),
    Mesh(
        name="Kuma",
        requests={"kuma.io/sidecar-injection": _OFF},
        native=(),
        skips=("traffic.kuma.io/exclude-outbound-ports",),
    ),
)


def find_mesh_warnings(given: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the name of the label or annotation that requests a mesh's proxy, and a warning with what helps.

    `given` are the pod's annotations and labels. There is no warning if the pod makes the proxy a native sidecar, or
    lets the port of STS bypass it.
    """
    for mesh in MESHES:
        requested = [name for name, off in mesh.requests.items() if name in given and given[name] not in off]
        is_off = any(given.get(name) in off - {""} for name, off in mesh.requests.items() if name in given)
        if not requested or is_off:
            continue
        is_native = any(given.get(name) == "true" for name in mesh.native)
        if is_native or any(has_port(given.get(name, ""), STS_PORT) for name in mesh.skips):
            continue
        native = f'{mesh.native[0]}: "true", or ' if mesh.native else ""
        warning = (
            f"{requested[0]} requests the proxy of {mesh.name}. If its CNI plugin redirects traffic and the proxy is a "
            "regular container, the broker starts before the proxy and cannot connect to STS. Annotate the pod with "
            f'{native}{mesh.skips[0]}: "{STS_PORT}"'
        )
        yield requested[0], warning


def has_port(text: str, port: int) -> bool:
    """Return whether a list of ports and ranges, such as `80,400-500`, has this port, or all with `*`."""
    for part in text.replace(" ", "").split(","):
        match = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", part)
        if part == "*" or (match and int(match[1]) <= port <= int(match[2] or match[1])):
            return True
    return False
