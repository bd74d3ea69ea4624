"""Several profiles from a YAML file: the faults of one do not affect the others."""

from __future__ import annotations

import configparser
import json
from typing import TYPE_CHECKING

import pytest

from sandbox.aws import faults
from tests.process.pod import STATE_FILE

if TYPE_CHECKING:
    from tests.process.pod import Pod
    from tests.support.program import Program

pytestmark = pytest.mark.process


def start(pod: Pod, *, bad_is_required: bool) -> Program:
    """Start a broker with the profiles default, bad and audit. The role of `bad` does not trust the pod."""
    bad = pod.box.create_role("process-bad", subjects=["system:serviceaccount:demo:other"])
    audit = pod.box.create_role("process-audit")
    file = pod.root / "broker.yaml"
    file.write_text(
        f"""\
region: eu-west-1
duration_seconds: 3600
profiles:
  - name: default
    role_arn: {pod.role_arn}
  - name: bad
    role_arn: {bad}
    required: {str(bad_is_required).lower()}
  - name: audit
    role_arn: {audit}
    role_session_name: from-yaml
    duration_seconds: 900
"""
    )
    return pod.start(BROKER_CONFIG=str(file), AWS_ROLE_ARN="", AWS_REGION="")


def test_denied_profile_delays_no_other_and_prevents_readiness_if_required(pod: Pod) -> None:
    program = start(pod, bad_is_required=True)
    program.wait_for("refreshed", profile="default")
    program.wait_for("refreshed", profile="audit")
    program.wait_for("exchange_failed", profile="bad", reason="role_denied")
    assert {name for name in pod.contents() if name.endswith(".json")} == {STATE_FILE, "default.json", "audit.json"}
    answer = program.get("/readyz")
    assert answer.status == 503
    assert answer.body.startswith("bad: role_denied: ")
    assert answer.body.count("\n") == 1, "only the profile that is not ready is named"
    assert program.status("bad")["fault"]["reason"] == "role_denied"
    assert program.status("audit")["assumed_role_arn"].endswith("/process-audit/from-yaml")


def test_denied_profile_that_is_not_required_does_not_prevent_readiness(pod: Pod) -> None:
    program = start(pod, bad_is_required=False)
    program.wait_for("refreshed", profile="audit")
    program.wait_for("refreshed", profile="default")
    program.wait_for("exchange_failed", profile="bad")
    assert program.get("/readyz").status == 200
    assert 'sts_broker_fault{profile="bad",reason="role_denied"} 1.0' in program.get("/metrics").body


def test_hanging_profile_delays_no_other(pod: Pod) -> None:
    bad = "arn:aws:iam::123456789012:role/process-bad"
    pod.sts.always(faults.Hang(), role_arn=bad)
    program = start(pod, bad_is_required=True)
    for count in (1, 2, 3):
        program.wait_for("refreshed", profile="default", count=count)
        program.wait_for("refreshed", profile="audit", count=count)
        program.refresh()
    assert [call.outcome for call in pod.sts.calls if call.role_arn == bad] == ["Hang"]


def test_profile_recovers_when_its_trust_policy_is_fixed(pod: Pod) -> None:
    program = start(pod, bad_is_required=True)
    program.wait_for("exchange_failed", profile="bad")
    program.wait_for("refreshed", profile="default")
    program.wait_for("refreshed", profile="audit")
    pod.box.iam.update_assume_role_policy(RoleName="process-bad", PolicyDocument=json.dumps(pod.box.trust_policy()))
    program.refresh()
    program.wait_for("refreshed", profile="bad")
    program.wait_for("refreshed", profile="default", count=2)
    program.wait_for("refreshed", profile="audit", count=2)
    assert program.get("/readyz").status == 200
    parser = configparser.RawConfigParser()
    parser.read_string(pod.contents()["credentials"].decode())
    assert parser.sections() == ["default", "bad", "audit"]
    for name in parser.sections():
        document = json.loads(pod.contents()[f"{name}.json"])
        assert parser[name]["aws_access_key_id"] == document["AccessKeyId"]


def test_restart_keeps_the_sections_of_profiles_that_cannot_be_refreshed(pod: Pod) -> None:
    first = start(pod, bad_is_required=False)
    first.wait_for("refreshed", profile="default")
    first.wait_for("refreshed", profile="audit")
    first.kill()
    pod.sts.always(faults.SERVICE_UNAVAILABLE, role_arn="arn:aws:iam::123456789012:role/process-audit")
    second = start(pod, bad_is_required=False)
    second.wait_for("restored", profile="audit")
    second.refresh()
    second.wait_for("refreshed", profile="default")
    second.wait_for("exchange_failed", profile="audit")
    parser = configparser.RawConfigParser()
    parser.read_string(pod.contents()["credentials"].decode())
    assert parser.sections() == ["default", "audit"]
    assert parser["audit"]["aws_access_key_id"] == json.loads(pod.contents()["audit.json"])["AccessKeyId"]
