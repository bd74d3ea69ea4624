"""The commands of docs/issuers.md: ours run in their order, and the others are known verbs."""

from __future__ import annotations

import base64
import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import botocore.session
import jwt
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from broker.cli.main import main
from broker.issuer import documents, public_keys
from tests.support.issuer_site import Authority, Site, reply

if TYPE_CHECKING:
    import pytest

    from broker.issuer.public_keys import PublicKey

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/issuers.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
CLUSTER_VERBS = {
    ("get", "authentication"),
    ("get", "kubeapiserver"),
    ("get", "--raw"),
    ("get", "secret"),
    ("delete", "secret"),
    ("patch", "authentication"),
    ("adm", "wait-for-stable-cluster"),
    ("create", "token"),
    ("exec", "deploy/app"),
    ("rollout", "restart"),
}
"""Verbs of oc. kubectl has those that are not specific to OpenShift."""


def commands() -> list[list[str]]:
    """Return every command of the guide, split as a shell does."""
    lines = "\n".join(BLOCKS).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


def commands_of(*programs: str) -> list[list[str]]:
    return [words for words in commands() if words[0] in programs]


def test_every_command_runs_a_known_program() -> None:
    known = {"sts-broker", "oc", "kubectl", "aws", "base64"}
    assert {words[0] for words in commands() if "=" not in words[0]} == known


def test_cluster_commands_are_known_verbs() -> None:
    for program, *words in commands_of("oc", "kubectl"):
        verb = words[2:] if words[0] == "-n" else words
        assert (verb[0], verb[1]) in CLUSTER_VERBS, words
        if program == "kubectl":
            assert verb[0] in {"get", "exec"}
        if verb[0] == "patch":
            patch = json.loads(words[words.index("--patch") + 1].replace("$ISSUER", "https://a.example"))
            assert patch == {"spec": {"serviceAccountIssuer": "https://a.example"}}


def test_aws_commands_name_operations_of_their_services() -> None:
    session = botocore.session.Session()
    for _, service, operation, *words in commands_of("aws"):
        if service == "s3":  # commands of the CLI itself
            assert operation == "cp"
            assert sum(word.startswith("s3://$BUCKET/") for word in words[:2]) == 1
            continue
        model = session.get_service_model(service)
        name = "".join({"id": "ID"}.get(part, part.capitalize()) for part in operation.split("-"))
        shape = model.operation_model(name).input_shape
        members = {
            re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", member).lower() for member in shape.members
        }
        options = {word.removeprefix("--") for word in words if word.startswith("--")}
        assert options - {"query", "output"} <= members


def test_yaml_of_the_guide_belongs_to_a_pod() -> None:
    volumes, metadata = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL))
    (source,) = volumes["volumes"][0]["projected"]["sources"]
    assert source["serviceAccountToken"]["audience"] == "sts.amazonaws.com"
    assert source["serviceAccountToken"]["expirationSeconds"] >= 600
    assert list(metadata["metadata"]["annotations"]) == ["eks.amazonaws.com/skip-containers"]


def test_headings_in_links_exist() -> None:
    headings = {line.lstrip("# ").lower().replace(" ", "-") for line in GUIDE.splitlines() if line.startswith("#")}
    assert set(re.findall(r"\]\(#([a-z-]+)\)", GUIDE)) <= headings


class Cluster:
    """Runs the guide's commands in their order: ours for real, and for the others it writes their results."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority(folder)
        self.variables: dict[str, str] = {}
        self.signing = self.next = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.done: list[str] = []

    def perform(self, words: list[str]) -> None:
        """Run one command. Raises AssertionError if one of ours fails, or if the command is not known here."""
        line = " ".join(words)
        target = self.folder / words[-1] if ">" in words else None
        if "=" in words[0]:
            name, _, value = line.partition("=")
            self.variables[name] = value
        elif words[0] == "sts-broker":
            self._ours(words[1:])
        elif " -- sts-broker " in line:
            self._ours(words[words.index("--") + 2 :])
        elif words[0] == "aws":
            self._upload_or_download(words)
        elif "delete secret" in line:
            self.next = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        elif "wait-for-stable-cluster" in line:
            self.signing = self.next
        elif target is not None:
            target.write_text(self._output(line))

    def _output(self, line: str) -> str:
        if "--raw /openid/v1/jwks" in line:
            return json.dumps({"keys": [self._published(self.signing).document()]})
        if "create token" in line:
            return self._token()
        if "get secret" in line:
            return base64.b64encode(_pem(self.next)).decode()
        assert line.startswith("base64 -d new.b64 > "), line
        return base64.b64decode((self.folder / "new.b64").read_text()).decode()

    def _upload_or_download(self, words: list[str]) -> None:
        if words[1:3] != ["s3", "cp"]:
            return
        bucket = self.folder / "bucket"
        source, target = words[3], words[4]
        if source.startswith("s3://$BUCKET/"):
            (self.folder / target).write_bytes((bucket / source.removeprefix("s3://$BUCKET/")).read_bytes())
            return
        uploaded = bucket / target.removeprefix("s3://$BUCKET/")
        uploaded.parent.mkdir(parents=True, exist_ok=True)
        uploaded.write_bytes((self.folder / source).read_bytes())

    def _ours(self, words: list[str]) -> None:
        given = [self.variables["ISSUER"] if word == "$ISSUER" else word for word in words]
        (self.folder / "pod-token").write_text(self._token())
        self.done.append(" ".join(words[:2]))
        if given[:2] == ["issuer", "check"]:
            self._check(given)
        elif given == ["doctor"]:
            return  # tests/doctor runs it in a pod
        elif given[0] == "token":
            assert main(["token", str(self.folder / "pod-token"), "--json"]) == 0
        else:
            assert main(given) == 0

    def _check(self, given: list[str]) -> None:
        host, _, path = given[2].removeprefix("https://").partition("/")
        folder = self.folder / "bucket"
        if "oidc.eks" in host:  # EKS writes its documents
            folder = self.folder / "eks"
            rendered = documents.render(given[2], [self._published(self.signing)])
            documents.write(str(folder), rendered)
        prefix = f"/{path}" if path else ""
        names = (".well-known/openid-configuration", "keys.json")
        replies = {f"{prefix}/{name}": reply((folder / name).read_bytes()) for name in names}
        if "--connect-to" in given:
            given = given[: given.index("--connect-to")]
        with Site(self.authority.server(host), replies) as site:
            assert main([*given, "--ca-bundle", str(self.authority.bundle), *site.arguments]) == 0

    def _published(self, key: rsa.RSAPrivateKey) -> PublicKey:
        return public_keys.from_pem(_pem(key).decode(), "key")[0]

    def _token(self) -> str:
        claims = {"iss": self.variables["ISSUER"], "sub": "system:serviceaccount:demo:app", "exp": 2**31}
        headers = {"kid": self._published(self.signing).kid}
        return jwt.encode({**claims, "aud": ["sts.amazonaws.com"]}, self.signing, algorithm="RS256", headers=headers)


def _pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def test_guide_can_be_followed_from_its_first_command_to_its_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "BROKER_AUDIENCE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    cluster = Cluster(tmp_path)
    for words in commands():
        cluster.perform(words)
    assert cluster.done.count("issuer check") == 8
    assert cluster.done.count("issuer render") == 5
    assert cluster.done.count("doctor") == 2
    assert "failed" not in capsys.readouterr().out
