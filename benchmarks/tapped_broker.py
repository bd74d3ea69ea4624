"""`sts-broker run` that prints when each generation was published and when the next refresh is due.

The interpreter of `.venv-runtime` runs it. Nothing of the broker is replaced: a hook runs after `Status.record`, and so
after the times that it prints. The time of a publication is the loop's own: after the last rename and the fsync of the
directory.
"""

import json
import os
import sys

from broker.cli import main
from broker.core.events import Event, Published
from broker.core.status import Status

_record = Status.record


def _record_and_print(self: Status, event: Event) -> None:
    _record(self, event)
    if isinstance(event, Published):
        times = {"published_at": event.at.now.timestamp(), "next_due_at": event.refresh_at.timestamp()}
        os.write(1, json.dumps(times).encode() + b"\n")


Status.record = _record_and_print  # type: ignore[method-assign]
sys.exit(main.main(["run"]))
