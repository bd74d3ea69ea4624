"""AWS CLI: one `aws s3api wait`, which asks every 5 s for a bucket that never comes. Argument: the program."""

import subprocess
import sys

from sdk_matrix.drivers.driving import ENDPOINT, is_over, say

PROGRAM = sys.argv[1]
_LOOK_SECONDS = 0.5

shown = subprocess.run([PROGRAM, "--version"], check=True, capture_output=True, text=True).stdout
say("version", shown.split()[0].partition("/")[2])
waiting = subprocess.Popen(
    [PROGRAM, "--endpoint-url", ENDPOINT, "s3api", "wait", "bucket-exists", "--bucket", "bucket"],
    stdin=subprocess.DEVNULL,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
)
while not is_over(_LOOK_SECONDS):
    if waiting.poll() is not None and waiting.stderr and not waiting.stderr.closed:
        with waiting.stderr as errors:
            is_patience_over = "Max attempts exceeded" in errors.read()
        say("done" if is_patience_over else f"failed with {waiting.returncode}")
waiting.terminate()
waiting.wait()
