"""Environment variables that make an AWS SDK use other credentials than the broker's.

One list serves `run`, `exec`, `inject` and `doctor`. This module holds names only: it reads no environment and no file.
"""

from __future__ import annotations

from typing import Final

FULL_URI: Final = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
RELATIVE_URI: Final = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
EKS_TOKEN_DIRECTORY: Final = "/var/run/secrets/eks.amazonaws.com/"  # noqa: S105 - a path
"""Where the EKS Pod Identity webhook mounts the token whose path it sets in AWS_WEB_IDENTITY_TOKEN_FILE."""
ACCESS_KEY_ID_VARIABLES: Final = ("AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY", "AMAZON_ACCESS_KEY_ID")
"""The SDKs for Go, Java v1 and Ruby also read the second name, those for JavaScript v2 and Ruby the third."""
VARIABLES: Final = (
    *ACCESS_KEY_ID_VARIABLES,
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SECRET_KEY",
    "AMAZON_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AMAZON_SESSION_TOKEN",
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_CREDENTIAL_FILE",
    FULL_URI,
    RELATIVE_URI,
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
)
"""All variables that make an SDK use other credentials, or that accompany such a variable."""
