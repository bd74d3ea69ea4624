"""The program with tokens of CI systems, SPIRE, GKE and AKS in a file: once, run, exec, token and trust.

GitHub's tokens live for 5 minutes and their sessions for an hour. Here both last for seconds.
"""

from __future__ import annotations

import json
import sys
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sandbox import Issuer
from tests.support.issuer_tokens import SPIRE, TOKENS, IssuedToken, github_claims, svid_claims_without_issuer
from tests.support.program import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sandbox import Sandbox, StsServer
    from tests.process.pod import Pod
    from tests.support.program import Program

pytestmark = pytest.mark.process
by_name = pytest.mark.parametrize("issued", TOKENS, ids=lambda one: one.name)
GITHUB_JOB = TOKENS[0]
READER = """
import json, os, sys, time, urllib.error, urllib.request
with open(os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"]) as file:
    headers = {"Authorization": file.read()}
request = urllib.request.Request(os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"], headers=headers)
while not os.path.exists(sys.argv[1]):
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            print(answer.status, json.load(answer)["AccessKeyId"], flush=True)
    except urllib.error.HTTPError as error:
        print(error.code, json.load(error).get("code", ""), flush=True)
    time.sleep(0.1)
"""
"""A command that reads its credentials again and again until a file appears."""


class Job:
    """A token file that is written as a CI job or spiffe-helper writes it."""

    def __init__(self, pod: Pod, issuer: Issuer, issued: IssuedToken) -> None:
        self._pod = pod
        self._issuer = issuer
        self._issued = issued
        self.file = pod.root / "job" / "token"
        self.file.parent.mkdir()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def write(self, claims: dict[str, Any] | None = None) -> str:
        """Replace the file by one with a new token, and return the token."""
        token = self._issuer.sign(self._issued.claims(datetime.now(UTC)) if claims is None else claims)
        self._pod.tokens.append(token)
        new = self.file.with_suffix(".new")
        new.write_text(token)
        new.replace(self.file)
        return token

    def write_brief(self, seconds: float) -> None:
        """Replace the file by one with a token of GitHub that lives for these seconds."""
        self.write(github_claims(datetime.now(UTC), lifetime=timedelta(seconds=seconds)))

    def keep_fresh(self, seconds: float) -> None:
        """Renew the token every second, each to live for these seconds, until `stop`."""

        def renew() -> None:
            while not self._end.wait(1):
                self.write_brief(seconds)

        self._thread = threading.Thread(target=renew)
        self._thread.start()

    def stop(self) -> None:
        """Renew the token no more."""
        self._end.set()
        if self._thread is not None:
            self._thread.join()


@pytest.fixture
def new_job(box: Sandbox) -> Iterator[Callable[[Pod, IssuedToken], tuple[Job, dict[str, Any]]]]:
    """Return a function that gives a pod a token of another issuer, and a role with a rendered policy.

    The function returns the job and the variables that name the file and the role.
    """
    stops: list[Callable[[], object]] = []

    def make(pod: Pod, issued: IssuedToken) -> tuple[Job, dict[str, Any]]:
        issuer = Issuer(issuer=issued.issuer)
        arn = box.register_provider(issuer)
        job = Job(pod, issuer, issued)
        stops.extend(
            (job.stop, issuer.stop, lambda: box.iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn))
        )
        rendered = pod.run("trust", "render", "--account", box.account_id, *issued.options)
        assert rendered.code == 0, rendered.err
        role = box.create_role(f"process-{issued.name}", trust_policy=json.loads(rendered.out))
        return job, {"AWS_WEB_IDENTITY_TOKEN_FILE": str(job.file), "AWS_ROLE_ARN": role}

    yield make
    for stop in stops:
        stop()


@by_name
def test_once_publishes_credentials_of_a_session_that_names_the_workload(
    issued: IssuedToken, pod: Pod, new_job: Callable[[Pod, IssuedToken], tuple[Job, dict[str, Any]]]
) -> None:
    job, variables = new_job(pod, issued)
    job.write()
    ended = pod.run("once", **variables)
    assert ended.code == 0, ended.err
    (refreshed,) = [line for line in ended.lines if line["event"] == "refreshed"]
    assert refreshed["assumed_role_arn"].endswith(f"/process-{issued.name}/{issued.session}")
    assert {line["level"] for line in ended.lines} == {"info"}


@by_name
def test_token_shows_it_as_fit(
    issued: IssuedToken, pod: Pod, new_job: Callable[[Pod, IssuedToken], tuple[Job, dict[str, Any]]]
) -> None:
    job, variables = new_job(pod, issued)
    job.write()
    ended = pod.run("token", "--json", **variables)
    document = json.loads(ended.out)
    assert (ended.code, document["fit"], document["session_name"]) == (0, True, issued.session)
    assert (document["rotation_in_seconds"] is None) is (not document["pod"])


