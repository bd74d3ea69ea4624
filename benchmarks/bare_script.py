"""The reference for the broker: a script that a user would write. One client, one exchange, one file.

The interpreter of `.venv-pip` runs it. Arguments: token file, role, endpoint, file to write. At the end it sleeps, so
that its memory can be read and its CPU time has only the work up to the file.
"""

import json
import os
import sys
import time

import botocore.session
from botocore import UNSIGNED
from botocore.config import Config


def main() -> None:
    """Exchange the token once and write credential_process JSON."""
    token_file, role_arn, endpoint, target = sys.argv[1:]
    session = botocore.session.Session()
    session.set_config_variable("sts_regional_endpoints", "regional")
    config = Config(signature_version=UNSIGNED)
    client = session.create_client("sts", region_name="eu-west-1", endpoint_url=endpoint, config=config)
    with open(token_file) as file:  # noqa: PTH123 - a bare script would
        token = file.read()
    response = client.assume_role_with_web_identity(RoleArn=role_arn, RoleSessionName="bare", WebIdentityToken=token)
    credentials = response["Credentials"]
    document = {
        "Version": 1,
        "AccessKeyId": credentials["AccessKeyId"],
        "SecretAccessKey": credentials["SecretAccessKey"],
        "SessionToken": credentials["SessionToken"],
        "Expiration": credentials["Expiration"].isoformat(),
    }
    with open(target + ".new", "w") as file:  # noqa: PTH123 - as above
        json.dump(document, file)
    os.rename(target + ".new", target)  # noqa: PTH104 - as above
    time.sleep(60)


main()
