"""One sandbox for all of these tests (one in each worker), put in order before each, and the broker's door to it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from broker.core.clock import SystemClock
from broker.core.model import BoundToken, ProfileSpec, StsSpec, TemporaryCredentials
from broker.sts.exchange import StsExchanger
from broker.tokens.token_file import parse_token
from sandbox import Availability, Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.core.errors import ExchangeError


@pytest.fixture(scope="session")
def shared_box() -> Iterator[Sandbox]:
    timeout = timedelta(seconds=2)  # a stall of a busy machine is shorter
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
    """Make a role that trusts demo/app; other sandboxes in this process share moto's account, but not this name."""
    return shared_box.create_role("moto-backed-app")


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """The real exchanger at the sandbox's STS, and a profile to send through it."""

    box: Sandbox
    exchanger: StsExchanger
    profile: ProfileSpec

    def token(self, text: str = "") -> BoundToken:
        """Return a token as the token source hands it on; without a text, a good one."""
        return parse_token(text or self.box.issuer.mint(), origin="/token")

    def exchange(self, token: BoundToken | None = None, profile: ProfileSpec | None = None) -> TemporaryCredentials:
        """Exchange a token, by default a good one for the profile's role."""
        return self.exchanger.exchange(profile or self.profile, token or self.token())

    def refusal(
        self, kind: type[ExchangeError], token: BoundToken | None = None, profile: ProfileSpec | None = None
    ) -> ExchangeError:
        """Return the fault of an exchange that has to fail in exactly this way."""
        with pytest.raises(kind) as caught:
            self.exchange(token, profile)
        assert type(caught.value) is kind
        return caught.value


@pytest.fixture(scope="session")
def shared_exchanger(shared_box: Sandbox) -> StsExchanger:
    return StsExchanger(StsSpec(endpoint_url=shared_box.sts.url), SystemClock())


@pytest.fixture
def door(box: Sandbox, role_arn: str, shared_exchanger: StsExchanger) -> Door:
    profile = ProfileSpec(name="default", role_arn=role_arn, region=box.region, token_file="/token")
    return Door(box=box, exchanger=shared_exchanger, profile=profile)
