"""Read the log format when the settings as a whole cannot be used.

Configuration errors are written in the same format as the log lines. So the format is needed although loading the
settings failed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.core.errors import ConfigurationError
from broker.settings.variables import CONFIG_VARIABLE
from broker.settings.yaml_file import read_mapping

if TYPE_CHECKING:
    from collections.abc import Mapping

_VARIABLE = "BROKER_LOG_FORMAT"
_FORMATS = ("auto", "json", "console")
_DEFAULT = "auto"


def read_log_format(environ: Mapping[str, str]) -> str:
    """Return the log format: that of the environment, else that of the YAML file, else `auto`.

    A value that is not a log format, and a file that cannot be read, count as not set.
    """
    for text in (environ.get(_VARIABLE, "").strip(), _read_from_file(environ.get(CONFIG_VARIABLE, ""))):
        if text in _FORMATS:
            return text
    return _DEFAULT


def _read_from_file(path: str) -> str:
    try:
        section = read_mapping(path).get("log") if path else None
    except ConfigurationError:
        return ""
    return str(section.get("format", "")) if isinstance(section, dict) else ""