def test_run_follows_a_token_file_that_a_job_renews(
    brief_sts: Callable[[float], StsServer],
    new_pod: Callable[[StsServer], Pod],
    new_job: Callable[[Pod, IssuedToken], tuple[Job, dict[str, Any]]],
) -> None:
    pod = new_pod(brief_sts(6))
    job, variables = new_job(pod, GITHUB_JOB)
    job.write_brief(5)
    program = pod.start(**variables)
    job.keep_fresh(5)
    program.wait_for("refreshed", count=3, within=30)
    assert program.get("/readyz").status == 200
    assert program.lines("token_unfit") == program.lines("exchange_failed") == []


def start_reader(pod: Pod, done: Path, variables: dict[str, Any]) -> Program:
    """Start `exec` with the reader, and wait for its first answer."""
    pod.published.mkdir()
    program = pod.start("exec", "--", sys.executable, "-c", READER, str(done), **variables)
    eventually(lambda: read_answers(program), within=30, what="the reader's first answer")
    return program


def read_answers(program: Program) -> list[tuple[str, str]]:
    """Return the status and the key or the reason of each answer that the reader got."""
    lines = [line.split() for line in program.output().splitlines() if line[:4] in ("200 ", "503 ")]
    return [(line[0], line[1]) for line in lines if len(line) == 2]


def list_keys(program: Program) -> list[str]:
    """Return the access key IDs that the reader got, each once."""
    return list(dict.fromkeys(key for status, key in read_answers(program) if status == "200"))


class TestExec:
    """A command that runs for longer than one session."""

    def test_renewed_token_keeps_the_command_supplied_for_three_generations(
        self,
        brief_sts: Callable[[float], StsServer],
        new_pod: Callable[[StsServer], Pod],
        new_job: Callable[[Pod, IssuedToken], tuple[Job, dict[str, Any]]],
    ) -> None:
        pod = new_pod(brief_sts(6))
        job, variables = new_job(pod, GITHUB_JOB)
        job.write_brief(5)
        job.keep_fresh(5)
        done = pod.root / "done"
        program = start_reader(pod, done, variables)
        eventually(lambda: len(list_keys(program)) >= 3, within=30, what="three generations")
        done.touch()
        assert program.wait() == 0
        assert {status for status, _ in read_answers(program)} == {"200"}
        assert program.lines("token_unfit") == program.lines("exchange_failed") == []
        fingerprints = [line["token_fingerprint"] for line in program.lines("refreshed")]
        assert len(set(fingerprints)) >= 3

    def test_token_that_nobody_renews_is_reported_while_the_command_goes_on(
        self,
        brief_sts: Callable[[float], StsServer],
        new_pod: Callable[[StsServer], Pod],
        new_job: Callable[[Pod, IssuedToken], tuple[Job, dict[str, Any]]],
    ) -> None:
        pod = new_pod(brief_sts(8))
        job, variables = new_job(pod, GITHUB_JOB)
        job.write_brief(5)
        job.keep_fresh(5)  # until the first credentials are there, however slow the machine is
        done = pod.root / "done"
        program = start_reader(pod, done, variables)
        job.stop()
        unfit = program.wait_for("token_unfit", reason="token_expired", within=30)
        assert f"The token of {GITHUB_JOB.issuer} in {job.file} expired at " in unfit["message"]
        assert "request a new one from ACTIONS_ID_TOKEN_REQUEST_URL" in unfit["message"]
        assert "kubelet" not in unfit["message"]
        key = list_keys(program)[-1]
        count = len(read_answers(program))
        eventually(lambda: len(read_answers(program)) >= count + 3, what="further answers")
        assert read_answers(program)[count] == ("200", key)  # the last credentials are served until they expire
        eventually(lambda: read_answers(program)[-1][0] == "503", within=30, what="expired credentials")
        assert program.is_running
        job.write()
        eventually(lambda: list_keys(program)[-1] != key, within=30, what="credentials for the new token")
        assert program.is_running
        done.touch()
        assert program.wait() == 0


def test_svid_without_an_issuer_is_refused_with_the_setting_of_spire(pod: Pod) -> None:
    file = pod.root / "svid"
    with Issuer(issuer=SPIRE) as issuer:
        token = issuer.sign(svid_claims_without_issuer(datetime.now(UTC)))
    pod.tokens.append(token)
    file.write_text(token)
    for verb in (["once", "--timeout", "1"], ["token"]):
        ended = pod.run(*verb, AWS_WEB_IDENTITY_TOKEN_FILE=str(file))
        assert ended.code == 3
        assert "has no iss claim" in ended.err
        assert "Set jwt_issuer of the SPIRE server" in ended.err
    assert pod.sts.calls == []
