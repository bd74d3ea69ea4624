"""rclone: one `rclone rcd`, which lists a bucket on request over HTTP. Argument: the program."""

import http.client
import json
import re
import subprocess
import sys

from sdk_matrix.drivers.driving import ENDPOINT, REGION, drive

PROGRAM = sys.argv[1]
# The region is a setting of the remote: without one, rclone signs for us-east-1, whatever AWS_REGION is.
REMOTE = f":s3,provider=Other,env_auth=true,force_path_style=true,region={REGION},endpoint='{ENDPOINT}':bucket"

version = subprocess.run([PROGRAM, "version"], check=True, capture_output=True, text=True).stdout.split()[1]
daemon = subprocess.Popen(
    [PROGRAM, "rcd", "--rc-no-auth", "--rc-addr", "127.0.0.1:0", "--low-level-retries", "1", "--config", "/dev/null"],
    stdin=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
)
assert daemon.stderr is not None
address = next(found[1] for line in daemon.stderr if (found := re.search(r"http://(127\.0\.0\.1:\d+)/", line)))


def call() -> None:
    """List the bucket."""
    body = json.dumps({"fs": REMOTE, "remote": ""}).encode()
    connection = http.client.HTTPConnection(address, timeout=20)
    connection.request("POST", "/operations/list", body, {"Content-Type": "application/json"})
    status = connection.getresponse().status
    connection.close()
    if status != http.client.OK:
        raise http.client.HTTPException


drive(version.lstrip("v"), call)
daemon.terminate()
daemon.wait()
