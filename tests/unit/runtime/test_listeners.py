"""The two listeners of the broker: how a socket that cannot be opened is reported, and how many clients they hold."""

from __future__ import annotations

import errno
import resource
from typing import TYPE_CHECKING

import pytest

from broker.core.errors import ConfigurationError
from broker.core.model import Configuration
from broker.loop.event_loop import EventLoop
from broker.runtime import listeners
from broker.serving.listener import open_socket
from tests.support.fakes import make_profile

if TYPE_CHECKING:
    from broker.serving.http_messages import Request, Response


def refuse(_: Request) -> Response:
    raise AssertionError


def test_port_that_is_often_taken_is_reported_with_its_usual_owner() -> None:
    text = listeners._explain_socket_error("127.0.0.1", 9911, OSError(errno.EADDRINUSE, "in use"))
    assert "The credential helper of IAM Roles Anywhere uses 9911 by default, too. Another process" in text


def test_port_in_use_is_reported_by_the_name_of_its_setting() -> None:
    with open_socket("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        configuration = Configuration(
            profiles=(make_profile(),), health_host="127.0.0.1", health_port=port, endpoint_port=port
        )
        faults: list[str] = []
        for listen in (listeners.open_health_listener, listeners.open_credentials_listener):
            with pytest.raises(ConfigurationError) as caught:
                listen(configuration, refuse, EventLoop())
            faults += caught.value.faults
    assert "Roles Anywhere" not in "".join(faults)
    found = f"cannot listen on 127.0.0.1:{port}: Address already in use."
    remedy = "Another process in the pod uses this port. Set a different port."
    assert faults == [
        f"health.address (BROKER_HEALTH_ADDRESS): {found} {remedy}",
        f"endpoint.address (BROKER_ENDPOINT_ADDRESS): {found} {remedy}",
    ]


@pytest.mark.parametrize(
    ("files", "readers"), [(resource.RLIM_INFINITY, 512), (1_048_576, 512), (256, 216), (64, 24), (30, 1)]
)
def test_readers_are_limited_by_the_file_descriptors_that_the_process_may_open(
    monkeypatch: pytest.MonkeyPatch, files: int, readers: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    assert listeners.count_readers() == readers
