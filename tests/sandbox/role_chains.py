"""Calls AssumeRole of the simulated STS with a session's keys, without retries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import botocore.config
import botocore.exceptions

from tests.sandbox.sts_client import Refused, refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox import Sandbox

HERE, THERE = "123456789012", "210987654321"
SOURCE = f"arn:aws:iam::{HERE}:role/source"
SESSION = f"arn:aws:sts::{HERE}:assumed-role/source/demo.app"


def assume(
    simulator: Sandbox, keys: Mapping[str, str], role_arn: str, *, read_timeout_seconds: float = 5, **parameters: object
) -> dict[str, Any]:
    """Return the parsed response, or raise the exception of botocore. Parameters are not validated before the call."""
    config = botocore.config.Config(
        proxies={},
        retries={"total_max_attempts": 1},
        parameter_validation=False,
        read_timeout=read_timeout_seconds,
    )
    client = simulator.boto3_client("sts", endpoint_url=simulator.sts.url, config=config, **keys)
    try:
        response: dict[str, Any] = client.assume_role(RoleArn=role_arn, **{"RoleSessionName": "hop", **parameters})
    finally:
        client.close()
    return response


def refusal(simulator: Sandbox, keys: Mapping[str, str], role_arn: str, **parameters: Any) -> Refused:  # noqa: ANN401 - the API's
    """Return the error of a call that must fail."""
    try:
        response = assume(simulator, keys, role_arn, **parameters)
    except botocore.exceptions.ClientError as error:
        return refused(error)
    raise AssertionError(f"STS issued a session: {response['AssumedRoleUser']}")


def denied(role_arn: str, action: str = "sts:AssumeRole", caller: str = SESSION) -> Refused:
    """Return the AccessDenied error that AWS gives for an action on a role."""
    message = f"User: {caller} is not authorized to perform: {action} on resource: {role_arn}"
    return Refused(code="AccessDenied", message=message, status=403)


def tags(**pairs: str) -> list[dict[str, str]]:
    """Return session tags in the format of the API."""
    return [{"Key": key, "Value": value} for key, value in pairs.items()]
