"""Settings of chained roles, of the credentials endpoint and of `credential_process`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from broker.core.errors import ConfigurationError
from broker.core.model import ChainSpec, Configuration
from broker.settings.loader import load
from tests.support.fakes import ROLE_ARN

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OTHER_ROLE = "arn:aws:iam::210987654321:role/other"
BASE = f"""
region: eu-west-1
profiles:
  - {{name: default, role_arn: "{ROLE_ARN}"}}
"""


@pytest.fixture
def configured(tmp_path: Path) -> Callable[[str], Configuration]:
    """Return a function that loads the settings from the text of a YAML file."""

    def configured(text: str) -> Configuration:
        (tmp_path / "broker.yaml").write_text(text)
        return load({"BROKER_CONFIG": str(tmp_path / "broker.yaml")})

    return configured


@pytest.fixture
def faults(configured: Callable[[str], Configuration]) -> Callable[[str], tuple[str, ...]]:
    """Return a function that returns the faults of BASE with one more profile, given as YAML."""

    def faults(more: str) -> tuple[str, ...]:
        with pytest.raises(ConfigurationError) as caught:
            configured(BASE + more)
        return caught.value.faults

    return faults


def chained(keys: str = "", role_arn: str = OTHER_ROLE) -> str:
    return f'  - {{name: other, role_arn: "{role_arn}", source_profile: default{keys}}}\n'


def test_every_key_of_a_chain_sets_its_field(configured: Callable[[str], Configuration]) -> None:
    keys = ', external_id: "ext:1/2", tags: {team: blue, "cost center": "Zürich 7"}, transitive_tag_keys: [team]'
    configuration = configured(BASE + chained(f"{keys}, source_identity: app@demo"))
    assert configuration.profiles[1].role_arn == OTHER_ROLE
    assert configuration.profiles[1].chain == ChainSpec(
        source="default",
        external_id="ext:1/2",
        tags=(("team", "blue"), ("cost center", "Zürich 7")),
        transitive_tag_keys=("team",),
        source_identity="app@demo",
    )
    assert configuration.profiles[0].chain is None


def test_chained_role_does_not_use_the_default_role_and_is_limited_to_an_hour(
    configured: Callable[[str], Configuration], faults: Callable[[str], tuple[str, ...]]
) -> None:
    top = f'duration_seconds: 7200\nrole_arn: "{ROLE_ARN}"\nweb_identity_token_file: /t\naudience: own'
    default, other = configured(top + BASE + chained()).profiles
    assert (default.duration, other.duration) == (timedelta(hours=2), timedelta(hours=1))
    (fault,) = faults("  - {name: other, source_profile: default}\n" + f'role_arn: "{ROLE_ARN}"\n')
    assert fault == (
        "profile other: role_arn: not set; a chained role does not use the default, "
        "so set role_arn in the profile itself"
    )


def test_chained_role_uses_the_other_defaults(configured: Callable[[str], Configuration]) -> None:
    top = "role_session_name: mine\nduration_seconds: 1800\nrequired: false\n"
    _, other = configured(top + BASE + chained()).profiles
    assert (other.session_name, other.duration, other.required) == ("mine", timedelta(minutes=30), False)


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        (
            ", duration_seconds: 3601",
            "profile other: duration_seconds: 3601 is too long; a chained role's session is limited to 3600",
        ),
        (
            ", web_identity_token_file: /t",
            "profile other: web_identity_token_file: cannot be combined with source_profile; remove one of them",
        ),
        (", audience: a", "profile other: audience: cannot be combined with source_profile; remove one of them"),
        (", external_id: x", "expected 2 to 1,224 letters, digits and any of +=,.@:/_-; found 'x'"),
        (", source_identity: a b", "expected 2 to 64 letters, digits and any of +=,.@_-; found 'a b'"),
        (", tags: {a: [1]}", "tags.a: expected text"),
        (", tags: {a: 1}", "tags.a: expected text; put it in quotes if YAML reads it as another type; found '1'"),
        (", tags: [a]", "tags: expected keys with values"),
        (", tags: {a: b}, transitive_tag_keys: a", "transitive_tag_keys: expected a list; found 'a'"),
        (
            ", tags: {'aws:a': b}",
            "'aws:a' is not a tag key; expected 1 to 128 letters, digits, spaces and any of _.:/=+-@, not starting",
        ),
        (", tags: {'': b}", "'' is not a tag key; expected 1 to 128 letters"),
        (f", tags: {{{'k' * 129}: b}}", "is not a tag key; expected 1 to 128 letters"),
        (f", tags: {{k: {'v' * 257}}}", "k: expected a value of at most 256 letters"),
        (", tags: {k: 'a;b'}", "k: expected a value of at most 256 letters"),
        (", tags: {Team: a, team: b}", "team: two keys differ only in case"),
        (f", tags: {{{', '.join(f'k{n}: v' for n in range(51))}}}", "has 51 tags; STS accepts at most 50"),
        (
            ", transitive_tag_keys: [team]",
            "transitive_tag_keys: 'team' is not in tags; add it to tags, or remove it here",
        ),
    ],
)
def test_chain_that_sts_would_reject_is_rejected_at_start(
    faults: Callable[[str], tuple[str, ...]], keys: str, fault: str
) -> None:
    (found,) = faults(chained(keys))
    assert fault in found


def test_keys_of_a_chain_without_a_source_are_rejected(faults: Callable[[str], tuple[str, ...]]) -> None:
    found = faults(f'  - {{name: other, role_arn: "{OTHER_ROLE}", external_id: abc, tags: {{a: b}}}}\n')
    assert found == (
        "profile other: external_id: needs source_profile; set source_profile, or remove external_id",
        "profile other: tags: needs source_profile; set source_profile, or remove tags",
    )


def test_source_that_is_not_a_profile_is_rejected_with_the_nearest_name(
    faults: Callable[[str], tuple[str, ...]],
) -> None:
    found = faults(f'  - {{name: other, role_arn: "{OTHER_ROLE}", source_profile: defualt}}\n')
    assert found == ("profile other: source_profile: there is no profile defualt (did you mean default?)",)


def test_cycle_is_reported_once_and_profiles_that_depend_on_it_are_not(
    faults: Callable[[str], tuple[str, ...]],
) -> None:
    names = {"a": "b", "b": "c", "c": "a", "d": "a", "e": "e"}
    found = faults(
        "".join(f'  - {{name: {name}, role_arn: "{OTHER_ROLE}", source_profile: {to}}}\n' for name, to in names.items())
    )
    assert found == (
        "profile a: source_profile: a -> b -> c -> a is a cycle; remove source_profile from one of them",
        "profile e: source_profile: e -> e is a cycle; remove source_profile from one of them",
    )


def test_chain_into_another_partition_is_rejected(faults: Callable[[str], tuple[str, ...]]) -> None:
    (found,) = faults(chained(", region: cn-north-1", "arn:aws-cn:iam::210987654321:role/other"))
    assert "role_arn is in partition aws-cn, but the role of default is in partition aws; AWS does not support" in found


def test_value_that_a_chain_inherits_cannot_be_changed(faults: Callable[[str], tuple[str, ...]]) -> None:
    last = f"""  - name: last
    role_arn: "{OTHER_ROLE}"
    source_profile: other
    tags: {{Team: red, stage: prod}}
    source_identity: him
