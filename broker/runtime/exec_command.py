"""The verb `exec`: run a command with credentials that stay fresh for as long as it runs.

The main loop and the credentials endpoint are those of `run`, in this process. The files go into a private directory
that is removed at the end. The command starts once the first credentials of its profile are published. Its environment
names the endpoint and lacks rival credential sources (`rival_credentials`). From then on signals go to the command, its
exit code is that of `exec`, and a refresh that fails is only logged.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from functools import cached_property
from typing import TYPE_CHECKING

from broker.core.clock import SystemClock
from broker.core.errors import ConfigurationError
from broker.core.events import Published
from broker.core.first_publication import Awaited
from broker.core.model import ENDPOINT_TOKEN_FILE, SERVICE_LINK
from broker.core.records import Struct, replace
from broker.core.refresher import Stop
from broker.core.rival_variables import FULL_URI, VARIABLES
from broker.core.schedule import RefreshPolicy
from broker.core.status import Status
from broker.loop.event_loop import Inbox
from broker.publish.file_sink import FileSink
from broker.publish.formats import environment_variables
from broker.runtime import daemon, listeners, logs
from broker.runtime.command_refresh import CommandRefresh
from broker.runtime.private_directory import private_directory
from broker.runtime.process_supervisor import FORWARDED, Child, CommandUnusable
from broker.runtime.rival_credentials import find_rival_files
from broker.runtime.termination_message import TerminationMessage
from broker.serving.credentials_endpoint import PATH, CredentialsApplication, ServedCredentials, generate_token
from broker.worker.process_hardening import use_core_limits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from broker.core.events import Event
    from broker.core.model import Configuration, ProfileSpec, TemporaryCredentials
    from broker.core.refresher import Message
    from broker.runtime.start import ResidentProcess

_MEMORY_BACKED = "/dev/shm"  # noqa: S108 - only a private directory is made there


class CommandSpec(Struct, frozen=True, kw_only=True):
    """The command line of `exec`.

    `command` is the command and its arguments, `profile` the name of the profile ("" for the default profile),
    `timeout` the longest wait for the first credentials. `with_keys` adds the access keys themselves to the command's
    environment. `on_refresh` is what happens to the command after a refresh, as in `CommandRefresh`.
    """

    command: Sequence[str]
    profile: str
    timeout: timedelta
    with_keys: bool
    on_refresh: str = ""


def execute(process: ResidentProcess, spec: CommandSpec) -> int:
    """Run the command. Return its exit code, or 128 + N if signal N ended it.

    Return 2 to 5, 70, 126 or 127 if the command was not started. Raises ConfigurationError, and PublishError if no
    directory for the files can be made.
    """
    inbox: Inbox[Message] = Inbox(process.loop)
    ignored = {number for number in FORWARDED if signal.getsignal(number) is signal.SIG_IGN}  # for example by nohup
    child = Child(
        lambda: inbox.put(Stop()),
        on_stop=process.loop.wake,
        on_other_end=process.workers.children.record_end,
        ignored=ignored,
    )
    process.workers.children.reap = lambda: None  # `child` waits for all
    threading.Thread(target=child.handle_signals, name="signals", daemon=True).start()
    configuration = process.settings.wait()
    profile = _choose_profile(configuration, spec.profile)
    with private_directory((configuration.publish.directory, _MEMORY_BACKED)) as directory:
        # The command runs as this user, so no other user needs the files.
        publish = replace(configuration.publish, directory=directory, mode=0o600, group=None)
        configuration = replace(configuration, publish=publish, endpoint_port=0)
        daemon.start_log(configuration, process.hardening.warnings)
        if profile.notify:
            message = "notify is set but not used: exec notifies its own command only. Use --on-refresh."
            logs.log_message(logging.WARNING, "warning", message, profile=profile.name)
        daemon.warn_about_web_identity_tokens(configuration)
        job = _Job(process=process, spec=spec, configuration=configuration, profile=profile)
        return _serve(job, child, inbox)


class _Job(Struct, frozen=True, kw_only=True):
    """One run of `exec`: its process, command line, settings, and the profile it uses."""

    process: ResidentProcess
    spec: CommandSpec
    configuration: Configuration
    profile: ProfileSpec


class _LatestCredentials:
    """The newest published credentials of one profile, collected from the events of the main loop."""

    def __init__(self, profile: str) -> None:
        self._profile = profile
        self.credentials: TemporaryCredentials | None = None

    def record(self, event: Event) -> None:
        """Take the credentials from the event if it published some for this profile."""
        if isinstance(event, Published) and event.generation.profile == self._profile:
            self.credentials = event.generation.credentials


class _CommandStart:
    """Starts the command, and starts it again. `url` is the endpoint's base URL."""

    def __init__(
        self, job: _Job, child: Child, url: str, latest: _LatestCredentials, message: TerminationMessage
    ) -> None:
        self._job = job
        self._child = child
        self._url = url
        self._latest = latest
        self._message = message

    @cached_property
    def _environment(self) -> dict[str, str]:
        """The command's environment without keys. Making it logs what it lacks, once."""
        return _build_environment(self._job, self._url)

    def start(self) -> int | None:
        """Start the command. Return the exit code if that is impossible, which is logged."""
        process, spec, credentials = self._job.process, self._job.spec, self._latest.credentials
        keys = environment_variables(credentials) if spec.with_keys and credentials is not None else {}
        try:
            with use_core_limits(process.hardening.core_limits):
                self._child.start(spec.command, {**self._environment, **keys}, process.mask)
        except CommandUnusable as error:
            logs.log_message(logging.ERROR, "stopping", str(error))
            self._message.record_text(str(error))
            return error.exit_code
        return None


