"""`sts-broker run` itself, telling on standard output when each generation was published and when the next one is due.

Run by the interpreter of `.venv-runtime`. Nothing of the broker is replaced: the tap stands behind `Status.record`,
and what it writes comes after the instant that it tells of. The instant of a publish is the loop's own: after the
last rename and the fsync of the directory.
"""

import json
import os
import sys

from broker.cli import main
from broker.core.events import Event, Published
from broker.core.status import Status

_record = Status.record


def _record_and_tell(self: Status, event: Event) -> None:
    _record(self, event)
    if isinstance(event, Published):
        told = {"published_at": event.at.now.timestamp(), "next_due_at": event.refresh_at.timestamp()}
        os.write(1, json.dumps(told).encode() + b"\n")


Status.record = _record_and_tell  # type: ignore[method-assign]
sys.exit(main.main(["run"]))