"""
    keys = ", tags: {cost: low, team: blue, stage: test}, transitive_tag_keys: [cost, team], source_identity: me"
    identity, tag = faults(chained(keys) + last)
    assert identity == (
        "profile last: source_identity: differs from the source identity that it inherits from profile other; remove it"
    )
    assert tag.startswith(
        "profile last: tags: Team is inherited from profile other, where it is transitive, and cannot be set again"
    )


def test_source_identity_equal_to_the_inherited_one_is_accepted(configured: Callable[[str], Configuration]) -> None:
    last = f'  - {{name: last, role_arn: "{OTHER_ROLE}", source_profile: other, source_identity: me}}\n'
    *_, profile = configured(BASE + chained(", source_identity: me") + last).profiles
    assert profile.chain is not None
    assert profile.chain.source_identity == "me"


def test_faults_of_chains_are_reported_with_all_others(faults: Callable[[str], tuple[str, ...]]) -> None:
    found = faults(
        chained(", external_id: x").replace("source_profile: default", "source_profile: nobody") + "nope: 1\n"
    )
    assert len(found) == 3
    assert any("external_id" in each for each in found)
    assert any("there is no profile nobody" in each for each in found)
    assert any("nope" in each for each in found)


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("127.1.2.3:80", "127.1.2.3", 80),
        ("localhost:9912", "127.0.0.1", 9912),
        ("[::1]:9911", "::1", 9911),
        ("::1:9911", "::1", 9911),
    ],
)
def test_endpoint_listens_on_any_loopback_address(address: str, host: str, port: int) -> None:
    configuration = load({"AWS_ROLE_ARN": ROLE_ARN, "AWS_REGION": "eu-west-1", "BROKER_ENDPOINT_ADDRESS": address})
    assert (configuration.endpoint_host, configuration.endpoint_port) == (host, port)


@pytest.mark.parametrize("address", ["0.0.0.0:9911", "*:9911", "[::]:9911", "10.0.0.1:9911", "app:9911", "[fe80::1]:1"])
def test_endpoint_on_any_other_address_is_rejected(address: str) -> None:
    environ = {"AWS_ROLE_ARN": ROLE_ARN, "AWS_REGION": "eu-west-1", "BROKER_ENDPOINT_ADDRESS": address}
    with pytest.raises(ConfigurationError, match=r"BROKER_ENDPOINT_ADDRESS: credentials are served on loopback only"):
        load(environ)


def test_default_profile_is_the_one_named_default_or_the_only_one(configured: Callable[[str], Configuration]) -> None:
    def names(*names: str) -> Configuration:
        return configured(
            "region: eu-west-1\nprofiles:\n" + "".join(f'  - {{name: {n}, role_arn: "{ROLE_ARN}"}}\n' for n in names)
        )

    assert names("a").default_profile == "a"
    assert names("a", "default").default_profile == "default"
    assert names("a", "b").default_profile == ""


@pytest.mark.parametrize("command", ["/bin/busybox cat {file}", "sts-broker credentials --profile {profile}"])
def test_process_command_with_file_or_profile_is_accepted(command: str) -> None:
    environ = {"AWS_ROLE_ARN": ROLE_ARN, "AWS_REGION": "eu-west-1", "BROKER_PUBLISH_PROCESS_COMMAND": command}
    assert load(environ).publish.process_command == command


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("cat /etc/aws", "would be the same command for every profile; add {file} or {profile}"),
        ("ls {directory}", "would be the same command for every profile"),
        ("cat {path}", "expected {file}, {profile} or {directory}, and no other braces"),
        ("cat {file!r}", "and no other braces"),
        ("cat {file.x}", "and no other braces"),
        ("cat {}", "and no other braces"),
        ("cat {file", "and no other braces"),
        ("cat {file}\nrole_arn = x", "expected one line of printable characters"),
    ],
)
def test_unusable_process_command_is_rejected(command: str, fault: str) -> None:
    environ = {"AWS_ROLE_ARN": ROLE_ARN, "AWS_REGION": "eu-west-1", "BROKER_PUBLISH_PROCESS_COMMAND": command}
    with pytest.raises(ConfigurationError, match="BROKER_PUBLISH_PROCESS_COMMAND") as caught:
        load(environ)
    assert fault in str(caught.value)
