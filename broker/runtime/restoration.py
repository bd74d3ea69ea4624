"""The start of `run` with what an earlier start has published and is still valid."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from broker.runtime import logs

if TYPE_CHECKING:
    from collections.abc import Collection

    from broker.core.refresher import Refresher
    from broker.publish.file_sink import FileSink


def restore_published(sink: FileSink, refresher: Refresher) -> Collection[str]:
    """Give the main loop the published credentials that it can continue with. Log why others are not used.

    Return the profiles of the others.
    """
    restoration = sink.restore()
    for profile, problem in restoration.skipped.items():
        level = logging.INFO if problem.is_expected else logging.WARNING
        message = f"Did not restore published credentials: {problem}. The broker requests new ones."
        logs.log_message(level, "restore_skipped", message, profile=profile)
    refresher.restore(restoration.generations, restoration.incomplete)
    return restoration.skipped.keys()
