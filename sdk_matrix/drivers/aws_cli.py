"""AWS CLI: one `aws s3api wait`, which requests a missing bucket every 5 s. Argument: the program."""

import subprocess
import sys

from sdk_matrix.drivers.driving import ENDPOINT, is_over, report

PROGRAM = sys.argv[1]
_POLL_SECONDS = 0.5

version = subprocess.run([PROGRAM, "--version"], check=True, capture_output=True, text=True).stdout
report("version", version.split()[0].partition("/")[2])
waiting = subprocess.Popen(
    [PROGRAM, "--endpoint-url", ENDPOINT, "s3api", "wait", "bucket-exists", "--bucket", "bucket"],
    stdin=subprocess.DEVNULL,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
)
while not is_over(_POLL_SECONDS):
    if waiting.poll() is not None and waiting.stderr and not waiting.stderr.closed:
        with waiting.stderr as errors:
            reached_limit = "Max attempts exceeded" in errors.read()
        report("done" if reached_limit else f"failed with {waiting.returncode}")
waiting.terminate()
waiting.wait()
