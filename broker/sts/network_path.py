"""How botocore's calls reach STS, for the doctor: a start of `run` has no use for it.

Rules: the words are botocore's own, so that what is told is what it does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.httpsession import ProxyConfiguration, get_cert_path
from botocore.utils import get_environ_proxies

from broker.sts.client import StsData

if TYPE_CHECKING:
    from broker.core.model import StsSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a client reaches STS: the endpoint, the proxy's URL or "", the file of the CAs it trusts, botocore's Regions.

    `proxy` may hold a password, and is not printed.
    """

    url: str
    proxy: str = field(repr=False)
    ca_file: str
    regions: frozenset[str]


def way_of(client: Any, spec: StsSpec) -> Way:  # noqa: ANN401 - botocore has no types
    """Return how calls of this client go, in botocore's own words; `spec` is what it was made by."""
    url = str(client.meta.endpoint_url)
    partitions = StsData().load_data("partitions")["partitions"]
    return Way(
        url=url,
        proxy=ProxyConfiguration(proxies=get_environ_proxies(url)).proxy_url_for(url) or "",
        ca_file=spec.ca_bundle or str(get_cert_path(True)),  # noqa: FBT003 - botocore's way to say: its own
        regions=frozenset(name for partition in partitions for name in partition["regions"]),
    )
