"""Values on the socket between the resident process and a worker: a length, then the value, pickled.

Secrets and errors have no public pickle form, so this module gives them one. What is read may only name the values of
the broker and the dates of the standard library: a worker that was taken over through a bug in TLS or XML cannot make
the resident process run code (https://docs.python.org/3/library/pickle.html#restricting-globals).
"""

from __future__ import annotations

import datetime as dt
import io
import pickle
from importlib import import_module
from typing import TYPE_CHECKING, Any

from broker.core import errors, model
from broker.core.model import Secret
from broker.core.records import Struct, asdict
from broker.worker import jobs

if TYPE_CHECKING:
    from collections.abc import Iterator

MAXIMUM_FRAME_BYTES = 16 * 1024 * 1024
"""The most that one value may take. 1,000 profiles with the longest session policies take a quarter of it."""
READ_BYTES = 65_536
"""How much either side reads at once."""
_LENGTH_BYTES = 4
_DATES = frozenset({"datetime", "timedelta", "timezone"})
_MODULES = frozenset(
    {
        model.__name__,
        jobs.__name__,
        "broker.core.notify_targets",
        "broker.core.session_sizes",
        "broker.core.web_identity_spec",
        "broker.core.web_identity_token",
    }
)
"""The modules of the broker's values. Some of them are imported when the first such value arrives."""
_SECRET, _ERROR, _VALUE = "secret", "error", "value"


class ForeignValueError(Exception):
    """The other side sent something that is not a value of the broker."""


def encode(value: object) -> bytes:
    """Return the value as one frame."""
    buffer = io.BytesIO()
    _Pickler(buffer, pickle.HIGHEST_PROTOCOL).dump(value)
    content = buffer.getvalue()
    return len(content).to_bytes(_LENGTH_BYTES, "big") + content


class Frames:
    """Turns bytes, as they arrive, into values."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def receive(self, data: bytes) -> Iterator[Any]:
        """Yield the values that are complete with these bytes. Raises ForeignValueError."""
        self._buffer += data
        while len(self._buffer) >= _LENGTH_BYTES:
            length = int.from_bytes(self._buffer[:_LENGTH_BYTES], "big")
            if length > MAXIMUM_FRAME_BYTES:
                raise ForeignValueError(f"a value of {length:,} bytes")
            end = _LENGTH_BYTES + length
            if len(self._buffer) < end:
                return
            content = bytes(self._buffer[_LENGTH_BYTES:end])
            del self._buffer[:end]
            yield _decode(content)


def _decode(content: bytes) -> Any:  # noqa: ANN401 - any value of the broker
    try:
        return _Unpickler(io.BytesIO(content)).load()
    except ForeignValueError:
        raise
    except Exception as error:  # noqa: BLE001 - pickle raises what it likes; its text may quote a secret
        raise ForeignValueError(type(error).__name__) from None


class _Pickler(pickle.Pickler):
    def persistent_id(self, value: object) -> tuple[object, ...] | None:
        """Return what a secret or an error consists of; None for other values, which have a pickle form."""
        if type(value) is Secret:
            return _SECRET, value.reveal()
        if isinstance(value, errors.BrokerError):
            return _ERROR, type(value).__name__, str(value), vars(value)
        if isinstance(value, Struct):
            return _VALUE, type(value).__module__, type(value).__name__, asdict(value)
        return None


class _Unpickler(pickle.Unpickler):
    def persistent_load(self, parts: Any) -> object:  # noqa: ANN401 - of pickle.Unpickler
        """Return the secret or the error that consists of these parts. Raises ForeignValueError."""
        match parts:
            case (str(kind), str(text)) if kind == _SECRET:
                return Secret(text)
            case (str(kind), str(name), str(text), dict(attributes)) if kind == _ERROR:
                return _make_error(name, text, attributes)
            case (str(kind), str(module_name), str(name), dict(attributes)) if kind == _VALUE:
                return _find_class(module_name, name)(**attributes)
        raise ForeignValueError("an unknown kind of value")

    def find_class(self, module_name: str, name: str) -> Any:  # noqa: ANN401 - of pickle.Unpickler
        """Return a class of dates. Raises ForeignValueError for all others."""
        if module_name == dt.__name__ and name in _DATES:
            return getattr(dt, name)
        raise ForeignValueError(f"{module_name}.{name}")


def _make_error(name: str, text: str, attributes: dict[str, Any]) -> errors.BrokerError:
    """Return the error without calling its constructor, which has other arguments in each class."""
    kind = getattr(errors, name, None)
    if not (isinstance(kind, type) and issubclass(kind, errors.BrokerError)):
        raise ForeignValueError(f"{errors.__name__}.{name}")
    error = kind.__new__(kind)
    Exception.__init__(error, text)
    vars(error).update(attributes)
    return error


def _find_class(module_name: str, name: str) -> type[Struct]:
    """Return the class of a value. It never gets onto the unpickler's stack, where a pickle could change it."""
    found = getattr(import_module(module_name), name, None) if module_name in _MODULES else None
    if isinstance(found, type) and found.__module__ == module_name and issubclass(found, Struct):
        return found
    raise ForeignValueError(f"{module_name}.{name}")
