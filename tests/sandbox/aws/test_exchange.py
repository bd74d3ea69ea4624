"""Successful exchanges: the response, and what its credentials can do before and after their expiry."""

from __future__ import annotations

import hashlib
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import botocore.exceptions
import pytest

from sandbox import Sandbox, StsServer
from tests.sandbox.sts_client import Exchanger, Refused, ShiftedClock, refused, unsigned_client


def caller_identity(simulator: Sandbox, keys: dict[str, str]) -> dict[str, Any] | Refused:
    client = simulator.boto3_client("sts", endpoint_url=simulator.sts.url, **keys)
    try:
        identity: dict[str, Any] = client.get_caller_identity()
    except botocore.exceptions.ClientError as error:
        return refused(error)
    finally:
        client.close()
    return identity


def test_response_is_complete(simulator: Sandbox, exchanger: Exchanger) -> None:
    before = datetime.now(UTC)
    response = exchanger.exchange(RoleSessionName="demo.app")
    assert response["AssumedRoleUser"]["Arn"] == "arn:aws:sts::123456789012:assumed-role/app/demo.app"
    assert response["AssumedRoleUser"]["AssumedRoleId"].endswith(":demo.app")
    assert response["SubjectFromWebIdentityToken"] == "system:serviceaccount:demo:app"
    assert response["Provider"] == simulator.issuer.issuer
    assert response["Audience"] == "sts.amazonaws.com"
    assert response["Credentials"]["AccessKeyId"].startswith("ASIA")
    assert timedelta(minutes=59) < response["Credentials"]["Expiration"] - before <= timedelta(minutes=61)
    assert "PackedPolicySize" not in response
    size = len(response["Credentials"]["SessionToken"])
    assert response["SessionTokenSize"] == size > 100
    assert response["SessionTokenUtilization"] == round(100 * size / 4096)
    headers = response["ResponseMetadata"]["HTTPHeaders"]
    assert headers["date"].endswith("GMT")
    assert headers["x-amzn-requestid"] == response["ResponseMetadata"]["RequestId"] == simulator.sts.calls[0].request_id


def test_requested_duration_is_used(exchanger: Exchanger) -> None:
    before = datetime.now(UTC)
    response = exchanger.exchange(DurationSeconds=900)
    assert abs(response["Credentials"]["Expiration"] - before - timedelta(seconds=900)) < timedelta(seconds=3)


def test_session_policies_are_accepted_and_measured(exchanger: Exchanger) -> None:
    arns = [{"arn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}]
    response = exchanger.exchange(Policy='{"Version": "2012-10-17", "Statement": []}', PolicyArns=arns)
    assert response["PackedPolicySize"] >= 1


@pytest.mark.parametrize("audience", [["sts.amazonaws.com"], ["other", "sts.amazonaws.com"], "sts.amazonaws.com"])
@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_every_valid_token_is_accepted(
    simulator: Sandbox, exchanger: Exchanger, audience: str | list[str], algorithm: str
) -> None:
    token = simulator.issuer.mint(audience=audience, algorithm=algorithm)
    assert exchanger.exchange(WebIdentityToken=token)["Audience"] == "sts.amazonaws.com"


def test_role_in_another_partition_gets_its_own_arn(simulator: Sandbox, exchanger: Exchanger) -> None:
    iam = simulator.boto3_client("iam", region_name="cn-north-1")
    provider = iam.create_open_id_connect_provider(Url=simulator.issuer.issuer, ClientIDList=["sts.amazonaws.com"])
    policy = simulator.trust_policy()
    policy["Statement"][0]["Principal"]["Federated"] = provider["OpenIDConnectProviderArn"]
    role = iam.create_role(RoleName="china", AssumeRolePolicyDocument=str(policy).replace("'", '"'))
    iam.close()
    response = exchanger.exchange(RoleArn=role["Role"]["Arn"])
    assert response["AssumedRoleUser"]["Arn"] == "arn:aws-cn:sts::123456789012:assumed-role/china/demo.app"


def test_role_with_a_path_is_found(simulator: Sandbox, exchanger: Exchanger) -> None:
    policy = str(simulator.trust_policy()).replace("'", '"')
    role = simulator.iam.create_role(RoleName="deep", Path="/team/a/", AssumeRolePolicyDocument=policy)
    response = exchanger.exchange(RoleArn=role["Role"]["Arn"])
    assert response["AssumedRoleUser"]["Arn"] == "arn:aws:sts::123456789012:assumed-role/deep/demo.app"


def test_credentials_work_on_a_moto_service(simulator: Sandbox, exchanger: Exchanger) -> None:
    s3 = simulator.boto3_client("s3", **exchanger.keys())
    s3.create_bucket(Bucket="proof", CreateBucketConfiguration={"LocationConstraint": simulator.region})
    s3.put_object(Bucket="proof", Key="key", Body=b"content")
    assert s3.get_object(Bucket="proof", Key="key")["Body"].read() == b"content"
    s3.close()


def test_caller_identity_is_the_assumed_role(simulator: Sandbox, exchanger: Exchanger) -> None:
    identity = caller_identity(simulator, exchanger.keys(RoleSessionName="who.am.i"))
    assert isinstance(identity, dict)
    assert identity["Arn"] == "arn:aws:sts::123456789012:assumed-role/app/who.am.i"
    assert identity["UserId"].endswith(":who.am.i")
    assert identity["Account"] == simulator.account_id


def test_expired_credentials_are_refused(simulator: Sandbox, exchanger: Exchanger, clock: ShiftedClock) -> None:
    keys = exchanger.keys(DurationSeconds=900)
    clock.offset = timedelta(seconds=901)
    expected = Refused(code="ExpiredToken", message="The security token included in the request is expired", status=403)
    assert caller_identity(simulator, keys) == expected


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"aws_access_key_id": "ASIANOBODYKNOWSTHIS1"}, "InvalidClientTokenId"),
        ({"aws_secret_access_key": "mangled"}, "SignatureDoesNotMatch"),
        ({"aws_session_token": "mangled"}, "InvalidClientTokenId"),
    ],
)
def test_wrong_credentials_are_refused(
    simulator: Sandbox, exchanger: Exchanger, change: dict[str, str], code: str
) -> None:
    response = caller_identity(simulator, exchanger.keys() | change)
    assert isinstance(response, Refused)
    assert (response.code, response.status) == (code, 403)


