"""The network path of calls to STS: the endpoint, the proxy and the trusted CAs.

Uses botocore's own functions for the proxy and the CAs, so that both are those that any AWS SDK for Python uses.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies

from broker.sts.client import StsData, is_plain_http

if TYPE_CHECKING:
    from broker.core.model import StsSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPath:
    """How a client reaches STS.

    `url` is the endpoint, `proxy` the URL of the proxy or "", `ca_file` the file of trusted CAs. `regions` has all
    Regions that botocore knows, if they were looked up. `proxy` may contain a password and is not printed.
    """

    url: str
    proxy: str = field(repr=False)
    ca_file: str
    regions: frozenset[str] = frozenset()


def find_call_path(client: Any, spec: StsSpec) -> NetworkPath:  # noqa: ANN401 - botocore has no types
    """Return the network path of this client's calls, without Regions. `spec` is the one that it was made with."""
    url = str(client.meta.endpoint_url)
    return NetworkPath(
        url=url,
        proxy="" if is_plain_http(url) else _find_proxy(url),
        ca_file=spec.ca_bundle or str(get_cert_path(True)),  # noqa: FBT003 - True means botocore's own file
    )


def find_network_path(client: Any, spec: StsSpec) -> NetworkPath:  # noqa: ANN401 - botocore has no types
    """Return the network path of this client's calls, with all Regions, for the doctor."""
    partitions = StsData().load_data("partitions")["partitions"]
    regions = frozenset(name for partition in partitions for name in partition["regions"])
    return replace(find_call_path(client, spec), regions=regions)


def _find_proxy(url: str) -> str:
    """Return the URL of the proxy for an https:// URL, or "". Without a scheme, it is http://, as for botocore."""
    proxy = str(get_environ_proxies(url).get("https") or "")
    return proxy if not proxy or "://" in proxy else f"http://{proxy.removeprefix('//')}"
