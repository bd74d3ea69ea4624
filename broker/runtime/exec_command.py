"""`sts-broker exec`: runs a command with credentials that are kept fresh for as long as it runs.

The loop and the credentials endpoint are those of `run`, in this process; the files go into a directory of their own
that is gone at the end. The command is started when its profile's first generation is published, and learns of the
endpoint from its environment, from which is taken what would hide the endpoint from SDKs (`hiding`). After that it is
the command that decides: signals are its own, so is the exit code, and a refresh that fails is told and no more.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import TYPE_CHECKING

from broker.core.clock import SystemClock
from broker.core.errors import ConfigurationError
from broker.core.events import Published
from broker.core.first_publication import Awaited
from broker.core.model import ENDPOINT_TOKEN_FILE, SERVICE_LINK
from broker.core.refresher import Stop
from broker.core.rival_variables import FULL_URI, VARIABLES
from broker.core.schedule import RefreshPolicy
from broker.core.status import Status
from broker.publish.file_sink import FileSink
from broker.publish.formats import environment_variables
from broker.runtime import daemon, logs
from broker.runtime.private_directory import private_directory
from broker.runtime.process_supervisor import FORWARDED, TAKEN, Child, CommandUnusable
from broker.runtime.rival_credentials import rival_files
from broker.serving.credentials_endpoint import PATH, CredentialsApplication, Shelf, new_token
from broker.settings.loader_process import load_configuration

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import timedelta

    from broker.core.events import Event
    from broker.core.model import Configuration, ProfileSpec, TemporaryCredentials
    from broker.core.refresher import Message

_MEMORY_BACKED = "/dev/shm"  # noqa: S108 - a directory of our own is made in it


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSpec:
    """What to run: the command and its arguments, with which profile ("": the default one).

    `timeout` is how long to wait for the first credentials; `with_keys`: the keys themselves go into the environment.
    """

    command: Sequence[str]
    profile: str
    timeout: timedelta
    with_keys: bool


def execute(environ: Mapping[str, str], spec: CommandSpec) -> int:
    """Run the command. Return its status, 128 + N for a signal N, or why it was not run: 2 to 5, 70, 126, 127.

    Raises ConfigurationError, and PublishError where there is no place for the files.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, TAKEN)  # first, for every thread to come
    configuration = load_configuration(environ)
    profile = _chosen(configuration, spec.profile)
    inbox: SimpleQueue[Message] = SimpleQueue()
    ignored = {number for number in FORWARDED if signal.getsignal(number) is signal.SIG_IGN}  # by nohup, for one
    child = Child(lambda: inbox.put(Stop()), ignored=ignored)
    threading.Thread(target=child.obey, name="signals", daemon=True).start()
    with private_directory((configuration.publish.directory, _MEMORY_BACKED)) as directory:
        # The command is of this user: nobody else has a use for the files.
        publish = replace(configuration.publish, directory=directory, mode=0o600, group=None)
        configuration = replace(configuration, publish=publish, endpoint_port=0)
        daemon.begin_log(configuration)
        return _serve(
            _Job(environ=environ, spec=spec, configuration=configuration, profile=profile), child, inbox, mask
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """What was asked for, resolved."""

    environ: Mapping[str, str]
    spec: CommandSpec
    configuration: Configuration
    profile: ProfileSpec


class _Latest:
    """Remembers the profile's newest published credentials."""

    def __init__(self, profile: str) -> None:
        self._profile = profile
        self.credentials: TemporaryCredentials | None = None

    def record(self, event: Event) -> None:
        """Take in what happened."""
        if isinstance(event, Published) and event.generation.profile == self._profile:
            self.credentials = event.generation.credentials


def _serve(job: _Job, child: Child, inbox: SimpleQueue[Message], mask: Collection[int]) -> int:
    """Run the loop and the endpoint around the command. Return the exit code."""
    configuration = job.configuration
    clock, status, latest = SystemClock(), Status(configuration.profiles), _Latest(job.profile.name)
    policy = replace(RefreshPolicy(), minimum_interval=configuration.minimum_interval)
    awaited = Awaited(began=clock.read().monotonic, timeout=job.spec.timeout, policy=policy, name=job.profile.name)
    token, shelf = new_token(), Shelf()
    sink = FileSink(configuration.publish, configuration.profiles, clock, token)
    application = CredentialsApplication(
        configuration=configuration, token=token, shelf=shelf, take=status.snapshot, clock=clock
    )
    listener = daemon.credentials_listener(configuration, application)
    sink.prepare()
    listener.start()
    recorders = (status.record, shelf.record, latest.record)
    impatient = replace(policy, nap=daemon.IMPATIENT_NAP)
    refresher = daemon.build_refresher(configuration, recorders, sink, clock, inbox, impatient)
    try:
        code = daemon.run_until_published(refresher, awaited, status, clock)
        if child.exit_code is not None:
            return child.exit_code
        if code != os.EX_OK:
            return code
        refresher.policy = policy
        environment = _environment(job, daemon.url_of(listener), latest.credentials if job.spec.with_keys else None)
        try:
            child.start(job.spec.command, environment, mask)
        except CommandUnusable as error:
            logs.say(logging.ERROR, "stopping", str(error))
            return error.exit_code
        daemon.turn_until(refresher.run)  # until the command has ended; a bug is logged, and the command goes on
        return child.wait()
    finally:
        listener.close()


def _environment(job: _Job, url: str, credentials: TemporaryCredentials | None) -> dict[str, str]:
    """Return the command's environment; `credentials` are those to put into it, if any."""
    kept = {
        name: value
        for name, value in job.environ.items()
        if name  # a program can be given what nobody can give on
        and name not in VARIABLES
        and (not name.startswith("BROKER_") or SERVICE_LINK.fullmatch(name))
        and not (name == "LC_CTYPE" and _is_of_python(name))
    }
    for file in rival_files(job.environ):
        kept[file.variable] = os.devnull
        message = f"[{file.section}] of {file.path} has {file.key}: the command does not see that file."
        logs.say(logging.WARNING, "warning", message, name=file.variable)
    directory, region = job.configuration.publish.directory, job.profile.region
    return {
        **kept,
        FULL_URI: f"{url}{PATH}/{job.profile.name}",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": f"{directory}/{ENDPOINT_TOKEN_FILE}",
        "BROKER_PUBLISH_DIRECTORY": directory,
        **(environment_variables(credentials) if credentials is not None else {}),
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
    }


def _is_of_python(name: str) -> bool:
    """Return whether Python itself set the variable at its start, as it does LC_CTYPE in the C locale (PEP 538)."""
    try:
        with open("/proc/self/environ", "rb") as file:  # noqa: PTH123 - what exec was given, never changed since
            return not any(entry.startswith(f"{name}=".encode()) for entry in file.read().split(b"\0"))
    except OSError:
        return False


def _chosen(configuration: Configuration, name: str) -> ProfileSpec:
    """Return the profile of that name, or the default one. Raises ConfigurationError."""
    by_name = {profile.name: profile for profile in configuration.profiles}
    wanted = name or configuration.default_profile
    if wanted in by_name:
        return by_name[wanted]
    known = ", ".join(by_name)
    if name:
        raise ConfigurationError((f"--profile: no profile is named {name}; there are {known}",))
    raise ConfigurationError((f"--profile: say which, for none is named default; there are {known}",))
