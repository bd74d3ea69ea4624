"""The parameters that only AssumeRole has: invalid values, and the packed size of tags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.sandbox.role_chains import SOURCE, assume, refusal, tags
from tests.sandbox.sts_client import Exchanger, keys_of

if TYPE_CHECKING:
    from sandbox import Sandbox

TAG_PATTERN = r"regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]"
NAME_PATTERN = r"regular expression pattern: [\w+=,.@-]*"
MANY = {f"key{number}": "" for number in range(51)}


@pytest.fixture
def keys(simulator: Sandbox, exchanger: Exchanger) -> dict[str, str]:
    return exchanger.keys(RoleArn=simulator.create_role("source"))


@pytest.fixture
def arn(simulator: Sandbox) -> str:
    return simulator.create_role("chained", trust_policy=simulator.chain_trust(SOURCE))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"RoleSessionName": "a b"}, "at 'roleSessionName' failed"),
        ({"ExternalId": "x"}, "at 'externalId' failed to satisfy constraint: Member must have length greater"),
        ({"ExternalId": "x" * 1225}, "length less than or equal to 1224"),
        ({"ExternalId": "with space"}, r"regular expression pattern: [\w+=,.@:\/-]*"),
        ({"ExternalId": "dämon"}, "at 'externalId' failed"),
        ({"SourceIdentity": "x"}, "at 'sourceIdentity' failed to satisfy constraint: Member must have length greater"),
        ({"SourceIdentity": "x" * 65}, "length less than or equal to 64"),
        ({"SourceIdentity": "a b"}, NAME_PATTERN),
        ({"SourceIdentity": "aws:alice"}, NAME_PATTERN),
        (
            {"Tags": tags(**MANY)},
            "at 'tags' failed to satisfy constraint: Member must have length less than or equal to 50",
        ),
        ({"Tags": [{"Key": "", "Value": "x"}]}, "at 'tags.1.member.key' failed"),
        ({"Tags": [*tags(good="x"), {"Key": "k" * 129, "Value": "x"}]}, "at 'tags.2.member.key' failed"),
        ({"Tags": tags(key="v" * 257)}, "at 'tags.1.member.value' failed"),
        ({"Tags": [{"Key": "a#b", "Value": "x"}]}, TAG_PATTERN + "+"),
        ({"Tags": tags(key="tab\there")}, TAG_PATTERN + "*"),
        ({"Tags": [{"Key": "lonely"}]}, "Value 'null' at 'tags.1.member.value' failed"),
        ({"Tags": [{"Value": "lonely"}]}, "Value 'null' at 'tags.1.member.key' failed"),
        ({"TransitiveTagKeys": list(MANY)}, "at 'transitiveTagKeys' failed"),
        ({"TransitiveTagKeys": ["a#b"]}, "at 'transitiveTagKeys.1.member' failed"),
        ({"PolicyArns": [{"arn": "nonsense"}]}, "nonsense is invalid"),
        ({"DurationSeconds": 899}, "value greater than or equal to 900"),
    ],
)
def test_parameter_outside_the_model_is_a_validation_error(
    simulator: Sandbox, keys: dict[str, str], arn: str, parameters: dict[str, Any], message: str
) -> None:
    response = refusal(simulator, keys, arn, **parameters)
    assert (response.code, response.status) == ("ValidationError", 400)
    assert message in response.message


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"Tags": tags(team="a", Team="b")},
            "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
        ),
        (
            {"Tags": tags(team="a"), "TransitiveTagKeys": ["other"]},
            "The specified transitive tag key must be included in the requested tags.",
        ),
        ({"TransitiveTagKeys": ["team"]}, "The specified transitive tag key must be included in the requested tags."),
        ({"Tags": [{"Key": "AWS:team", "Value": "a"}]}, "Tag keys that begin with aws: are reserved."),
    ],
)
def test_tags_that_violate_a_rule_are_an_invalid_parameter_value(
    simulator: Sandbox, keys: dict[str, str], arn: str, parameters: dict[str, Any], message: str
) -> None:
    response = refusal(simulator, keys, arn, **parameters)
    assert (response.code, response.message, response.status) == ("InvalidParameterValue", message, 400)


@pytest.mark.parametrize(
    "parameters",
    [
        {"ExternalId": "x:/y"},
        {"ExternalId": "x" * 1224},
        {"SourceIdentity": "a+b=c,d.e@f-g_h"},
        {"Tags": tags(**dict(list(MANY.items())[:50]))},
        {"Tags": tags(clé="Grüße aus 東京", _="a.b:c/d=e+f-g@h")},
        {"Tags": tags(Team="x"), "TransitiveTagKeys": ["tEAM", "team"]},
        {"Tags": []},
    ],
)
def test_parameter_at_the_limit_of_the_model_is_accepted(
    simulator: Sandbox, keys: dict[str, str], arn: str, parameters: dict[str, Any]
) -> None:
    simulator.permit_chaining(SOURCE, [arn])
    assert assume(simulator, keys, arn, **parameters)


def test_record_has_the_request_without_tag_values_and_external_id(
    simulator: Sandbox, keys: dict[str, str], arn: str
) -> None:
    policy, arns = '{"Version": "2012-10-17", "Statement": []}', ["arn:aws:iam::aws:policy/ReadOnlyAccess"]
    passed = tags(team="azure", env="lilac")
    assert assume(
        simulator,
        keys,
        arn,
        Tags=passed,
        TransitiveTagKeys=["env"],
        ExternalId="agreed-upon",
        Policy=policy,
        PolicyArns=[{"arn": one} for one in arns],
        DurationSeconds=900,
    )
    call = simulator.sts.calls[-1]
    assert (call.role_arn, call.session_name, call.duration_seconds) == (arn, "hop", 900)
    assert (call.tag_keys, call.transitive_tag_keys) == (("team", "env"), ("env",))
    assert (call.has_external_id, call.has_policy, call.policy_arns) == (True, True, tuple(arns))
    assert not [secret for secret in ("agreed-upon", "azure", "lilac") if secret in repr(call)]


def test_malformed_session_policy_is_refused(simulator: Sandbox, keys: dict[str, str], arn: str) -> None:
    response = refusal(simulator, keys, arn, Policy="{bad")
    assert (response.code, response.status) == ("MalformedPolicyDocument", 400)


def test_tags_with_too_large_a_packed_size_are_refused_with_their_share(
    simulator: Sandbox, keys: dict[str, str], arn: str
) -> None:
    nine = tags(**{f"T{number}": "a" * 250 for number in range(9)})
    response = refusal(simulator, keys, arn, Tags=nine)
    assert (response.code, response.status) == ("PackedPolicyTooLarge", 400)
    assert response.message == "Packed size of session tags consumes 504% of allotted space."


def test_sizes_of_policies_and_tags_are_added(simulator: Sandbox, keys: dict[str, str], arn: str) -> None:
    policy = '{"Version": "2012-10-17", "Statement": []}'.ljust(1024)
    assert assume(simulator, keys, arn, Policy=policy, Tags=tags(key="v" * 177))["PackedPolicySize"] == 90
    response = refusal(simulator, keys, arn, Policy=policy, Tags=tags(key="v" * 250))
    assert response.message == "Packed policy consumes 106% of allotted space, please use smaller policy."


def test_inherited_tags_count_in_the_packed_size(simulator: Sandbox, exchanger: Exchanger) -> None:
    source = exchanger.keys(RoleArn=simulator.create_role("source"))
    middle = simulator.create_role("middle", trust_policy=simulator.chain_trust(SOURCE))
    last = simulator.create_role("chained", trust_policy=simulator.chain_trust(middle))
    response = assume(simulator, source, middle, Tags=tags(key="v" * 222), TransitiveTagKeys=["key"])
    assert assume(simulator, keys_of(response), last)["PackedPolicySize"] == 50
