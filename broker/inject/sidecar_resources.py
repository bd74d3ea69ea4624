"""CPU and memory of the sidecar: the defaults, what a pod can request instead, and what that does to its QoS class.

Pure. Quantities are those of Kubernetes: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

KEYS: Final = ("cpu_request", "cpu_limit", "memory_request", "memory_limit")
DEFAULTS: Final = {"cpu_request": "10m", "cpu_limit": "", "memory_request": "24Mi", "memory_limit": "64Mi"}
"""CPU has no limit by default, because a limit would slow down the start."""
_FORMS: Final = {
    "cpu": (re.compile(r"[0-9]+m|[0-9]+(\.[0-9]{1,3})?"), "CPU, such as 100m or 0.5"),
    "memory": (re.compile(r"[0-9]+(\.[0-9]+)?([kMGT]|[KMGT]i)?"), "memory, such as 64Mi"),
}
"""A subset of Kubernetes' quantities: no signs, no exponents, and no fractions that it would round."""
_QUANTITY: Final = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?[0-9]{1,2}))?")
_DECIMAL: Final = {suffix: Fraction(1000) ** power for power, suffix in enumerate("num kMGTPE", start=-3)}
_BINARY: Final = {f"{suffix}i": Fraction(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)}
_FACTORS: Final = {**_DECIMAL, **_BINARY}


def build_resources(requested: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return the container's resources. `requested` has the quantities of `KEYS`; "" is the default."""
    values = {key: requested.get(key) or DEFAULTS[key] for key in KEYS}
    requests = {kind: values[f"{kind}_request"] for kind in _FORMS}
    limits = {kind: values[f"{kind}_limit"] for kind in _FORMS if values[f"{kind}_limit"]}
    return {"requests": requests, "limits": limits}


def find_resource_faults(requested: Mapping[str, str], names: Mapping[str, str]) -> Iterator[str]:
    """Yield the quantities that Kubernetes would refuse. `names` are those of the settings, by key."""
    for kind, (form, description) in _FORMS.items():
        faults = []
        for key in (f"{kind}_request", f"{kind}_limit"):
            value = requested.get(key, "")
            if value and not (form.fullmatch(value) and parse_quantity(value)):
                faults.append(f"{names[key]} is {value!r:.70}; expected a quantity of {description}, above zero")
        yield from faults
        limit = requested.get(f"{kind}_limit") or DEFAULTS[f"{kind}_limit"]
        request = requested.get(f"{kind}_request") or DEFAULTS[f"{kind}_request"]
        if not faults and limit and (parse_quantity(request) or 0) > (parse_quantity(limit) or 0):
            yield (
                f"the sidecar's {kind} request {request} exceeds its limit {limit}. "
                f"Lower {names[f'{kind}_request']}, or raise {names[f'{kind}_limit']}"
            )


def parse_quantity(value: Any) -> Fraction | None:  # noqa: ANN401 - a YAML value
    """Return a quantity as a number, or None if it is not one."""
    match = _QUANTITY.fullmatch(str(value[1] if isinstance(value, tuple) else value))
    if match is None:
        return None
    number, suffix, exponent = match.groups()
    return Fraction(number) * _FACTORS.get(suffix or " ", Fraction(1)) * Fraction(10) ** int(exponent or 0)


def is_guaranteed(pod: Mapping[str, Any]) -> bool:
    """Return whether the kubelet gives a pod QoS class Guaranteed because of its containers' resources.

    Each container must have limits of CPU and memory, and no requests that differ. Source:
    https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/
    """
    containers = (*(pod.get("containers") or ()), *(pod.get("initContainers") or ()))
    return all(_has_equal_resources(each, kind) for each in containers for kind in _FORMS)


def _has_equal_resources(container: Mapping[str, Any], kind: str) -> bool:
    resources = container.get("resources")
    if not isinstance(resources, dict):
        return False
    requests, limits = (resources.get(key) for key in ("requests", "limits"))
    if not isinstance(limits, dict) or not isinstance(requests or {}, dict):
        return False
    limit = parse_quantity(limits.get(kind))
    return bool(limit) and parse_quantity((requests or {}).get(kind, limits.get(kind))) == limit
