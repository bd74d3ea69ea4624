"""botocore on a leash: clients for STS that listen to `StsSpec` alone.

Rules: nothing of the pod's AWS profiles, files or variables has a say in a client; timeouts are short; botocore's own
retries are off, so that every attempt is counted in one place. AssumeRoleWithWebIdentity goes unsigned; AssumeRole is
signed with a source's credentials, which a client never keeps: each call brings its own.
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

CONNECT_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 10
CONNECTIONS_KEPT = 10


class Signer(Credentials):  # type: ignore[misc]  # botocore has no types
    """What a signed client takes for its credentials: those that the calling thread has put in for this call."""

    def __init__(self) -> None:
        super().__init__("", "", "")  # these are never looked at: see get_frozen_credentials
        self._here = threading.local()

    @contextmanager
    def using(self, credentials: TemporaryCredentials) -> Iterator[None]:
        """Sign this thread's calls with these credentials until the end of the `with`."""
        self._here.keys = Credentials(
            credentials.access_key_id, credentials.secret_access_key.reveal(), credentials.session_token.reveal()
        ).get_frozen_credentials()
        try:
            yield
        finally:
            del self._here.keys

    def load_credentials(self) -> Signer:
        """Return itself: it stands in for botocore's chain of providers as well."""
        return self

    def get_frozen_credentials(self) -> Any:  # noqa: ANN401 - botocore has no types
        """Return this thread's keys. Raises AttributeError outside of `using`."""
        return self._here.keys


def new_client(spec: StsSpec, region: str, signer: Signer | None = None) -> Any:  # noqa: ANN401 - botocore has no types
    """Return an STS client that listens to `spec` alone: not to the pod's config files or any AWS variable.

    Without a signer its calls go unsigned.
    """
    nothing = os.devnull
    unheard = {  # name: (key in config files, environment variable, default, conversion)
        name: (None, None, default, conversion)
        for name, (_, _, default, conversion) in botocore.session.Session.SESSION_VARIABLES.items()
    }
    unheard |= dict.fromkeys(("config_file", "credentials_file"), (None, None, nothing, None))
    session = botocore.session.Session(session_vars=unheard)
    config = Config(
        signature_version=None if signer else UNSIGNED,
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        read_timeout=READ_TIMEOUT_SECONDS,
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=CONNECTIONS_KEPT,
        use_fips_endpoint=spec.use_fips,
        use_dualstack_endpoint=spec.use_dualstack,
        ignore_configured_endpoint_urls=True,
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
        verify=spec.ca_bundle or True,  # not None, which would listen to REQUESTS_CA_BUNDLE
        config=config,
    )


class StsData(botocore.loaders.Loader):  # type: ignore[misc]  # botocore has no types
    """botocore's own data and no other, such as in AWS_DATA_PATH or a home directory, which could redefine STS.

    Listing the services would look into some 400 directories, twice, for the name of the one that is wanted.
    """

    def __init__(self) -> None:
        super().__init__(extra_search_paths=[self.BUILTIN_DATA_PATH], include_default_search_paths=False)

    def list_available_services(self, type_name: str) -> list[str]:
        """Return the one service there is to call."""
        del type_name
        return ["sts"]
