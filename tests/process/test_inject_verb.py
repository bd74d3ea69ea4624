"""`sts-broker inject` as a pipeline runs it: streams and exit codes."""

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


def test_second_injection_of_standard_input_changes_nothing(pod: Pod) -> None:
    once = pod.run("inject", "-f", "-", *OPTIONS, stdin=APP)
    assert (once.code, once.err) == (0, "")
    assert once.out.startswith("# Of the payments team.\n")
    assert "name: app            # äöü\n" in once.out
    spec = yaml.safe_load(once.out)["spec"]
    assert spec["initContainers"][0]["env"][0] == {"name": "AWS_ROLE_ARN", "value": OPTIONS[1]}
    twice = pod.run("inject", "-f", "-", *OPTIONS, stdin=once.out)
    assert (twice.code, twice.out) == (0, once.out)


def test_every_option_takes_effect(pod: Pod) -> None:
    more = ("--audience", "aud", "--duration-seconds", "900", "--config-map", "c", "--profile", "p", "--no-fs-group")
    result = pod.run("inject", "-f", "-", *OPTIONS, *more, "--image", "i:1", "--container", "app", stdin=APP)
    assert (result.code, result.err) == (0, "")
    spec = yaml.safe_load(result.out)["spec"]
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


def test_kind_to_pass_over_is_the_only_one_that_check_leaves_out(pod: Pod) -> None:
    task = "apiVersion: tekton.dev/v1\nkind: Task\nmetadata: {name: t}\nspec: {steps: [{name: s, image: x}]}\n"
    stream = f"{pod.run('inject', '-f', '-', *OPTIONS, stdin=APP).out}---\n{task}"
    result = pod.run("inject", "-f", "-", *OPTIONS, "--check", "--pass-over", "Workflow", stdin=stream)
    assert result.code == 1
    assert "Task t: passed over, because its containers are in no pod template" in result.err
    result = pod.run(
        "inject", "-f", "-", *OPTIONS, "--check", "--pass-over", "Workflow", "--pass-over", "Task", stdin=stream
    )
    assert (result.code, result.err) == (0, "")


def test_check_exits_with_1_and_after_injection_with_0(pod: Pod, tmp_path: Path) -> None:
    file = tmp_path / "app.yaml"
    file.write_text(APP)
    result = pod.run("inject", "--filename", str(file), *OPTIONS, "--check")
    assert (result.code, result.out) == (1, "")
    assert result.err == "sts-broker: document 1, Pod app: lacks the sidecar\n"
    file.write_text(pod.run("inject", "-f", str(file), *OPTIONS).out)
    result = pod.run("inject", "-f", str(file), *OPTIONS, "--check")
    assert (result.code, result.out, result.err) == (0, "", "")


def test_faults_exit_with_2_and_print_no_manifest(pod: Pod, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(APP)
    bad.write_text("a: b: c\n")
    result = pod.run("inject", "-f", str(good), "-f", str(bad), "-f", str(tmp_path / "none.yaml"), *OPTIONS)
    assert (result.code, result.out) == (2, "")
    first, second, third = result.err.splitlines()
    assert first == "sts-broker: the configuration has 2 faults:"
    assert second.startswith(f"  {bad}, document 1, line 1, column 5: not valid YAML")
    assert third == f"  {tmp_path / 'none.yaml'}: No such file or directory"


def test_missing_filename_is_a_usage_error(pod: Pod) -> None:
    result = pod.run("inject")
    assert result.code == 2
    assert "-f/--filename" in result.err
