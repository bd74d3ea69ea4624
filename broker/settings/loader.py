"""Load the settings: environment and YAML file in, `Configuration` or all faults at once out.

Rules: the standard AWS variables come before `BROKER_…`; unknown `BROKER_…` variables and unknown YAML keys are faults;
the environment takes precedence over the top of the file, and never over a profile's own keys. `run`, `once` and `exec`
import this module, and pydantic with it, in a child process only (see `loader_process`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from broker.core import chains
from broker.core.errors import ConfigurationError
from broker.settings.configuration import build_configuration, build_profiles, build_token_request
from broker.settings.fault_lines import describe_faults, describe_foreign_roles, describe_unknown_variables
from broker.settings.schema import Settings
from broker.settings.sources import EnvironmentSource, YamlSource
from broker.settings.variables import CONFIG_VARIABLE
from broker.settings.yaml_file import read_mapping

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.core.model import Configuration
    from broker.settings.sources import Place


def load(environ: Mapping[str, str]) -> Configuration:
    """Return the configuration that the environment, and the YAML file named by BROKER_CONFIG, describe.

    Raises ConfigurationError with a line for each fault.
    """
    faults = list(describe_unknown_variables(environ))
    path = environ.get(CONFIG_VARIABLE, "")
    document = _read_document(path, faults)
    environment = EnvironmentSource(Settings, environ)
    settings, rejected = _validate(environment, YamlSource(Settings, document or {}), path, faults)
    if settings is None or document is None:
        raise ConfigurationError(tuple(faults))
    if not {"sts", "endpoint_url"} & rejected:
        faults += describe_foreign_roles(settings, environment.names, path)
    profiles = build_profiles(settings, rejected, faults)
    faults += chains.find_faults(profiles)
    is_requested = settings.token_source == "token-request"  # noqa: S105 - a kind of source
    token_request = build_token_request(environ, faults) if is_requested else None
    if faults:
        raise ConfigurationError(tuple(faults))
    return build_configuration(settings, profiles, token_request, environ)


def _read_document(path: str, faults: list[str]) -> dict[str, Any] | None:
    """Return the content of the YAML file. Adds to `faults`, and returns None, if it cannot be read."""
    try:
        return read_mapping(path) if path else {}
    except ConfigurationError as error:
        faults += error.faults
        return None


def _validate(
    environment: EnvironmentSource, file: YamlSource, path: str, faults: list[str]
) -> tuple[Settings | None, frozenset[str]]:
    """Return the valid settings, and the keys of the values that were rejected. Adds to `faults`.

    Validation is repeated without the rejected values, so that the checks that follow find the remaining faults. The
    settings are None if leaving values out does not make them valid.
    """
    environment.yield_malformed_sections(file())
    rejected: set[Place] = set()
    while True:
        try:
            settings = Settings(environment=environment, file=file)
        except ValidationError as error:
            places = {fault["loc"] for fault in error.errors()}
            if places & rejected:  # required and therefore missing now, such as the name of a profile
                return None, frozenset()
            faults += describe_faults(error, environment.names, path)
            left_out = [environment.leave_out(place) | file.leave_out(place) for place in places]
            if not all(left_out):
                return None, frozenset()
            rejected |= places
        else:
            return settings, frozenset(str(place[-1]) for place in rejected)
