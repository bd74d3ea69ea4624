"""Read single settings when the settings as a whole cannot be used.

Configuration errors are written in the same format as the log lines, and to the container's termination message. So the
log format and the path are needed although loading the settings failed. A value that is not valid, and a file that
cannot be read, count as not set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.core.errors import ConfigurationError
from broker.core.model import DEFAULT_TERMINATION_MESSAGE_PATH
from broker.settings.variables import CONFIG_VARIABLE
from broker.settings.yaml_file import read_mapping

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_LOG_FORMAT_VARIABLE = "BROKER_LOG_FORMAT"
_TERMINATION_MESSAGE_VARIABLE = "BROKER_TERMINATION_MESSAGE_PATH"
_FORMATS = ("auto", "json", "console")
_DEFAULT = "auto"


def read_log_format(environ: Mapping[str, str]) -> str:
    """Return the log format: that of the environment, else that of the YAML file, else `auto`."""
    section = _read_file(environ).get("log")
    in_file = section.get("format") if isinstance(section, dict) else None
    for text in (environ.get(_LOG_FORMAT_VARIABLE, "").strip(), in_file):
        if text in _FORMATS:
            return str(text)
    return _DEFAULT


def read_termination_message_path(environ: Mapping[str, str]) -> str:
    """Return the path of the termination message: that of the environment, else of the YAML file, else the default."""
    in_file = _read_file(environ).get("termination_message_path")
    for text in (environ.get(_TERMINATION_MESSAGE_VARIABLE, "").strip(), in_file):
        if isinstance(text, str) and text.startswith("/"):
            return text
    return DEFAULT_TERMINATION_MESSAGE_PATH


def _read_file(environ: Mapping[str, str]) -> dict[str, Any]:
    path = environ.get(CONFIG_VARIABLE, "")
    try:
        return read_mapping(path) if path else {}
    except ConfigurationError:
        return {}