def test_unsigned_caller_identity_is_refused(simulator: Sandbox) -> None:
    client = unsigned_client(simulator)
    with pytest.raises(botocore.exceptions.ClientError, match="MissingAuthenticationToken"):
        client.get_caller_identity()
    client.close()


def test_user_key_is_forwarded_to_moto(simulator: Sandbox) -> None:
    simulator.iam.create_user(UserName="alice")
    key = simulator.iam.create_access_key(UserName="alice")["AccessKey"]
    keys = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    identity = caller_identity(simulator, keys)
    assert isinstance(identity, dict)
    assert identity["Arn"].endswith(":user/alice")


def test_session_lifetime_shortens_sessions(simulator: Sandbox) -> None:
    short = timedelta(seconds=20)
    with StsServer(account=simulator.account, addresses=simulator.addresses, session_lifetime=short) as sts:
        client = unsigned_client(simulator, endpoint=sts.url)
        issued = Exchanger(simulator, client).exchange(DurationSeconds=3600)["Credentials"]
        client.close()
    assert timedelta(seconds=17) < issued["Expiration"] - datetime.now(UTC) <= timedelta(seconds=20)


def test_calls_are_recorded_without_the_token(simulator: Sandbox, exchanger: Exchanger) -> None:
    token = simulator.issuer.mint()
    exchanger.exchange(WebIdentityToken=token, DurationSeconds=1200)
    (call,) = simulator.sts.calls
    assert call.action == "AssumeRoleWithWebIdentity"
    assert (call.role_arn, call.session_name, call.duration_seconds) == (simulator.role_arn, "demo.app", 1200)
    assert call.token_fingerprint == hashlib.sha256(token.encode()).hexdigest()[:12]
    assert (call.outcome, call.fault) == ("Success", None)
    assert token not in repr(call)


def test_record_of_a_refused_call_has_the_reason_that_the_response_lacks(
    simulator: Sandbox, exchanger: Exchanger
) -> None:
    token = simulator.issuer.mint(service_account="other")
    refusal = exchanger.refusal(WebIdentityToken=token)
    (call,) = simulator.sts.calls
    assert call.outcome == "AccessDenied"
    assert "found system:serviceaccount:demo:other" in call.reason
    assert "other" not in refusal.message


def test_waiting_for_calls_ends_when_they_arrive_or_at_the_timeout(simulator: Sandbox, exchanger: Exchanger) -> None:
    threading.Thread(target=exchanger.exchange).start()
    assert len(simulator.sts.wait_for_calls(1)) == 1
    with pytest.raises(TimeoutError, match="1 of 2"):
        simulator.sts.wait_for_calls(2, timeout=timedelta(milliseconds=10))
