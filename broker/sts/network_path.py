"""The network path of botocore's calls to STS, for the doctor.

Uses botocore's own functions, so that the result is what botocore does. `run` does not import this module.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.httpsession import ProxyConfiguration, get_cert_path
from botocore.utils import get_environ_proxies

from broker.sts.client import StsData, is_plain_http

if TYPE_CHECKING:
    from broker.core.model import StsSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPath:
    """How a client reaches STS.

    `url` is the endpoint, `proxy` the URL of the proxy or "", `ca_file` the file of trusted CAs, `regions` all Regions
    that botocore knows. `proxy` may contain a password and is not printed.
    """

    url: str
    proxy: str = field(repr=False)
    ca_file: str
    regions: frozenset[str]


def find_network_path(client: Any, spec: StsSpec) -> NetworkPath:  # noqa: ANN401 - botocore has no types
    """Return the network path of this client's calls. `spec` is the one that the client was made with."""
    url = str(client.meta.endpoint_url)
    partitions = StsData().load_data("partitions")["partitions"]
    return NetworkPath(
        url=url,
        proxy=""
        if is_plain_http(url)
        else ProxyConfiguration(proxies=get_environ_proxies(url)).proxy_url_for(url) or "",
        ca_file=spec.ca_bundle or str(get_cert_path(True)),  # noqa: FBT003 - True means botocore's own file
        regions=frozenset(name for partition in partitions for name in partition["regions"]),
    )
