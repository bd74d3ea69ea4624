"""Asks the sandbox's STS as a client does: an unsigned botocore client, no retries, nothing checked before sending."""

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

SESSION = botocore.session.Session()  # one for all clients: it loads the service model once


@dataclass(slots=True)
class ShiftedClock:
    """The wall clock, moved by `offset`."""

    offset: timedelta = timedelta(0)

    def now(self) -> datetime:
        """Read the clock."""
        return datetime.now(UTC) + self.offset


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The client's view of an error."""

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
class Asker:
    """Exchanges tokens of the simulator's issuer; keyword arguments replace request parameters."""

    simulator: Sandbox
    client: Any = field(repr=False)

    def exchange(self, **parameters: object) -> dict[str, Any]:
        """Give the parsed answer, or raise what botocore raises."""
        request: dict[str, object] = {"RoleArn": self.simulator.role_arn, "RoleSessionName": "demo.app"}
        if "WebIdentityToken" not in parameters:
            request["WebIdentityToken"] = self.simulator.issuer.mint()
        answer: dict[str, Any] = self.client.assume_role_with_web_identity(**{**request, **parameters})
        return answer

    def refusal(self, **parameters: object) -> Refused:
        """Give the error of an exchange that has to fail."""
        try:
            answer = self.exchange(**parameters)
        except botocore.exceptions.ClientError as error:
            return refused(error)
        raise AssertionError(f"STS said yes: {answer['AssumedRoleUser']}")

    def keys(self, **parameters: object) -> dict[str, str]:
        """Give the issued credentials as options for a boto3 client."""
        return keys_of(self.exchange(**parameters))


def keys_of(answer: Mapping[str, Any]) -> dict[str, str]:
    """Give the credentials of an answer as options for a boto3 client."""
    issued = answer["Credentials"]
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
