"""How many answers the credentials endpoint has given, by profile and status code.

An answer counts for the profile that the request's path names, whether or not the client may have its credentials.
Answers to all other requests, and to those that cannot be read, count for no profile, "". The number of counters is
therefore bounded by the settings and by the status codes in the code.
"""

from __future__ import annotations

from collections import defaultdict
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from broker.serving.http_messages import Response

NO_PROFILE = ""
_USUAL = (HTTPStatus.OK, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.SERVICE_UNAVAILABLE)
_USUAL_FOR_NO_PROFILE = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,
)


class AnswerCounts:
    """The counters. Only the thread of the event loop may use them.

    The usual ones begin at 0: Prometheus then sees the first answer as an increase, and a profile that nobody asks
    for as 0.
    """

    def __init__(self, profiles: Iterable[str]) -> None:
        self._counts: defaultdict[tuple[str, int], int] = defaultdict(int)
        self._counts |= {(profile, code): 0 for profile in profiles for code in _USUAL}
        self._counts |= {(NO_PROFILE, code): 0 for code in _USUAL_FOR_NO_PROFILE}

    @property
    def counts(self) -> Mapping[tuple[str, int], int]:
        """The number of answers by profile and status code, which later answers change."""
        return self._counts

    def record(self, response: Response) -> None:
        """Count one answer."""
        self._counts[response.profile, response.status] += 1
