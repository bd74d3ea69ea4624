"""s5cmd: one `s5cmd run`, which gets one command at a time. Argument: the program."""

import subprocess
import sys

from sdk_matrix.drivers.driving import ENDPOINT, drive

PROGRAM = sys.argv[1]

version = subprocess.run([PROGRAM, "version"], check=True, capture_output=True, text=True).stdout.split("-")[0]
running = subprocess.Popen(
    [PROGRAM, "--endpoint-url", ENDPOINT, "--retry-count", "0", "--numworkers", "1", "run"],
    stdin=subprocess.PIPE,
    stdout=subprocess.DEVNULL,
    text=True,
)


def call() -> None:
    """Send one command. The endpoint records whether it succeeds."""
    assert running.stdin is not None
    running.stdin.write("ls s3://bucket/\n")
    running.stdin.flush()


drive(version.lstrip("v"), call)
running.terminate()
running.wait()
