"""The operator image: its verbs work on real inputs, in a read-only container without network or privileges."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support.audited_account import AUTHORIZATION_DETAILS
from tests.support.containers import CONFINED
from tests.support.program import Ended, run_to_end

if TYPE_CHECKING:
    from pathlib import Path

    from tests.image.conftest import Built
    from tests.support.containers import Containers

pytestmark = pytest.mark.process

ACCOUNT = "123456789012"
ISSUER = "https://oidc.example.com/cluster"
POD = """\
apiVersion: v1
kind: Pod
metadata: {name: app}
spec:
  containers:
    - {name: app, image: app, securityContext: {runAsUser: 1000}}
"""


class Operator:
    """Runs verbs in the operator image. Its working directory is a read-only mount of `directory`."""

    def __init__(self, tools: Containers, image: str, directory: Path) -> None:
        self._tools = tools
        self._image = image
        self.directory = directory

    def run(self, *arguments: str, writable: str = "") -> Ended:
        """Run a verb and wait for it. `writable` is a subdirectory that the container may write to."""
        options = [*CONFINED, "--network=none", f"--volume={self.directory}:/data:ro", "--workdir=/data"]
        options += [f"--volume={self.directory / writable}:/data/{writable}"] if writable else []
        command = self._tools.run_command(self._image, *options, arguments=arguments)
        return run_to_end(environment=self._tools.environment, directory=self.directory, program=command, within=60)


@pytest.fixture
def operator(tools: Containers, built: Built, tmp_path: Path) -> Operator:
    tmp_path.chmod(0o755)  # the container's user is another one
    return Operator(tools, built.operator, tmp_path)


def test_help_is_the_default_and_every_verb_has_help(operator: Operator) -> None:
    ended = operator.run()
    assert ended.code == 0, ended.err
    verbs = re.findall(r"^    (\w+) ", ended.out.partition("Settings:")[0], re.MULTILINE)
    assert set(verbs) >= {"run", "doctor", "issuer", "trust", "inject"}
    for verb in (("issuer", "check"), ("issuer", "render"), ("trust", "lint"), *((verb,) for verb in verbs)):
        ended = operator.run(*verb, "--help")
        assert ended.code == 0, ended.err
        assert ended.out.startswith(f"usage: sts-broker {' '.join(verb)} ")


def test_trust_policy_is_rendered_and_has_no_findings(operator: Operator) -> None:
    options = ("--account", ACCOUNT, "--issuer", ISSUER, "--namespace", "shop", "--service-account", "cart")
    ended = operator.run("trust", "render", *options)
    assert ended.code == 0, ended.err
    (statement,) = json.loads(ended.out)["Statement"]
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    (operator.directory / "trust.json").write_text(ended.out)
    assert operator.run("trust", "lint", "trust.json").code == 0


def test_weak_trust_policy_has_findings(operator: Operator) -> None:
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/{ISSUER.removeprefix('https://')}"},
        "Action": "sts:AssumeRoleWithWebIdentity",
    }
    document = {"Version": "2012-10-17", "Statement": [statement]}
    (operator.directory / "trust.json").write_text(json.dumps(document))
    ended = operator.run("trust", "lint", "--format", "json", "trust.json")
    assert ended.code == 1
    assert json.loads(ended.out)


def test_saved_account_is_audited_with_tables_and_a_page(operator: Operator) -> None:
    (operator.directory / "details.json").write_text(json.dumps(AUTHORIZATION_DETAILS))
    reports = operator.directory / "reports"
    reports.mkdir()
    reports.chmod(0o777)
    options = ("--ignore", "account-root", "--html", "reports/audit.html")
    ended = operator.run("trust", "audit", "details.json", *options, writable="reports")
    assert ended.code == 1, ended.err
    assert "broad-subject" in ended.out
    assert "<title>Trust audit</title>" in (reports / "audit.html").read_text()


def test_sidecar_is_injected_with_the_image_of_the_same_version(operator: Operator) -> None:
    (operator.directory / "pod.yaml").write_text(POD)
    options = ("--role-arn", f"arn:aws:iam::{ACCOUNT}:role/app", "--region", "eu-west-1")
    ended = operator.run("inject", "-f", "pod.yaml", *options)
    assert ended.code == 0, ended.err
    assert "image: sts-federation-broker:" in ended.out
    assert operator.run("inject", "-f", "pod.yaml", *options, "--check").code == 1


def test_issuer_documents_are_rendered_from_a_public_key(operator: Operator) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (operator.directory / "sa.pub").write_bytes(pem)
    site = operator.directory / "site"
    site.mkdir()
    site.chmod(0o777)
    ended = operator.run(
        "issuer", "render", "--issuer", ISSUER, "--output", "site", "--public-key", "sa.pub", writable="site"
    )
    assert ended.code == 0, ended.err
    (published,) = json.loads((site / "keys.json").read_text())["keys"]
    assert published["kty"] == "RSA"
    assert json.loads((site / ".well-known/openid-configuration").read_text())["issuer"] == ISSUER
