"""Read the YAML settings file strictly.

It must be a mapping of plain types. Duplicate keys are rejected, and so are aliases, because a few nested ones can
expand to gigabytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broker.core.errors import ConfigurationError
from broker.files.regular_file import read_regular_file
from broker.settings.variables import CONFIG_VARIABLE

if TYPE_CHECKING:
    import yaml

MAXIMUM_FILE_BYTES = 1_000_000


def read_mapping(path: str) -> dict[str, Any]:
    """Return the mapping in the file, or an empty one if the file is empty. Raises ConfigurationError."""
    import yaml  # noqa: PLC0415 - 10 ms of CPU that a broker without a file does not need

    class Loader(yaml.SafeLoader):
        """A SafeLoader that rejects duplicate keys and aliases, which SafeLoader itself accepts."""

        def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
            if self.check_event(yaml.AliasEvent):
                event = self.get_event()  # type: ignore[no-untyped-call]
                problem = "aliases (*) are not supported; write the value out"
                raise yaml.composer.ComposerError(None, None, problem, event.start_mark)
            return super().compose_node(parent, index)

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            duplicates = sorted({key for key in keys if keys.count(key) > 1})
            if duplicates:
                problem = f"duplicate key {', '.join(duplicates)}; keep one of them"
                raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
            return super().construct_mapping(node, deep)

    try:
        content = read_regular_file(path, MAXIMUM_FILE_BYTES + 1)
        if len(content) > MAXIMUM_FILE_BYTES:
            raise _fault(path, f"has more than {MAXIMUM_FILE_BYTES:,} bytes; make it smaller")
        document = yaml.load(content.decode("utf-8"), Loader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise _fault(path, f"cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:
        # All but YAMLError come from the constructors of plain types, for values such as `2026-13-45`.
        raise _fault(path, _describe_yaml_error(error)) from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise _fault(path, "expected a mapping of settings, such as `profiles:`")
    return {str(key): value for key, value in document.items()}


def _fault(path: str, problem: str) -> ConfigurationError:
    return ConfigurationError((f"{CONFIG_VARIABLE}: {path}: {problem}",))


def _describe_yaml_error(error: Exception) -> str:
    """Return what is wrong, and at which line and column, without quoting the file's text."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    position = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
    return f"{position}{problem or 'not valid YAML'}"
