"""docs/other-issuers.md: every command runs against the sandbox, and every snippet is valid and used.

The workflow of GitHub and the job of GitLab run as scripts, with a server that issues tokens as GitHub's does.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import hcl2
import kubernetes_validate
import pytest
import yaml

from broker.core.session_names import session_name_for
from broker.core.token_issuers import describe_renewal
from broker.tokens.decoding import parse_token
from sandbox import Issuer, Sandbox
from sandbox.http.loopback import LoopbackServer
from tests.docs.anchors import anchors
from tests.support.fakes import EPOCH, make_jwt
from tests.support.issuer_tokens import AKS, GITHUB, GITLAB, GKE, SPIRE, TOKENS, github_claims, gitlab_claims

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sandbox.http.loopback import Request, Wire

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/other-issuers.md").read_text()
BEARER = "bearer-token-of-the-job-0123456789"
DEPLOY = """#!/bin/sh
test -n "$AWS_CONTAINER_CREDENTIALS_FULL_URI" && echo deployed
"""


def section(title: str) -> str:
    """Return the text of a section, without the indentation of its lists."""
    text = GUIDE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    return "\n".join(line.removeprefix("   ") for line in text.splitlines()) + "\n"


def blocks(title: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", section(title), re.DOTALL)


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox(issuer="https://oidc.docs.example/cluster") as sandbox:
        yield sandbox


@dataclass(slots=True)
class Desk:
    """A directory with the programs that the page calls. `aws` calls the IAM of the sandbox."""

    box: Sandbox
    directory: Path
    issuer: Issuer

    def run(self, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a script as `bash -e -o pipefail`, as GitHub's runners do, and expect that it succeeds."""
        aws = f'"{sys.executable}" -c "$FAKE_AWS" "$@"'
        functions = [
            f'sts-broker() {{ "{sys.executable}" -m broker "$@"; }}',
            f"aws() {{ {aws}; }}",
            "kubectl() { cat pod-token; }",
            "pip() { :; }",
        ]
        shell = subprocess.Popen(
            ["bash", "-e", "-o", "pipefail", "-c", "\n".join([*functions, script])],
            cwd=self.directory,
            env={
                "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
                "PYTHONPATH": str(ROOT),
                "HOME": str(self.directory),
                "TMPDIR": str(self.directory),
                "FAKE_AWS": FAKE_AWS,
                "MOTO": self.box.moto_url,
                "AWS_ENDPOINT_URL_STS": self.box.sts.url,
                "BROKER_PUBLISH_DIRECTORY": str(self.directory / "published"),
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            out, err = shell.communicate(timeout=60)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)  # what the script left in the background
        done = subprocess.CompletedProcess(shell.args, shell.returncode, out, err)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def create_role(self, name: str, policy: str = "trust.json") -> str:
        """Create the role of a section with the policy that was rendered."""
        return self.box.create_role(name, trust_policy=json.loads((self.directory / policy).read_text()))


FAKE_AWS = """
import os, sys, boto3
service, operation, *options = sys.argv[1:]
assert (service, operation) == ("iam", "create-open-id-connect-provider"), sys.argv
given = dict(zip(options[::2], options[1::2], strict=True))
assert given.keys() == {"--url", "--client-id-list"}, given
client = boto3.client(
    "iam", region_name="eu-west-1", endpoint_url=os.environ["MOTO"],
    aws_access_key_id="sandbox", aws_secret_access_key="sandbox",
)
client.create_open_id_connect_provider(Url=given["--url"], ClientIDList=[given["--client-id-list"]])
"""
"""The command of the AWS CLI that the page uses. Its two options are parameters of IAM."""


@pytest.fixture
def new_desk(box: Sandbox, tmp_path: Path) -> Iterator[Callable[[str], Desk]]:
    """Return a function that prepares a directory, and an issuer that STS can reach but has no provider for."""
    desks: list[Desk] = []

    def make(url: str) -> Desk:
        issuer = Issuer(issuer=url)
        box.addresses[url] = issuer.url
        desks.append(Desk(box=box, directory=tmp_path, issuer=issuer))
        return desks[-1]

    yield make
    for desk in desks:
        desk.issuer.stop()
        arn = f"arn:aws:iam::{box.account_id}:oidc-provider/{desk.issuer.issuer.removeprefix('https://')}"
        box.iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)


