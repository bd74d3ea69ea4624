"""s5cmd: one `s5cmd run`, given a command a time. Argument: the program."""

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
    """Hand over one command; whether it went well is for the endpoint to see."""
    assert running.stdin is not None
    running.stdin.write("ls s3://bucket/\n")
    running.stdin.flush()


drive(version.lstrip("v"), call)
running.terminate()
running.wait()
