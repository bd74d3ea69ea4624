"""The environment variables, and the setting that each one sets.

This module is apart from the schema so that it can be read without importing pydantic.
"""

from __future__ import annotations

from broker.core.records import Struct


class Variable(Struct, frozen=True, kw_only=True):
    """An environment variable, and the keys that lead to its setting in the YAML file."""

    name: str
    path: tuple[str, ...]


ENVIRONMENT = tuple(
    Variable(name=name, path=tuple(path.split(".")))
    for name, path in {
        "AWS_ROLE_ARN": "role_arn",
        "AWS_WEB_IDENTITY_TOKEN_FILE": "web_identity_token_file",
        "AWS_ROLE_SESSION_NAME": "role_session_name",
        "AWS_REGION": "region",
        "AWS_DEFAULT_REGION": "region",
        "AWS_ENDPOINT_URL_STS": "sts.endpoint_url",
        "AWS_USE_FIPS_ENDPOINT": "sts.use_fips_endpoint",
        "AWS_USE_DUALSTACK_ENDPOINT": "sts.use_dualstack_endpoint",
        "AWS_CA_BUNDLE": "sts.ca_bundle",
        "BROKER_AUDIENCE": "audience",
        "BROKER_TOKEN_SOURCE": "token_source",
        "BROKER_DURATION_SECONDS": "duration_seconds",
        "BROKER_SESSION_POLICY": "session_policy",
        "BROKER_SESSION_POLICY_FILE": "session_policy_file",
        "BROKER_POLICY_ARNS": "policy_arns",
        "BROKER_WEB_IDENTITY_TOKEN_AUDIENCE": "web_identity_token.audience",
        "BROKER_WEB_IDENTITY_TOKEN_DURATION_SECONDS": "web_identity_token.duration_seconds",
        "BROKER_WEB_IDENTITY_TOKEN_SIGNING_ALGORITHM": "web_identity_token.signing_algorithm",
        "BROKER_PUBLISH_DIRECTORY": "publish.directory",
        "BROKER_PUBLISH_MODE": "publish.mode",
        "BROKER_PUBLISH_GROUP": "publish.group",
        "BROKER_PUBLISH_ENV": "publish.env",
        "BROKER_PUBLISH_PROCESS_COMMAND": "publish.process_command",
        "BROKER_ENDPOINT_ADDRESS": "endpoint.address",
        "BROKER_MINIMUM_INTERVAL_SECONDS": "minimum_interval_seconds",
        "BROKER_HEALTH_ADDRESS": "health.address",
        "BROKER_LOG_FORMAT": "log.format",
        "BROKER_LOG_LEVEL": "log.level",
        "BROKER_TERMINATION_MESSAGE_PATH": "termination_message_path",
    }.items()
)
"""All variables except `BROKER_CONFIG`. Of two that set the same setting, the first one takes precedence."""
CONFIG_VARIABLE = "BROKER_CONFIG"
"""The variable with the path of the YAML file."""
