"""Variables that change what libraries do with secrets: which are reported, and that every one was judged."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from broker.core.library_variables import REMOVED, explain_library_variables

LIBRARIES = (
    *("botocore", "certifi", "dateutil", "httptools", "jmespath", "jwt", "prometheus_client", "pydantic"),
    *("pydantic_settings", "ssl", "tenacity", "urllib3", "yaml"),
)
"""What the sidecar imports, and the standard library's module for TLS."""
JUDGED = {
    **REMOVED,
    "BOTO_DISABLE_CRT": "turns off an optional package",
    "BOTO_EXPERIMENTAL__ADD_PROXY_HOST_HEADER": "adds a header without secrets to requests to a proxy",
    "BOTO_EXPERIMENTAL__NO_EMPTY_CONTINUE": "removes a header from uploads",
    "FOO": "an example in a docstring",
    "PROMETHEUS_DISABLE_CREATED_SERIES": "changes names of metrics of kinds that the broker does not use",
    "PROMETHEUS_LEGACY_NAME_VALIDATION": "as before",
    "PROMETHEUS_MULTIPROC_DIR": "is read for metrics of kinds that the broker does not use",
    "PYDANTIC_DISABLE_PLUGINS": "is set by the broker: no plugin is loaded",
    "PYDANTIC_PRIVATE_ALLOW_UNHANDLED_SCHEMA_TYPES": "is about JSON schemas, which the broker does not generate",
    "REQUESTS_CA_BUNDLE": "is never reached, because the broker passes `verify` to botocore",
    "SPHINX_BUILD": "changes annotations only",
    "TZ": "names the local time zone",
    "_X_AMZN_TRACE_ID": "adds a header without secrets",
    "prometheus_multiproc_dir": "the former name of PROMETHEUS_MULTIPROC_DIR",
}
"""Each variable that a library reads by a literal name, and why it is removed or why it is harmless."""
READ = re.compile(
    r"""(?:(?:os|self)\._?environ(?:\.get)?|getenv)\s*[(\[]\s*['"](\w+)['"]"""
    r"""|['"](\w+)['"] (?:not )?in os\.environ"""
)
IGNORED = re.compile(r"AWS_.*")
"""Variables of AWS: those that name credentials or an endpoint have no effect on the broker, as other tests show."""
UNUSED = re.compile(r"/(docs|django|v1|twisted|aiohttp|bridge)/")
"""Directories of libraries that the broker does not import."""


def find_variables(library: str) -> set[str]:
    """Return the names of the variables that a library reads."""
    spec = importlib.util.find_spec(library)
    assert spec is not None
    assert spec.origin is not None
    files = Path(spec.origin).parent.rglob("*.py") if spec.submodule_search_locations else [Path(spec.origin)]
    texts = [file.read_text(encoding="utf-8") for file in files if not UNUSED.search(str(file))]
    return {first or second for text in texts for first, second in READ.findall(text)}


def test_every_variable_that_a_library_reads_was_judged() -> None:
    found = set[str]().union(*map(find_variables, LIBRARIES))
    assert {name for name in found if not IGNORED.fullmatch(name)} - set(JUDGED) == set()


@pytest.mark.parametrize("name", REMOVED)
def test_every_removed_variable_is_still_read_by_a_library(name: str) -> None:
    assert any(name in find_variables(library) for library in LIBRARIES)


@pytest.mark.parametrize("name", REMOVED)
@pytest.mark.parametrize("is_read", [True, False])
def test_removed_variable_is_reported_as_ignored(name: str, *, is_read: bool) -> None:
    ((found, remedy),) = explain_library_variables({name: "x", "HOME": "/"}, is_read_by_python=is_read)
    assert found.startswith(f"{name} is set, but the broker ignores it: ")
    assert remedy == f"Remove {name} from the broker's container."


@pytest.mark.parametrize(
    "name",
    ["PYTHONPATH", "PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONHASHSEED", "PYTHONMALLOC", "PYTHONWARNINGS", "PYTHONHOME"],
)
def test_variable_of_python_is_reported_unless_python_ignores_it(name: str) -> None:
    environ = {name: "x", "PYTHONDEVMODE": "1"}
    ((found, remedy),) = explain_library_variables(environ, is_read_by_python=True)
    assert f"runs the broker: {', '.join(sorted(environ))}." in found
    assert "python -I -m broker" in remedy
    assert list(explain_library_variables(environ, is_read_by_python=False)) == []


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"SSLKEYLOGFILE": "", "PYTHONPATH": ""},
        {"PYTHONUNBUFFERED": "1", "PYTHONSAFEPATH": "1", "PYTHONNOUSERSITE": "1"},
        {"PYTHON_VERSION": "3.13.1", "PYTHON_SERVICE_HOST": "10.0.0.1"},
        {"SSL_CERT_FILE": "/etc/ssl/ca.pem", "OPENSSL_CONF": "/etc/ssl/fips.cnf", "HTTPS_PROXY": "http://proxy"},
    ],
)
def test_other_variables_are_not_reported(environ: dict[str, str]) -> None:
    assert list(explain_library_variables(environ, is_read_by_python=True)) == []