class TokenServer:
    """What ACTIONS_ID_TOKEN_REQUEST_URL leads to: it issues a token for the audience in the query.

    `on_request` is called with the number of each request, from 1. The request fails if it returns False.
    """

    def __init__(self, issuer: Issuer, on_request: Callable[[int], bool] = lambda _: True) -> None:
        self._issuer = issuer
        self._on_request = on_request
        self.requests: list[str] = []
        self.server = LoopbackServer(answer=self._answer)

    @property
    def environment(self) -> dict[str, str]:
        """The two variables of a job with the permission `id-token: write`."""
        return {
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{self.server.url}/token?api-version=2.0",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": BEARER,
        }

    def _answer(self, request: Request, wire: Wire) -> None:
        self.requests.append(request.path)
        is_served = self._on_request(len(self.requests))
        if not is_served or request.headers.get("authorization") != f"Bearer {BEARER}":
            wire.send(http.client.UNAUTHORIZED, {}, b"")
            return
        (audience,) = parse_qs(urlsplit(request.path).query)["audience"]
        value = self._issuer.sign(github_claims(datetime.now(UTC), aud=audience, jti=f"{len(self.requests)}"))
        wire.send(http.client.OK, {"Content-Type": "application/json"}, json.dumps({"value": value}).encode())


def write_deploy(directory: Path) -> None:
    file = directory / "deploy.sh"
    file.write_text(DEPLOY)
    file.chmod(0o755)


def test_workflow_of_github_saves_a_token_and_runs_its_command(new_desk: Callable[[str], Desk]) -> None:
    if shutil.which("curl") is None:
        pytest.skip("this machine has no curl(1), which the workflow calls")
    desk = new_desk(GITHUB)
    for block in blocks("GitHub Actions", "sh"):
        desk.run(block)
    (workflow,) = map(yaml.safe_load, blocks("GitHub Actions", "yaml"))
    assert workflow["permissions"]["id-token"] == "write"
    *_, step = workflow["jobs"]["deploy"]["steps"]
    assert step["env"]["AWS_WEB_IDENTITY_TOKEN_FILE"] == "${{ runner.temp }}/aws-token"
    assert step["env"]["AWS_ROLE_ARN"] == desk.create_role("deploy")
    write_deploy(desk.directory)
    server, file = TokenServer(desk.issuer), desk.directory / "aws-token"
    try:
        variables = {**step["env"], "AWS_WEB_IDENTITY_TOKEN_FILE": str(file)}
        done = desk.run(step["run"], **server.environment, **variables)
    finally:
        server.server.stop()
    assert done.stdout == "deployed\n"
    assert server.requests == ["/token?api-version=2.0&audience=sts.amazonaws.com"]
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text().strip() not in done.stdout + done.stderr
    assert BEARER not in done.stdout + done.stderr


def test_loop_of_the_workflow_renews_the_token_and_keeps_it_if_github_fails(new_desk: Callable[[str], Desk]) -> None:
    """The loop waits for 2 minutes. Here, `sleep` waits for a moment, and the job's command for a third token."""
    if shutil.which("curl") is None:
        pytest.skip("this machine has no curl(1), which the workflow calls")
    desk = new_desk(GITHUB)
    desk.run(blocks("GitHub Actions", "sh")[0])
    (workflow,) = map(yaml.safe_load, blocks("GitHub Actions", "yaml"))
    script = workflow["jobs"]["deploy"]["steps"][-1]["run"].replace("sts-broker exec -- ./deploy.sh", "wait_for_tokens")
    assert "while sleep 120 " in script
    file, enough = desk.directory / "aws-token", desk.directory / "enough"
    seen: list[str] = []
    helpers = """
    sleep() { command sleep 0.1; }
    wait_for_tokens() { until test -e "$ENOUGH"; do command sleep 0.05; done; }
    """

    def watch(number: int) -> bool:
        """Fail the second request, and note what the file has before each later one."""
        if number > 1:
            seen.append(file.read_text())
        if number > 4:
            enough.touch()
        return number != 2

    server = TokenServer(desk.issuer, watch)
    try:
        desk.run(
            f"{helpers}\n{script}", **server.environment, AWS_WEB_IDENTITY_TOKEN_FILE=str(file), ENOUGH=str(enough)
        )
    finally:
        server.server.stop()
    before, after_failure, renewed, *_ = seen
    assert before == after_failure != renewed
    assert {text.count(".") for text in seen} == {2}


