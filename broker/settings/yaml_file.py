"""Reads the YAML settings file strictly: a mapping, safe types, no key twice, and no aliases, which can multiply."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broker.core.errors import ConfigurationError

if TYPE_CHECKING:
    import yaml

MAXIMUM_FILE_LENGTH = 1_000_000


def read_mapping(path: str) -> dict[str, Any]:
    """Return the file's mapping, empty where the file is. Raises ConfigurationError."""
    import yaml  # noqa: PLC0415 - 10 ms that a broker without a file need not spend

    class Loader(yaml.SafeLoader):
        """SafeLoader lets the last of two equal keys win in silence, and expands aliases; here both are faults."""

        def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
            if self.check_event(yaml.AliasEvent):
                event = self.get_event()  # type: ignore[no-untyped-call]
                told = "an alias (*) is not taken: write the value out"
                raise yaml.composer.ComposerError(None, None, told, event.start_mark)
            return super().compose_node(parent, index)

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            twice = sorted({key for key in keys if keys.count(key) > 1})
            if twice:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {', '.join(twice)} stands there twice", node.start_mark
                )
            return super().construct_mapping(node, deep)

    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - one way to read in this package
            text = file.read(MAXIMUM_FILE_LENGTH + 1)
        if len(text) > MAXIMUM_FILE_LENGTH:
            raise ConfigurationError((f"BROKER_CONFIG: {path}: over {MAXIMUM_FILE_LENGTH:,} characters",))
        document = yaml.load(text, Loader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise ConfigurationError((f"BROKER_CONFIG: {path}: {error.strerror}",)) from None
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:
        # All but the first come from the constructors of plain types, which meet `2026-13-45` and `!!bool maybe`.
        raise ConfigurationError((f"BROKER_CONFIG: {path}: {_told(error)}",)) from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigurationError((f"BROKER_CONFIG: {path}: expected a mapping of settings, such as `profiles:`",))
    return {str(key): value for key, value in document.items()}


def _told(error: Exception) -> str:
    """Return what is wrong and where, without quoting the file's text."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
    return f"{where}{problem or 'no valid YAML'}"
