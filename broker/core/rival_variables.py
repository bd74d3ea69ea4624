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
KEY_VARIABLES: Final = (
    *ACCESS_KEY_ID_VARIABLES,
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SECRET_KEY",
    "AMAZON_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AMAZON_SESSION_TOKEN",
)
"""Access keys, secret keys and session tokens, with their old names."""
TOKEN_FILE: Final = "AWS_WEB_IDENTITY_TOKEN_FILE"  # noqa: S105 - a name
AUTHORIZATION_TOKEN: Final = "AWS_CONTAINER_AUTHORIZATION_TOKEN"  # noqa: S105 - a name
"""The SDKs for Java v2 and JavaScript v2 send this token to the endpoint instead of that in the broker's file."""
HIDING_VARIABLES: Final = (*KEY_VARIABLES, RELATIVE_URI, TOKEN_FILE, AUTHORIZATION_TOKEN)
"""Variables that hide the endpoint, or make it refuse the call, whatever their value is. An empty value does not."""
PROFILE_VARIABLES: Final = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE")
"""With a profile, SDKs read files. The second name is that of the C++ SDK, and of botocore if the first is absent."""
FILE_VARIABLES: Final = (
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CONFIG_FILE",
    "AWS_CREDENTIAL_PROFILES_FILE",
    "AWS_CREDENTIAL_FILE",
    "BOTO_CONFIG",
)
"""Name files that hide the endpoint if they configure credentials. Java v1 reads the third, botocore the last two."""
VARIABLES: Final = (
    *KEY_VARIABLES,
    "AWS_CREDENTIAL_EXPIRATION",
    TOKEN_FILE,
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    *PROFILE_VARIABLES,
    "AWS_CREDENTIAL_FILE",
    FULL_URI,
    RELATIVE_URI,
    AUTHORIZATION_TOKEN,
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
)
"""All variables that make an SDK use other credentials, or that accompany such a variable."""
