"""botocore clients for STS that are configured by `StsSpec` alone.

A client ignores the AWS profiles, files and variables of the pod. botocore's own retries are off, so that one place
counts every attempt. The user of a client gives it its transport (broker.sts.transport). AssumeRoleWithWebIdentity is
not signed. AssumeRole is signed with the credentials of the source profile, which each call supplies anew; a client
never keeps them.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import botocore.loaders
import botocore.session
from botocore import UNSIGNED
from botocore.config import Config
from botocore.credentials import Credentials

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.core.model import StsSpec, TemporaryCredentials


class Signer(Credentials):  # type: ignore[misc]  # botocore has no types
    """The credentials object of a signed client: returns those that the calling thread has set for its call."""

    def __init__(self) -> None:
        super().__init__("", "", "")  # botocore never reads these, because get_frozen_credentials returns others
        self._of_thread = threading.local()

    @contextmanager
    def using(self, credentials: TemporaryCredentials) -> Iterator[None]:
        """Sign calls of this thread with these credentials until the end of the `with` block."""
        self._of_thread.keys = Credentials(
            credentials.access_key_id, credentials.secret_access_key.reveal(), credentials.session_token.reveal()
        ).get_frozen_credentials()
        try:
            yield
        finally:
            del self._of_thread.keys

    def load_credentials(self) -> Signer:
        """Return itself. botocore calls this method on its chain of credential providers, which the signer replaces."""
        return self

    def get_frozen_credentials(self) -> Any:  # noqa: ANN401 - botocore has no types
        """Return the credentials of this thread. Raises AttributeError outside of `using`."""
        return self._of_thread.keys


def new_client(spec: StsSpec, region: str, signer: Signer | None = None) -> Any:  # noqa: ANN401 - botocore has no types
    """Return an STS client for the Region. It ignores AWS config files and AWS variables.

    Without a signer, its calls are not signed.
    """
    nothing = os.devnull
    defaults_only = {  # name: (key in config files, environment variable, default, conversion)
        name: (None, None, default, conversion)
        for name, (_, _, default, conversion) in botocore.session.Session.SESSION_VARIABLES.items()
    }
    defaults_only |= dict.fromkeys(("config_file", "credentials_file"), (None, None, nothing, None))
    session = botocore.session.Session(session_vars=defaults_only)
    config = Config(
        signature_version=None if signer else UNSIGNED,
        retries={"total_max_attempts": 1, "mode": "standard"},
        use_fips_endpoint=spec.use_fips,
        use_dualstack_endpoint=spec.use_dualstack,
        ignore_configured_endpoint_urls=True,
        proxies={},
        user_agent_extra="sts-federation-broker",
    )
    session.register_component("data_loader", StsData())
    if signer is not None:
        session.register_component("credential_provider", signer)
    session.set_config_variable("sts_regional_endpoints", "regional")
    return session.create_client(
        "sts",
        region_name=region,
        endpoint_url=spec.endpoint_url or None,
        verify=spec.ca_bundle or True,  # None would make botocore read REQUESTS_CA_BUNDLE
        config=config,
    )


def is_plain_http(url: str) -> bool:
    """Return whether an endpoint is called without TLS, which the settings allow on loopback only: without a proxy."""
    return url.startswith("http://")


class StsData(botocore.loaders.Loader):  # type: ignore[misc]  # botocore has no types
    """A loader of botocore's own service models only. AWS_DATA_PATH or a home directory could redefine STS.

    It does not list the services: botocore would search about 400 directories, twice, to find `sts`.
    """

    def __init__(self) -> None:
        super().__init__(extra_search_paths=[self.BUILTIN_DATA_PATH], include_default_search_paths=False)

    def list_available_services(self, type_name: str) -> list[str]:
        """Return `sts`, whatever the type."""
        del type_name
        return ["sts"]
