"""The network path of calls to STS: the endpoint, the proxy and the trusted CAs.

The CAs are those that botocore would use. HTTPS_PROXY and NO_PROXY are read by `broker.net`, which honors more forms of
NO_PROXY than botocore does (docs/settings.md).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.httpsession import get_cert_path

from broker.core.records import Unprinted, replace
from broker.net.routes import find_proxy
from broker.sts.client import StsData, is_plain_http

if TYPE_CHECKING:
    from broker.core.model import StsSpec


class NetworkPath(Unprinted, frozen=True, kw_only=True):
    """How a client reaches STS.

    `url` is the endpoint, `proxy` the URL of the proxy or "", `ca_file` the file of trusted CAs. `regions` has all
    Regions that botocore knows, if they were looked up. `proxy` may contain a password and is not printed.
    """

    url: str
    proxy: str
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
    proxy = find_proxy(urlsplit(url), os.environ)
    return proxy if not proxy or "://" in proxy else f"http://{proxy.removeprefix('//')}"
