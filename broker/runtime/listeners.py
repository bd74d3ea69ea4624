"""The two listeners of the broker: how many clients each holds, and what to change if a socket cannot be opened."""

from __future__ import annotations

import errno
import logging
import os
import resource
from typing import TYPE_CHECKING

from broker.core.errors import ConfigurationError
from broker.runtime import logs
from broker.serving.listener import Listener, open_socket

if TYPE_CHECKING:
    import socket

    from broker.core.model import Configuration
    from broker.loop.event_loop import EventLoop
    from broker.serving.http_messages import Application, Recorder

_MAXIMUM_READERS = 512
"""Connections to the credentials endpoint: enough for 200 processes of the app that ask at once."""
_MAXIMUM_PROBES = 16
"""Connections to the health listener: the kubelet, Prometheus, and people."""
_RESERVED_FILES = 24
"""File descriptors that the broker keeps for itself: standard streams, loop, workers, published files."""
_ROLES_ANYWHERE_PORT = 9911


def open_health_listener(configuration: Configuration, application: Application, loop: EventLoop) -> Listener:
    """Return the health listener with its socket open. Raises ConfigurationError."""
    address = (configuration.health_host, configuration.health_port)
    listening = _open_socket("health.address (BROKER_HEALTH_ADDRESS)", *address)
    return Listener(application, listening, loop, name="health", connections=_MAXIMUM_PROBES)


def open_credentials_listener(
    configuration: Configuration, application: Application, loop: EventLoop, record: Recorder | None = None
) -> Listener:
    """Return the listener of the credentials endpoint with its socket open. `record` gets each response.

    Raises ConfigurationError.
    """
    address = (configuration.endpoint_host, configuration.endpoint_port)
    listening = _open_socket("endpoint.address (BROKER_ENDPOINT_ADDRESS)", *address)
    return Listener(application, listening, loop, name="credentials", connections=count_readers(), record=record)


def count_readers() -> int:
    """Return how many clients of the endpoint the process has file descriptors for."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return _MAXIMUM_READERS
    return max(1, min(_MAXIMUM_READERS, allowed - _RESERVED_FILES - _MAXIMUM_PROBES))


def start(listener: Listener) -> None:
    """Begin to answer, and log it."""
    listener.start()
    host, port = listener.address
    logs.log_message(logging.INFO, "listening", "Started a listener.", listener=listener.name, host=host, port=port)


def format_url(listener: Listener) -> str:
    """Return the base URL of a listener, `http://HOST:PORT`."""
    host, port = listener.address
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _open_socket(setting: str, host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises ConfigurationError, which names `setting` as the one to change."""
    try:
        return open_socket(host, port)
    except OSError as error:
        raise ConfigurationError((f"{setting}: {_explain_socket_error(host, port, error)}",)) from None


def _explain_socket_error(host: str, port: int, error: OSError) -> str:
    found = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or "no such address"
    text = f"cannot listen on {host or '*'}:{port}: {found}."
    if error.errno != errno.EADDRINUSE:
        return f"{text} Set an address of this pod, and a port of 1024 or above."
    if port == _ROLES_ANYWHERE_PORT:
        text += " The credential helper of IAM Roles Anywhere uses 9911 by default, too."
    return f"{text} Another process in the pod uses this port. Set a different port."
