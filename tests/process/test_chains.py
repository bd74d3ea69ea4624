"""Chained roles in the running program: the example of docs/chained-roles.md, and what happens when one side denies."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import yaml

from sandbox.aws import chain_faults, faults

if TYPE_CHECKING:
    from tests.process.pod import Pod
    from tests.support.program import Program

pytestmark = pytest.mark.process
PAGE = (Path(__file__).parents[2] / "docs/chained-roles.md").read_text()
(EXAMPLE,) = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
TRUST, PERMISSION = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL))
PARTNER = "arn:aws:iam::210987654321:role/partner"


@pytest.fixture
def partners(pod: Pod) -> Pod:
    """Create the roles and policies of the page."""
    app = pod.box.create_role("app")
    with pod.box.iam_client("123456789012") as iam:
        iam.put_role_policy(RoleName="app", PolicyName="chain", PolicyDocument=json.dumps(PERMISSION))
    assert pod.box.create_role("partner", account_id="210987654321", trust_policy=TRUST) == PARTNER
    assert app == EXAMPLE["role_arn"]
    return pod


def start(pod: Pod, *verb: str, **changes: Any) -> Program:  # noqa: ANN401 - of the page's settings
    """Start a broker with the settings of the page. `changes` apply to the profile partner."""
    *others, partner = EXAMPLE["profiles"]
    document = {**EXAMPLE, "profiles": [*others, {**partner, **changes}]}
    (pod.root / "broker.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    return pod.start(*verb, BROKER_CONFIG=str(pod.root / "broker.yaml"), AWS_ROLE_ARN="", AWS_REGION="")


def get_identity(pod: Pod, profile: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the caller identity of an unmodified SDK that uses the published config file."""
    monkeypatch.setenv("AWS_CONFIG_FILE", str(pod.published / "config"))
    client = boto3.Session(profile_name=profile).client("sts", endpoint_url=pod.sts.url)
    try:
        return str(client.get_caller_identity()["Arn"])
    finally:
        client.close()


def test_documented_profiles_get_the_documented_sessions(partners: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    program = start(partners)
    for name in ("default", "reports", "partner"):
        program.wait_for("refreshed", profile=name)
    name = "demo.app-7d9c5b6f8-x2x7k"
    own = f"arn:aws:sts::123456789012:assumed-role/app/{name}"
    assert get_identity(partners, "default", monkeypatch) == own
    assert get_identity(partners, "reports", monkeypatch) == own
    assert get_identity(partners, "partner", monkeypatch) == f"arn:aws:sts::210987654321:assumed-role/partner/{name}"
    calls = {(call.role_arn, call.has_policy): call for call in partners.sts.calls if call.role_arn}
    reports, partner = calls[EXAMPLE["role_arn"], True], calls[PARTNER, False]
    assert reports.policy_arns == ("arn:aws:iam::aws:policy/ReadOnlyAccess",)
    assert (partner.action, partner.caller_arn, partner.has_external_id) == ("AssumeRole", own, True)
    assert (partner.tag_keys, partner.transitive_tag_keys) == (("team", "stage"), ("team",))
    assert partner.source_identity == "app"
    assert json.loads((partners.published / "partner.json").read_text())["AccountId"] == "210987654321"
    assert program.status("partner")["source_profile"] == "default"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"external_id": "another"}, "its value must be the external_id of profile partner."),
        ({"tags": {"team": "red"}}, "allow sts:AssumeRole and sts:TagSession and sts:SetSourceIdentity for"),
        ({"tags": {"team": "blue", "secret": "x"}}, "Allow sts:TagSession in the trust policy"),
        ({"source_identity": "somebody"}, "Allow sts:SetSourceIdentity in the trust policy"),
    ],
)
def test_denied_chain_is_explained_and_does_not_affect_other_profiles(
    partners: Pod, changes: dict[str, Any], words: str
) -> None:
    program = start(partners, **changes)
    line = program.wait_for("exchange_failed", profile="partner", reason="role_denied")
    assert words in line["message"]
    for count in (1, 2):
        program.wait_for("refreshed", profile="default", count=count)
        program.wait_for("refreshed", profile="reports", count=count)
        program.refresh()
    assert program.get("/readyz").body.startswith("partner: role_denied: ")
    assert "fault" not in program.status("default")


def test_new_source_credentials_refresh_the_chain(partners: Pod) -> None:
    program = start(partners)
    program.wait_for("refreshed", profile="partner")
    program.refresh()
    line = program.wait_for("refreshed", profile="partner", count=2)
    assert line["source_generation"] == "default-2"
    before = [call.role_arn for call in partners.sts.calls]
    assert before.count(PARTNER) == 2


def test_chain_waits_for_a_source_without_credentials(partners: Pod) -> None:
    partners.sts.always(faults.SERVICE_UNAVAILABLE, role_arn=EXAMPLE["role_arn"])
    program = start(partners)
    program.wait_for("source_unfit", profile="partner", reason="source_unavailable")
    program.wait_for("exchange_failed", profile="default")
    assert "partner: source_unavailable: Waiting for source profile default" in program.get("/readyz").body
    assert PARTNER not in {call.role_arn for call in partners.sts.calls}
    partners.sts.clear_faults()
    program.wait_for("refreshed", profile="partner")


def test_hanging_chain_keeps_its_source_fresh(partners: Pod) -> None:
    partners.sts.always(faults.Hang(), role_arn=PARTNER, action="AssumeRole")
    program = start(partners)
    for count in (1, 2, 3):
        program.wait_for("refreshed", profile="default", count=count)
        program.refresh()


def test_rejected_source_credentials_are_a_fault_of_the_chain(partners: Pod) -> None:
    partners.sts.script(chain_faults.SIGNATURE_EXPIRED, action="AssumeRole")
    program = start(partners)
    line = program.wait_for("exchange_failed", profile="partner", reason="source_rejected")
    assert "the node's clock is wrong" in line["message"]
    program.wait_for("refreshed", profile="partner")


def test_once_ends_early_with_the_fault_of_the_source(partners: Pod) -> None:
    partners.box.create_role("app", subjects=["system:serviceaccount:demo:other"])
    program = start(partners, "once", "--timeout", "30")
    assert program.wait(within=10) == 4
    (line,) = program.lines("stopping")
    assert line["reason"] == "role_denied"
    assert "its trust policy does not allow this token" in line["message"]
    partners.box.create_role("app")


def test_once_publishes_a_whole_chain(partners: Pod) -> None:
    assert start(partners, "once").wait() == 0
    assert (partners.published / "partner.json").exists()


def test_no_secret_of_a_chain_appears(partners: Pod) -> None:
    partners.sts.script(chain_faults.EXPIRED_TOKEN, faults.Spoiled.ECHO, faults.ACCESS_DENIED, action="AssumeRole")
    program = start(partners, external_id="example-7f3d")
    for reason in ("source_rejected", "response_invalid"):
        program.wait_for("exchange_failed", profile="partner", reason=reason)
    text = program.output() + program.get("/status").body + program.get("/metrics").body
    assert partners.canaries().found_in(text) == set()
    assert "example-7f3d" not in text
