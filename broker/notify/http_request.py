"""Notify a program with an HTTP request to a loopback address.

Any 2xx answer counts. Redirects are not followed, no proxy is used, and the body of the answer is never logged.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from broker.core.model import Secret
from broker.files.regular_file import read_regular_file
from broker.net.http_messages import Failure, NoAnswer, Request
from broker.net.https_client import fetch
from broker.net.routes import Route
from broker.notify.faults import CannotNotify

if TYPE_CHECKING:
    from broker.core.notify_targets import HttpTarget

TRY_SECONDS: Final = 5.0
_MAXIMUM_BYTES: Final = 1024
"""Of the answer's body, which nobody reads."""
_MAXIMUM_BEARER_BYTES: Final = 16_384
_BEARER: Final = re.compile(r"[\x21-\x7e]+")
_UNAUTHORIZED: Final = (401, 403)
LISTEN_REMEDY: Final = "Set url to the port on which the app listens for it, on a loopback address, and start the app."


def send_request(target: HttpTarget) -> None:
    """Send the request. Raises CannotNotify."""
    headers = {}
    if target.bearer_file:
        headers["Authorization"] = f"Bearer {read_bearer(target.bearer_file).reveal()}"
    request = Request(
        url=target.url,
        method=target.method,
        headers=headers,
        body=None if target.method == "GET" else b"",
        maximum_bytes=_MAXIMUM_BYTES,
    )
    answer = fetch(request, Route(timeout_seconds=TRY_SECONDS, allows_http=True))
    if isinstance(answer, NoAnswer):
        message = f"{target.label} did not answer: {answer.found}."
        if answer.failure is Failure.CONNECTION:
            raise CannotNotify(message, LISTEN_REMEDY)
        raise CannotNotify(message, "Find out in the app's log why it does not complete an HTTP answer.")
    if answer.status in _UNAUTHORIZED:
        remedy = "Set bearer_file to a file with the token that the app expects."
        raise CannotNotify(f"{target.label} answered {answer.status}.", remedy)
    if not 200 <= answer.status < 300:  # noqa: PLR2004 - the statuses of success
        remedy = "Set url and method to those with which the app reloads. Redirects are not followed."
        raise CannotNotify(f"{target.label} answered {answer.status} to {target.method}.", remedy)


def read_bearer(path: str) -> Secret:
    """Return the token in the file. Raises CannotNotify."""
    try:
        text = read_regular_file(path, _MAXIMUM_BEARER_BYTES).decode(errors="replace").strip()
    except (OSError, ValueError) as error:
        problem = (error.strerror if isinstance(error, OSError) else "") or "not a path"
        remedy = "Mount the file into the broker's container, readable for its user."
        raise CannotNotify(f"Cannot read the bearer_file {path}: {problem}.", remedy) from None
    if not _BEARER.fullmatch(text):
        raise CannotNotify(
            f"The bearer_file {path} contains no token; expected one line of printable ASCII without spaces.",
            "Write the token that the app expects into it.",
        )
    return Secret(text)
