"""The two sources of settings: environment variables and the YAML file.

Both are pydantic-settings sources that hold their values as nested dictionaries in the shape of `Settings`. They return
unknown keys too, so that validation reports them. A rejected value can be left out, so that the next validation finds
the remaining faults.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from broker.settings.variables import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic.fields import FieldInfo

Place = tuple[int | str, ...]
"""The keys that lead to a setting, from the top: `("publish", "mode")`, or `("profiles", 0, "name")`."""


class _NestedSource(PydanticBaseSettingsSource):
    """A source whose values have been read."""

    def __init__(self, settings_cls: type[BaseSettings], values: dict[str, Any]) -> None:
        super().__init__(settings_cls)
        self._values = values

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 - the interface
        """Return the value of a top-level setting (None if it is not set), its key, and that it needs no decoding."""
        return self._values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return all values of this source."""
        return self._values

    def leave_out(self, place: Place) -> bool:
        """Remove the value at `place`. Return whether there was one."""
        *parents, key = place
        values: Any = self._values
        try:
            for parent in parents:
                values = values[parent]
        except (LookupError, TypeError):
            return False
        if not isinstance(values, dict) or key not in values:
            return False
        del values[key]
        return True


class EnvironmentSource(_NestedSource):
    """The environment variables of `ENVIRONMENT`. An empty variable counts as not set, as it does for the AWS SDKs.

    `names` maps the place of each setting to the variable that it came from.
    """

    def __init__(self, settings_cls: type[BaseSettings], environ: Mapping[str, str]) -> None:
        values: dict[str, Any] = {}
        self.names: dict[Place, str] = {}
        for variable in ENVIRONMENT:
            value = environ.get(variable.name, "").strip()
            if not value or variable.path in self.names:
                continue
            self.names[variable.path] = variable.name
            section = values
            for key in variable.path[:-1]:
                section = section.setdefault(key, {})
            section[variable.path[-1]] = value
        super().__init__(settings_cls, values)

    def yield_malformed_sections(self, document: Mapping[str, Any]) -> None:
        """Leave out the sections that `document` has as anything but a mapping, so that this fault is reported."""
        for key, value in document.items():
            if isinstance(self._values.get(key), dict) and not isinstance(value, dict):
                del self._values[key]


class YamlSource(_NestedSource):
    """The YAML file, already parsed."""
