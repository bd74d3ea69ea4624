"""AssumeRole with credentials of an earlier exchange: role chaining."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import botocore.exceptions
import pytest
from moto.iam.models import iam_backends

from sandbox import faults
from tests.sandbox.asking import Asker, refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox import Sandbox


def trusting(principal: dict[str, Any], **condition: Any) -> dict[str, Any]:  # noqa: ANN401 - a JSON value
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", "Condition": condition}
    return {"Version": "2012-10-17", "Statement": statement}


@pytest.fixture
def source(box: Sandbox, asker: Asker) -> Iterator[Any]:
    client = box.boto3_client("sts", endpoint_url=box.sts.url, **asker.keys())
    yield client
    client.close()


@pytest.mark.parametrize(
    "principal",
    ["arn:aws:iam::123456789012:role/app", "arn:aws:iam::123456789012:root", "123456789012", "*"],
)
def test_trusted_session_gets_a_chained_session(box: Sandbox, source: Any, principal: str) -> None:  # noqa: ANN401
    arn = box.create_role("chained", trust_policy=trusting({"AWS": [principal]}))
    answer = source.assume_role(RoleArn=arn, RoleSessionName="hop")
    assert answer["AssumedRoleUser"]["Arn"] == "arn:aws:sts::123456789012:assumed-role/chained/hop"
    assert box.sts.calls[-1].action == "AssumeRole"


def test_untrusted_session_is_denied(box: Sandbox, source: Any) -> None:  # noqa: ANN401
    arn = box.create_role("chained", trust_policy=trusting({"AWS": "arn:aws:iam::123456789012:role/other"}))
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        source.assume_role(RoleArn=arn, RoleSessionName="hop")
    refusal = refused(caught.value)
    assert (refusal.code, refusal.status) == ("AccessDenied", 403)
    assert refusal.message == (
        "User: arn:aws:sts::123456789012:assumed-role/app/demo.app is not authorized to perform: sts:AssumeRole "
        f"on resource: {arn}"
    )


def test_external_id_has_to_fit(box: Sandbox, source: Any) -> None:  # noqa: ANN401
    policy = trusting({"AWS": "123456789012"}, StringEquals={"sts:ExternalId": "agreed"})
    arn = box.create_role("chained", trust_policy=policy)
    assert source.assume_role(RoleArn=arn, RoleSessionName="hop", ExternalId="agreed")
    for wrong in ({}, {"ExternalId": "guessed"}):
        with pytest.raises(botocore.exceptions.ClientError, match="AccessDenied"):
            source.assume_role(RoleArn=arn, RoleSessionName="hop", **wrong)


def test_chained_session_lasts_an_hour_at_most(box: Sandbox, source: Any) -> None:  # noqa: ANN401
    policy = trusting({"AWS": "123456789012"})
    arn = box.create_role("chained", trust_policy=policy, max_session=timedelta(hours=12))
    with pytest.raises(
        botocore.exceptions.ClientError, match="1 hour session limit for roles assumed by role chaining"
    ):
        source.assume_role(RoleArn=arn, RoleSessionName="hop", DurationSeconds=3601)


def test_web_identity_role_cannot_be_had_by_chaining(box: Sandbox, source: Any) -> None:  # noqa: ANN401
    with pytest.raises(botocore.exceptions.ClientError, match="AccessDenied"):
        source.assume_role(RoleArn=box.role_arn, RoleSessionName="hop")


def test_faults_of_chained_exchanges_are_scripted_apart(box: Sandbox, asker: Asker, source: Any) -> None:  # noqa: ANN401
    arn = box.create_role("chained", trust_policy=trusting({"AWS": "123456789012"}))
    box.sts.script(faults.THROTTLING, action="AssumeRole")
    assert asker.exchange()
    with pytest.raises(botocore.exceptions.ClientError, match="Throttling"):
        source.assume_role(RoleArn=arn, RoleSessionName="hop")


def test_stored_trust_policy_that_cannot_be_read_denies(box: Sandbox, asker: Asker) -> None:
    arn = box.create_role("odd")
    role = iam_backends[box.account_id]["aws"].get_role("odd")
    role.assume_role_policy_document = '{"Version": "2012-10-17"}'  # no client of moto's could store it
    assert asker.refusal(RoleArn=arn).code == "AccessDenied"
    assert "Statement" in box.sts.calls[0].reason
