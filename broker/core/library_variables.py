"""Environment variables, other than settings, that change what Python or a library does with secrets.

A debug variable that a pod gets for its app also reaches the broker's container. `REMOVED` lists those that are removed
from the broker's process before a library reads them. Python's own variables have taken effect before the broker's
first line runs, so they are only reported. The launcher of the images prevents them with `-I`.

Other variables of the libraries are kept, because operators need them: `SSL_CERT_FILE` and `SSL_CERT_DIR` (trusted
certificates), `OPENSSL_CONF` and `OPENSSL_MODULES` (a FIPS provider), and the proxies. This module holds names and
messages only: it reads no environment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

REMOVED: Final[Mapping[str, str]] = {
    "BOTOCORE_EXPERIMENTAL__PLUGINS": "it makes botocore run other code with the token and the credentials",
    "SSLKEYLOGFILE": "it makes TLS libraries write the keys of their connections to a file",
}
"""Variables that the broker's process must not have, and what each one does."""
HARMLESS_PYTHON_VARIABLES: Final = frozenset(
    {
        "PYTHONCOERCECLOCALE",
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONFAULTHANDLER",
        "PYTHONIOENCODING",
        "PYTHONNODEBUGRANGES",
        "PYTHONNOUSERSITE",
        "PYTHONSAFEPATH",
        "PYTHONUNBUFFERED",
        "PYTHONUTF8",
    }
)
"""Variables with which Python neither runs other code, nor writes more output, nor needs more memory."""


def explain_library_variables(environ: Mapping[str, str], *, is_read_by_python: bool) -> Iterator[tuple[str, str]]:
    """Yield what was found and what to change, for the variables in `environ` that this module is about.

    `is_read_by_python` is whether this interpreter reads the variables that begin with PYTHON. With `-I` or `-E` it
    does not.
    """
    for name, effect in REMOVED.items():
        if environ.get(name):
            yield f"{name} is set, but the broker ignores it: {effect}.", f"Remove {name} from the broker's container."
    names = sorted(name for name, value in environ.items() if value and _changes_python(name))
    if names and is_read_by_python:
        yield (
            f"The environment changes how Python runs the broker: {', '.join(names)}.",
            "Remove these variables from the broker's container, or let Python ignore them: python -I -m broker.",
        )


def _changes_python(name: str) -> bool:
    """Return whether Python reads this variable, and it is not harmless.

    With an underscore, the name is hardly Python's: images set PYTHON_VERSION, and Kubernetes PYTHON_SERVICE_HOST.
    """
    return name.startswith("PYTHON") and "_" not in name and name not in HARMLESS_PYTHON_VARIABLES
