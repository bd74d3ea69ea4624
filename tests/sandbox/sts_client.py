"""A client of the simulated STS: an unsigned botocore client without retries and parameter validation."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import botocore.config
import botocore.exceptions
import botocore.session
from botocore import UNSIGNED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox import Sandbox

SESSION = botocore.session.Session()  # one for all clients, because loading the service model is slow


@dataclass(slots=True)
class ShiftedClock:
    """The wall clock, shifted by `offset`."""

    offset: timedelta = timedelta(0)

    def now(self) -> datetime:
        """Return the current time."""
        return datetime.now(UTC) + self.offset


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """An error as the client sees it."""

    code: str
    message: str
    status: int


def unsigned_client(simulator: Sandbox, *, read_timeout_seconds: float = 5, endpoint: str | None = None) -> Any:  # noqa: ANN401 - botocore's clients have no static type
    config = botocore.config.Config(
        signature_version=UNSIGNED,
        retries={"total_max_attempts": 1},
        parameter_validation=False,
        read_timeout=read_timeout_seconds,
        proxies={},
    )
    return SESSION.create_client(
        "sts", region_name=simulator.region, endpoint_url=endpoint or simulator.sts.url, config=config
    )


@dataclass(frozen=True, slots=True)
class Exchanger:
    """Exchanges tokens of the simulator's issuer. Keyword arguments replace request parameters."""

    simulator: Sandbox
    client: Any = field(repr=False)

    def exchange(self, **parameters: object) -> dict[str, Any]:
        """Return the parsed response, or raise the exception of botocore."""
        request: dict[str, object] = {"RoleArn": self.simulator.role_arn, "RoleSessionName": "demo.app"}
        if "WebIdentityToken" not in parameters:
            request["WebIdentityToken"] = self.simulator.issuer.mint()
        response: dict[str, Any] = self.client.assume_role_with_web_identity(**{**request, **parameters})
        return response

    def refusal(self, **parameters: object) -> Refused:
        """Return the error of an exchange that must fail."""
        try:
            response = self.exchange(**parameters)
        except botocore.exceptions.ClientError as error:
            return refused(error)
        raise AssertionError(f"STS issued a session: {response['AssumedRoleUser']}")

    def keys(self, **parameters: object) -> dict[str, str]:
        """Exchange a token. Return the credentials as options for a boto3 client."""
        return keys_of(self.exchange(**parameters))


def keys_of(response: Mapping[str, Any]) -> dict[str, str]:
    """Return the credentials in a response as options for a boto3 client."""
    issued = response["Credentials"]
    return {
        "aws_access_key_id": issued["AccessKeyId"],
        "aws_secret_access_key": issued["SecretAccessKey"],
        "aws_session_token": issued["SessionToken"],
    }


def refused(error: botocore.exceptions.ClientError) -> Refused:
    response = error.response
    return Refused(
        code=response["Error"].get("Code", ""),
        message=response["Error"].get("Message", ""),
        status=response["ResponseMetadata"]["HTTPStatusCode"],
    )
