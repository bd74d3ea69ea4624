"""Notify one program about new credentials. It takes 5 s at most, except if a volume with a file hangs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from broker.core.notify_targets import HttpTarget, NotifyFailure
from broker.notify.faults import CannotNotify

if TYPE_CHECKING:
    from broker.core.notify_targets import NotifyTarget


def notify(target: NotifyTarget) -> NotifyFailure | None:
    """Notify the program, from a worker. Return None, or why it could not be notified."""
    try:
        if isinstance(target, HttpTarget):
            from broker.notify.http_request import send_request  # noqa: PLC0415 - ssl, only where it is needed

            send_request(target)
        else:
            from broker.notify.process_signal import send_signal  # noqa: PLC0415 - likewise

            send_signal(target, own=(os.getpid(), os.getppid()))
    except CannotNotify as error:
        return NotifyFailure(message=error.message, remedy=error.remedy)
    return None