def test_job_of_gitlab_runs_its_command(new_desk: Callable[[str], Desk]) -> None:
    desk = new_desk(GITLAB)
    for block in blocks("GitLab CI/CD", "sh"):
        desk.run(block)
    (pipeline,) = map(yaml.safe_load, blocks("GitLab CI/CD", "yaml"))
    job = pipeline["deploy"]
    ((variable, options),) = job["id_tokens"].items()
    assert job["variables"]["AWS_ROLE_ARN"] == desk.create_role("deploy")
    write_deploy(desk.directory)
    token = desk.issuer.sign(gitlab_claims(datetime.now(UTC), aud=options["aud"]))
    done = desk.run("\n".join(job["script"]), **job["variables"], **{variable: token})
    assert done.stdout == "deployed\n"
    (file,) = desk.directory.glob("tmp.*")
    assert (file.read_text(), file.stat().st_mode & 0o777) == (token, 0o600)


def test_configurations_of_spire_are_valid_and_name_the_same_issuer_audience_and_file(
    new_desk: Callable[[str], Desk],
) -> None:
    server, helper = (hcl2.loads(block) for block in blocks("SPIRE", "hcl"))
    *before, run = blocks("SPIRE", "sh")
    assert unquote(server["server"][0]["jwt_issuer"]) == SPIRE
    (svid,) = helper["jwt_svids"]
    assert helper["daemon_mode"] is True
    token_file = f"{unquote(helper['cert_dir'])}/{unquote(svid['jwt_svid_file_name'])}"
    assert f"AWS_WEB_IDENTITY_TOKEN_FILE={token_file}\n" in run
    desk = new_desk(SPIRE)
    for block in before:
        desk.run(block)
    desk.create_role("cart")
    claims = next(one for one in TOKENS if one.name == "spire").claims(datetime.now(UTC))
    (desk.directory / "token").write_text(desk.issuer.sign({**claims, "aud": [unquote(svid["jwt_audience"])]}))
    desk.run(run.replace(token_file, str(desk.directory / "token")))
    assert (desk.directory / "published/default.json").exists()


def unquote(text: str) -> str:
    return text.strip('"')


@pytest.mark.parametrize("url", [GKE, AKS], ids=["gke", "aks"])
def test_procedure_for_clusters_works_with_the_issuer_of_either(url: str, new_desk: Callable[[str], Desk]) -> None:
    desk = new_desk(url)
    issued = next(one for one in TOKENS if one.issuer == url)
    (desk.directory / "pod-token").write_text(desk.issuer.sign(issued.claims(datetime.now(UTC))))
    for block in blocks("GKE and AKS", "sh"):
        desk.run(block)
    role = desk.create_role("cluster-app")
    desk.run(
        "sts-broker once",
        AWS_ROLE_ARN=role,
        AWS_REGION="eu-west-1",
        AWS_WEB_IDENTITY_TOKEN_FILE=str(desk.directory / "token.jwt"),
    )
    assert (desk.directory / "published/default.json").exists()


def test_projected_volume_is_what_kubernetes_accepts() -> None:
    (volumes,) = map(yaml.safe_load, blocks("GKE and AKS", "yaml"))
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "app"},
        "spec": {"containers": [{"name": "app", "image": "app"}], **volumes},
    }
    kubernetes_validate.validate(pod, "1.32", strict=True)
    (source,) = volumes["volumes"][0]["projected"]["sources"]
    assert source["serviceAccountToken"]["expirationSeconds"] >= 600


def test_table_has_the_session_names_of_these_tokens() -> None:
    rows = [line for line in GUIDE.splitlines() if line.startswith("| [")]
    names = {one.name: one for one in TOKENS}
    assert len(rows) == 4
    for row, name in zip(rows, ("github", "gitlab", "spire", "gke"), strict=True):
        claims: dict[str, Any] = {"kubernetes.io": None, **names[name].claims(EPOCH)}
        session = session_name_for(parse_token(make_jwt(**claims), origin="x").claims)
        assert f"`{session}`" in row
        (link,) = re.findall(r"\(#([\w-]+)\)", row)
        assert link in anchors(GUIDE)


def test_messages_name_this_page() -> None:
    for issued in TOKENS[:4]:
        claims: dict[str, Any] = {"kubernetes.io": None, **issued.claims(EPOCH - timedelta(hours=3))}
        assert "docs/other-issuers.md" in describe_renewal(parse_token(make_jwt(**claims), origin="x").claims)