def _serve(job: _Job, child: Child, inbox: Inbox[Message]) -> int:
    """Run the main loop and the endpoint until the command has ended. Return the exit code."""
    process, configuration = job.process, job.configuration
    clock, status, latest = SystemClock(), Status(configuration.profiles), _LatestCredentials(job.profile.name)
    policy = replace(RefreshPolicy(), minimum_interval=configuration.minimum_interval)
    awaited = Awaited(began=clock.read().monotonic, timeout=job.spec.timeout, policy=policy, name=job.profile.name)
    token, served = generate_token(), ServedCredentials()
    sink = FileSink(configuration.publish, configuration.profiles, clock, token)
    application = CredentialsApplication(
        configuration=configuration, token=token, served=served, take_snapshot=status.snapshot, clock=clock
    )
    listener = listeners.open_credentials_listener(configuration, application, process.loop)
    sink.prepare()
    listener.start()
    message = TerminationMessage(configuration.termination_message_path, status.snapshot)
    start = _CommandStart(job, child, listeners.format_url(listener), latest, message)
    command = CommandRefresh(
        child, process.loop, profile=job.profile.name, reaction=job.spec.on_refresh, start=start.start
    )
    recorders = (status.record, served.record, latest.record, message.record, command.record)
    starting_policy = replace(policy, nap=daemon.DEADLINE_CHECK_INTERVAL)
    refresher = daemon.build_refresher(process, configuration, recorders, sink, inbox, starting_policy)
    try:
        code = daemon.run_until_published(refresher, awaited, status, clock, message)
        if child.exit_code is not None:
            return child.exit_code
        if code != os.EX_OK:
            return code
        refresher.policy = policy
        exit_code = command.start()
        if exit_code is not None:
            return exit_code
        # It ends with the command. After a bug in the main loop, the command continues, and is served.
        daemon.run_loop(refresher.run, message)
        process.workers.serve_until(lambda: child.exit_code is not None)
        return child.wait()
    finally:
        listener.close()


def _build_environment(job: _Job, url: str) -> dict[str, str]:
    """Return the command's environment. `url` is the endpoint's base URL."""
    kept = {
        name: value
        for name, value in job.process.environ.items()
        if name  # a process can receive a variable without a name, but cannot pass it on
        and name not in VARIABLES
        and (not name.startswith("BROKER_") or SERVICE_LINK.fullmatch(name))
    }
    for file in find_rival_files(job.process.environ):
        kept[file.variable] = os.devnull
        message = (
            f"{file.path} configures credentials ({file.key} in section [{file.section}]), which SDKs would use before "
            f"the broker's endpoint. The command runs with {file.variable}={os.devnull} instead. Remove {file.key} "
            "from the file if the command needs its other keys."
        )
        logs.log_message(logging.WARNING, "warning", message, credential_source=file.variable)
    directory, region = job.configuration.publish.directory, job.profile.region
    return {
        **kept,
        FULL_URI: f"{url}{PATH}/{job.profile.name}",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": f"{directory}/{ENDPOINT_TOKEN_FILE}",
        "BROKER_PUBLISH_DIRECTORY": directory,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
    }


def _choose_profile(configuration: Configuration, name: str) -> ProfileSpec:
    """Return the profile with that name, or the default profile for "". Raises ConfigurationError."""
    by_name = {profile.name: profile for profile in configuration.profiles}
    wanted = name or configuration.default_profile
    if wanted in by_name:
        return by_name[wanted]
    remedy = f"Set --profile to one of: {', '.join(by_name)}."
    if not name:
        raise ConfigurationError((f"--profile is not set, and no profile is named default. {remedy}",))
    from broker.core.spelling import suggest  # noqa: PLC0415 - loads difflib, for this error only

    raise ConfigurationError((f"--profile: no profile is named {name}{suggest(name, by_name)}. {remedy}",))
