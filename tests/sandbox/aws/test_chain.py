"""AssumeRole with credentials of an earlier exchange: which permissions it needs, within and across accounts."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import botocore.exceptions
import pytest
from moto.iam.models import iam_backends

from sandbox.aws import faults
from tests.sandbox.role_chains import HERE, SESSION, SOURCE, THERE, assume, denied, refusal
from tests.sandbox.sts_client import Exchanger, keys_of, refused

if TYPE_CHECKING:
    from sandbox import Sandbox
    from tests.sandbox.sts_client import ShiftedClock

ROOT = f"arn:aws:iam::{HERE}:root"
EVERY_ROLE = "arn:aws:iam::*:role/*"


def source(simulator: Sandbox, exchanger: Exchanger, *may_assume: str, **parameters: object) -> dict[str, str]:
    """Return keys of a session of the role `source`, which may assume these roles."""
    return exchanger.keys(RoleArn=simulator.create_role("source", may_assume=may_assume), **parameters)


def policy(effect: str, action: str = "sts:AssumeRole", resource: str = "*") -> str:
    statement = {"Effect": effect, "Action": action, "Resource": resource}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.mark.parametrize("principal", [SOURCE, SESSION, "*"])
def test_trust_that_names_the_caller_is_sufficient(simulator: Sandbox, exchanger: Exchanger, principal: str) -> None:
    keys = source(simulator, exchanger)
    arn = simulator.create_role("chained", trust_policy=simulator.chain_trust(principal))
    response = assume(simulator, keys, arn)
    assert response["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{HERE}:assumed-role/chained/hop"
    assert not {"SourceIdentity", "PackedPolicySize"} & response.keys()
    call = simulator.sts.calls[-1]
    assert (call.action, call.caller_arn, call.has_external_id, call.tag_keys) == ("AssumeRole", SESSION, False, ())


@pytest.mark.parametrize("principal", [ROOT, HERE])
def test_trust_that_names_the_account_needs_the_callers_permission(
    simulator: Sandbox, exchanger: Exchanger, principal: str
) -> None:
    keys = source(simulator, exchanger)
    arn = simulator.create_role("chained", trust_policy=simulator.chain_trust(principal))
    assert refusal(simulator, keys, arn) == denied(arn)
    assert simulator.sts.calls[-1].reason.startswith("the caller's identity policies do not allow sts:AssumeRole")
    simulator.permit_chaining(SOURCE, [arn])
    assert assume(simulator, keys, arn)


def test_trust_in_another_account_needs_the_callers_permission(simulator: Sandbox, exchanger: Exchanger) -> None:
    keys = source(simulator, exchanger)
    arn = simulator.create_role("chained", account_id=THERE, trust_policy=simulator.chain_trust(SOURCE, SESSION, ROOT))
    assert arn == f"arn:aws:iam::{THERE}:role/chained"
    assert refusal(simulator, keys, arn) == denied(arn)
    simulator.permit_chaining(SOURCE, [f"arn:aws:iam::{THERE}:role/chai*"])
    response = assume(simulator, keys, arn)
    client = simulator.boto3_client("sts", endpoint_url=simulator.sts.url, **keys_of(response))
    identity = client.get_caller_identity()
    client.close()
    assert (identity["Account"], identity["Arn"]) == (THERE, f"arn:aws:sts::{THERE}:assumed-role/chained/hop")
    assert identity["UserId"] == response["AssumedRoleUser"]["AssumedRoleId"]


def test_trust_in_another_account_that_names_another_principal_denies(simulator: Sandbox, exchanger: Exchanger) -> None:
    keys = source(simulator, exchanger, EVERY_ROLE)
    arn = simulator.create_role(
        "chained", account_id=THERE, trust_policy=simulator.chain_trust(f"arn:aws:iam::{THERE}:root")
    )
    assert refusal(simulator, keys, arn) == denied(arn)
    assert simulator.sts.calls[-1].reason.startswith("the trust policy does not allow sts:AssumeRole")


def test_roles_of_the_same_name_in_two_accounts_are_different(simulator: Sandbox, exchanger: Exchanger) -> None:
    keys = source(simulator, exchanger, EVERY_ROLE)
    here = simulator.create_role("twin", trust_policy=simulator.chain_trust(SOURCE))
    there = simulator.create_role(
        "twin", account_id=THERE, trust_policy=simulator.chain_trust(SOURCE, condition={"StringEquals": {"a:b": "c"}})
    )
    assert assume(simulator, keys, here)
    assert refusal(simulator, keys, there) == denied(there)


def test_chain_across_partitions_is_denied(simulator: Sandbox, exchanger: Exchanger) -> None:
    keys = source(simulator, exchanger, "*")
    arn = simulator.create_role("chained", partition="aws-cn", trust_policy=simulator.chain_trust(HERE, "*"))
    assert arn == f"arn:aws-cn:iam::{HERE}:role/chained"
    assert refusal(simulator, keys, arn) == denied(arn)
    assert "partition" in simulator.sts.calls[-1].reason


def test_missing_role_is_denied_like_a_role_that_does_not_trust(simulator: Sandbox, exchanger: Exchanger) -> None:
    keys = source(simulator, exchanger, EVERY_ROLE)
    arn = f"arn:aws:iam::{THERE}:role/nobody"
    assert refusal(simulator, keys, arn) == denied(arn)
    assert simulator.sts.calls[-1].reason == "the role does not exist"


def test_web_identity_role_cannot_be_assumed_by_chaining(simulator: Sandbox, exchanger: Exchanger) -> None:
    keys = source(simulator, exchanger, EVERY_ROLE)
    assert refusal(simulator, keys, simulator.role_arn) == denied(simulator.role_arn)


@pytest.mark.parametrize("principal", [SOURCE, SESSION, ROOT])
def test_deny_in_the_callers_own_policies_takes_precedence(
    simulator: Sandbox, exchanger: Exchanger, principal: str
) -> None:
    keys = source(simulator, exchanger, EVERY_ROLE)
    arn = simulator.create_role("chained", trust_policy=simulator.chain_trust(principal))
    simulator.iam.put_role_policy(RoleName="source", PolicyName="no", PolicyDocument=policy("Deny", resource=arn))
    assert refusal(simulator, keys, arn) == denied(arn)
    assert "denies" in simulator.sts.calls[-1].reason


def test_attached_policy_counts_like_an_inline_one_with_its_default_version(
    simulator: Sandbox, exchanger: Exchanger
) -> None:
    keys = source(simulator, exchanger)
    arn = simulator.create_role("chained", trust_policy=simulator.chain_trust(ROOT))
    made = simulator.iam.create_policy(PolicyName="chaining", PolicyDocument=policy("Allow", "sts:Assume*"))["Policy"][
        "Arn"
    ]
    simulator.iam.attach_role_policy(RoleName="source", PolicyArn=made)
    assert assume(simulator, keys, arn)
    simulator.iam.create_policy_version(PolicyArn=made, PolicyDocument=policy("Allow", "s3:*"), SetAsDefault=True)
    assert refusal(simulator, keys, arn) == denied(arn)
    simulator.create_role("source")  # replaces the old role, without its policies
    simulator.iam.delete_policy(PolicyArn=made)


@pytest.mark.parametrize(
    ("principal", "is_bounded"), [(ROOT, True), (SOURCE, True), (SESSION, False)], ids=["root", "role", "session"]
)
def test_session_policy_limits_every_grant_except_one_to_the_session_itself(
    simulator: Sandbox, exchanger: Exchanger, principal: str, *, is_bounded: bool
) -> None:
    keys = source(simulator, exchanger, EVERY_ROLE, Policy=policy("Allow", "s3:*"))
    arn = simulator.create_role("chained", trust_policy=simulator.chain_trust(principal))
    if is_bounded:
        assert refusal(simulator, keys, arn) == denied(arn)
        assert "the caller's session policies do not allow" in simulator.sts.calls[-1].reason
    else:
        assert assume(simulator, keys, arn)


def test_session_policy_that_covers_the_role_allows_it(simulator: Sandbox, exchanger: Exchanger) -> None:
    arn = simulator.create_role("chained", trust_policy=simulator.chain_trust(ROOT))
    assert assume(simulator, source(simulator, exchanger, EVERY_ROLE, Policy=policy("Allow", resource=arn)), arn)
    made = simulator.iam.create_policy(PolicyName="bound", PolicyDocument=policy("Allow"))["Policy"]["Arn"]
    assert assume(simulator, source(simulator, exchanger, EVERY_ROLE, PolicyArns=[{"arn": made}]), arn)
    nowhere = [{"arn": "arn:aws:iam::aws:policy/NoSuchPolicy"}]
    assert refusal(simulator, source(simulator, exchanger, EVERY_ROLE, PolicyArns=nowhere), arn) == denied(arn)
    simulator.iam.delete_policy(PolicyArn=made)


def test_permissions_boundary_limits_permissions(simulator: Sandbox, exchanger: Exchanger) -> None:
    arn = simulator.create_role("chained", trust_policy=simulator.chain_trust(ROOT))
    made = simulator.iam.create_policy(PolicyName="boundary", PolicyDocument=policy("Allow", "s3:*"))["Policy"]["Arn"]
    keys = source(simulator, exchanger, EVERY_ROLE)
    simulator.iam.put_role_permissions_boundary(RoleName="source", PermissionsBoundary=made)
    assert refusal(simulator, keys, arn) == denied(arn)
    assert "boundary" in simulator.sts.calls[-1].reason
    simulator.iam.delete_role_permissions_boundary(RoleName="source")
    assert assume(simulator, keys, arn)


def test_deleted_source_role_has_no_permissions(simulator: Sandbox, exchanger: Exchanger) -> None:
    keys = source(simulator, exchanger, EVERY_ROLE)
    arn = simulator.create_role("chained", trust_policy=simulator.chain_trust(ROOT))
    simulator.iam.delete_role_policy(RoleName="source", PolicyName="chaining")
    simulator.iam.delete_role(RoleName="source")
    assert refusal(simulator, keys, arn) == denied(arn)


def test_iam_user_has_its_own_and_its_groups_permissions(simulator: Sandbox) -> None:
    simulator.iam.create_user(UserName="bob", Tags=[{"Key": "team", "Value": "blue"}])
    simulator.iam.create_group(GroupName="hoppers")
    simulator.iam.add_user_to_group(GroupName="hoppers", UserName="bob")
    made = simulator.iam.create_access_key(UserName="bob")["AccessKey"]
    keys = {"aws_access_key_id": made["AccessKeyId"], "aws_secret_access_key": made["SecretAccessKey"]}
    trust = simulator.chain_trust(ROOT, condition={"StringEquals": {"aws:PrincipalTag/Team": "blue"}})
    arn = simulator.create_role("chained", trust_policy=trust, max_session=timedelta(hours=12))
    assert refusal(simulator, keys, arn).code == "AccessDenied"
    simulator.iam.put_group_policy(GroupName="hoppers", PolicyName="hop", PolicyDocument=policy("Allow"))
    assert assume(simulator, keys, arn, DurationSeconds=43_200)  # not a chain, so the role's maximum applies
    assert simulator.sts.calls[-1].caller_arn == f"arn:aws:iam::{HERE}:user/bob"


def test_iam_user_of_another_account_needs_trust_and_permission(simulator: Sandbox) -> None:
    with simulator.iam_client(THERE) as iam:
        iam.create_user(UserName="carol")
        made = iam.create_access_key(UserName="carol")["AccessKey"]
        keys = {"aws_access_key_id": made["AccessKeyId"], "aws_secret_access_key": made["SecretAccessKey"]}
        carol = f"arn:aws:iam::{THERE}:user/carol"
        arn = simulator.create_role("chained", trust_policy=simulator.chain_trust(carol))
        assert refusal(simulator, keys, arn) == denied(arn, caller=carol)
        iam.put_user_policy(UserName="carol", PolicyName="hop", PolicyDocument=policy("Allow", resource=arn))
        assert assume(simulator, keys, arn)
    arn = simulator.create_role("chained", trust_policy=simulator.chain_trust(HERE))
    assert refusal(simulator, keys, arn) == denied(arn, caller=carol)


@pytest.mark.parametrize("condition", [{"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/so*"}}, {}])
def test_principal_keys_contain_the_role_and_its_account(
    simulator: Sandbox, exchanger: Exchanger, condition: dict[str, Any]
) -> None:
    keys = source(simulator, exchanger, EVERY_ROLE)
    condition = {"StringEquals": {"AWS:principalaccount": HERE}, **condition}
    arn = simulator.create_role(
        "chained", account_id=THERE, trust_policy=simulator.chain_trust(ROOT, condition=condition)
    )
    assert assume(simulator, keys, arn)
    wrong = simulator.chain_trust(ROOT, condition=condition | {"ArnNotEquals": {"aws:PrincipalArn": SOURCE}})
    arn = simulator.create_role("chained", account_id=THERE, trust_policy=wrong)
    assert refusal(simulator, keys, arn) == denied(arn)


def test_external_id_must_match(simulator: Sandbox, exchanger: Exchanger) -> None:
    keys = source(simulator, exchanger)
    trust = simulator.chain_trust(SOURCE, condition={"StringEquals": {"sts:ExternalId": "agreed:with/x"}})
    arn = simulator.create_role("chained", trust_policy=trust)
    assert assume(simulator, keys, arn, ExternalId="agreed:with/x")
    for wrong in ({}, {"ExternalId": "guessed-at"}):
        assert refusal(simulator, keys, arn, **wrong) == denied(arn)
    assert [call.has_external_id for call in simulator.sts.calls[-3:]] == [True, False, True]
    assert "guessed-at" not in repr(simulator.sts.calls)


def test_chained_session_lasts_at_most_one_hour(simulator: Sandbox, exchanger: Exchanger) -> None:
    keys = source(simulator, exchanger)
    arn = simulator.create_role("chained", trust_policy=simulator.chain_trust(SOURCE), max_session=timedelta(hours=12))
    assert assume(simulator, keys, arn, DurationSeconds=3600)
    response = refusal(simulator, keys, arn, DurationSeconds=3601)
    assert (response.code, response.status) == ("ValidationError", 400)
    assert response.message.endswith("exceeds the 1 hour session limit for roles assumed by role chaining")


def test_expired_source_session_is_refused(simulator: Sandbox, exchanger: Exchanger, clock: ShiftedClock) -> None:
    keys = source(simulator, exchanger, DurationSeconds=900)
    arn = simulator.create_role("chained", trust_policy=simulator.chain_trust(SOURCE))
    clock.offset = timedelta(seconds=901)
    response = refusal(simulator, keys, arn)
    assert (response.code, response.status) == ("ExpiredToken", 403)
    assert response.message == "The security token included in the request is expired"
    assert simulator.sts.calls[-1].caller_arn == SESSION


def test_faults_of_chained_exchanges_have_a_queue_of_their_own(simulator: Sandbox, exchanger: Exchanger) -> None:
    keys = source(simulator, exchanger)
    arn = simulator.create_role("chained", trust_policy=simulator.chain_trust(SOURCE))
    simulator.sts.script(faults.THROTTLING, action="AssumeRole")
    assert exchanger.exchange()
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        assume(simulator, keys, arn)
    assert refused(caught.value).code == "Throttling"


def test_unreadable_stored_trust_policy_denies(simulator: Sandbox, exchanger: Exchanger) -> None:
    keys = source(simulator, exchanger)
    arn = simulator.create_role("odd")
    role = iam_backends[simulator.account_id]["aws"].get_role("odd")
    role.assume_role_policy_document = '{"Version": "2012-10-17"}'  # moto's API would refuse it
    assert exchanger.refusal(RoleArn=arn).code == "AccessDenied"
    assert refusal(simulator, keys, arn) == denied(arn)
    assert all("Statement" in call.reason for call in simulator.sts.calls[-2:])
