"""`sts-broker inject` as a pipeline runs it: streams, exit codes, and nothing lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

if TYPE_CHECKING:
    from pathlib import Path

    from tests.process.pod import Pod

pytestmark = pytest.mark.process

OPTIONS = ("--role-arn", "arn:aws:iam::123456789012:role/app", "--region", "eu-west-1")
APP = """\
# Of the payments team.
apiVersion: v1
kind: Pod
metadata:
  name: app            # äöü
spec:
  containers:
    - name: app
      image: 'x'
"""


def test_standard_input_comes_out_with_the_sidecar_and_again_the_same(pod: Pod) -> None:
    once = pod.run("inject", "-f", "-", *OPTIONS, stdin=APP)
    assert (once.code, once.err) == (0, "")
    assert once.out.startswith("# Of the payments team.\n")
    assert "name: app            # äöü\n" in once.out
    spec = yaml.safe_load(once.out)["spec"]
    assert spec["initContainers"][0]["env"][0] == {"name": "AWS_ROLE_ARN", "value": OPTIONS[1]}
    twice = pod.run("inject", "-f", "-", *OPTIONS, stdin=once.out)
    assert (twice.code, twice.out) == (0, once.out)


def test_every_option_is_heard(pod: Pod) -> None:
    more = ("--audience", "aud", "--duration-seconds", "900", "--config-map", "c", "--profile", "p", "--no-fs-group")
    ended = pod.run("inject", "-f", "-", *OPTIONS, *more, "--image", "i:1", "--container", "app", stdin=APP)
    assert (ended.code, ended.err) == (0, "")
    spec = yaml.safe_load(ended.out)["spec"]
    (broker,) = spec["initContainers"]
    assert broker["image"] == "i:1"
    assert {variable["name"]: variable["value"] for variable in broker["env"]} == {
        "AWS_ROLE_ARN": OPTIONS[1],
        "AWS_REGION": "eu-west-1",
        "BROKER_AUDIENCE": "aud",
        "BROKER_DURATION_SECONDS": "900",
        "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/secrets/sts.amazonaws.com/token",
        "BROKER_CONFIG": "/etc/sts-federation-broker/broker.yaml",
    }
    assert spec["containers"][0]["env"][0]["value"].endswith("/v1/credentials/p")
    assert "securityContext" not in spec


def test_check_prints_names_and_ends_with_1_and_then_with_0(pod: Pod, tmp_path: Path) -> None:
    file = tmp_path / "app.yaml"
    file.write_text(APP)
    ended = pod.run("inject", "--filename", str(file), *OPTIONS, "--check")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == "sts-broker: document 1, Pod app: lacks the sidecar\n"
    file.write_text(pod.run("inject", "-f", str(file), *OPTIONS).out)
    ended = pod.run("inject", "-f", str(file), *OPTIONS, "--check")
    assert (ended.code, ended.out, ended.err) == (0, "", "")


def test_faults_end_with_2_and_print_no_manifest(pod: Pod, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(APP)
    bad.write_text("a: b: c\n")
    ended = pod.run("inject", "-f", str(good), "-f", str(bad), "-f", str(tmp_path / "none.yaml"), *OPTIONS)
    assert (ended.code, ended.out) == (2, "")
    first, second, third = ended.err.splitlines()
    assert first == "sts-broker: the configuration has 2 faults:"
    assert second.startswith(f"  {bad}, document 1, line 1, column 5: no valid YAML")
    assert third == f"  {tmp_path / 'none.yaml'}: No such file or directory"


def test_without_a_file_it_says_how(pod: Pod) -> None:
    ended = pod.run("inject")
    assert ended.code == 2
    assert "-f/--filename" in ended.err
