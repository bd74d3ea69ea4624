"""What the broker is held against: what one would write by hand. One client, one exchange, one file.

Run by the interpreter of `.venv-runtime`; arguments: token file, role, endpoint, file to write. It then sleeps, so that
its memory can be read and its CPU counted up to the file and no further. Typing and style as the rest, imports as few
as one would have.
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
    answer = client.assume_role_with_web_identity(RoleArn=role_arn, RoleSessionName="bare", WebIdentityToken=token)
    credentials = answer["Credentials"]
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
