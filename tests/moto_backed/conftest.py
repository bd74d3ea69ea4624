"""One sandbox for all tests here (one in each worker), reset before each test, and an exchanger that calls it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from msgspec import Struct

from broker.core.clock import SystemClock
from broker.core.model import BoundToken, ProfileSpec, StsSpec, TemporaryCredentials
from broker.sts.exchange import StsExchanger
from broker.tokens.decoding import parse_token
from sandbox import Availability, Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.core.errors import ExchangeError


@pytest.fixture(scope="session")
def shared_box() -> Iterator[Sandbox]:
    timeout = timedelta(seconds=2)  # longer than a busy machine stalls
    with Sandbox(issuer="https://oidc.moto-backed.example/cluster", idp_timeout=timeout) as box:
        yield box


@pytest.fixture
def box(shared_box: Sandbox) -> Sandbox:
    shared_box.sts.clear_faults()
    shared_box.sts.clear_calls()
    shared_box.issuer.set_availability(Availability.REACHABLE)
    shared_box.register_provider(shared_box.issuer)
    return shared_box


@pytest.fixture(scope="session")
def role_arn(shared_box: Sandbox) -> str:
    """Make a role that trusts demo/app. Sandboxes in one process share the moto account, so its name is unique."""
    return shared_box.create_role("moto-backed-app")


class Scenario(Struct, frozen=True, kw_only=True):
    """The real exchanger, which calls the STS of the sandbox, and a profile for it."""

    box: Sandbox
    exchanger: StsExchanger
    profile: ProfileSpec

    def make_token(self, text: str = "") -> BoundToken:
        """Return a token as the token source returns it: from `text`, or a valid one by default."""
        return parse_token(text or self.box.issuer.mint(), origin="/token")

    def exchange(self, token: BoundToken | None = None, profile: ProfileSpec | None = None) -> TemporaryCredentials:
        """Exchange a token, by default a valid one, for a profile, by default that of the scenario."""
        return self.exchanger.exchange(profile or self.profile, token or self.make_token())

    def fail_exchange(
        self, kind: type[ExchangeError], token: BoundToken | None = None, profile: ProfileSpec | None = None
    ) -> ExchangeError:
        """Run an exchange that must fail with exactly this class of error. Return the error."""
        with pytest.raises(kind) as caught:
            self.exchange(token, profile)
        assert type(caught.value) is kind
        return caught.value


@pytest.fixture(scope="session")
def shared_exchanger(shared_box: Sandbox) -> StsExchanger:
    return StsExchanger(StsSpec(endpoint_url=shared_box.sts.url), SystemClock())


@pytest.fixture
def scenario(box: Sandbox, role_arn: str, shared_exchanger: StsExchanger) -> Scenario:
    profile = ProfileSpec(name="default", role_arn=role_arn, region=box.region, token_file="/token")
    return Scenario(box=box, exchanger=shared_exchanger, profile=profile)
