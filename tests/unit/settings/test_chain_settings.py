"""What settings may say of chained roles, of the loopback endpoint and of `credential_process`."""

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
    """Load what a YAML file says."""

    def configured(text: str) -> Configuration:
        (tmp_path / "broker.yaml").write_text(text)
        return load({"BROKER_CONFIG": str(tmp_path / "broker.yaml")})

    return configured


@pytest.fixture
def faults(configured: Callable[[str], Configuration]) -> Callable[[str], tuple[str, ...]]:
    """Return the faults of BASE with one more profile, which the text describes."""

    def faults(more: str) -> tuple[str, ...]:
        with pytest.raises(ConfigurationError) as caught:
            configured(BASE + more)
        return caught.value.faults

    return faults


def chained(keys: str = "", role_arn: str = OTHER_ROLE) -> str:
    return f'  - {{name: other, role_arn: "{role_arn}", source_profile: default{keys}}}\n'


def test_every_key_of_a_chain_has_its_say(configured: Callable[[str], Configuration]) -> None:
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


def test_chained_role_takes_no_role_and_no_more_than_an_hour_from_the_defaults(
    configured: Callable[[str], Configuration], faults: Callable[[str], tuple[str, ...]]
) -> None:
    top = f'duration_seconds: 7200\nrole_arn: "{ROLE_ARN}"\nweb_identity_token_file: /t\naudience: own'
    default, other = configured(top + BASE + chained()).profiles
    assert (default.duration, other.duration) == (timedelta(hours=2), timedelta(hours=1))
    (fault,) = faults("  - {name: other, source_profile: default}\n" + f'role_arn: "{ROLE_ARN}"\n')
    assert fault == "profile other: no role: set role_arn in the profile itself"


def test_chained_role_takes_other_defaults(configured: Callable[[str], Configuration]) -> None:
    top = "role_session_name: mine\nduration_seconds: 1800\nrequired: false\n"
    _, other = configured(top + BASE + chained()).profiles
    assert (other.session_name, other.duration, other.required) == ("mine", timedelta(minutes=30), False)


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        (
            ", duration_seconds: 3601",
            "profile other: duration_seconds: 3601; sessions of chained roles last 3600 at most",
        ),
        (
            ", web_identity_token_file: /t",
            "profile other: web_identity_token_file: for a profile without source_profile alone: drop one of the two",
        ),
        (", audience: a", "profile other: audience: for a profile without source_profile alone: drop one of the two"),
        (", external_id: x", "write 2 to 1,224 letters, digits and any of +=,.@:/_-; found 'x'"),
        (", source_identity: a b", "write 2 to 64 letters, digits and any of +=,.@_-; found 'a b'"),
        (", tags: {a: [1]}", "tags.a: write text"),
        (", tags: {a: 1}", "tags.a: write text, in quotes where YAML takes it for something else; found '1'"),
        (", tags: [a]", "tags: write keys with their values"),
        (", tags: {a: b}, transitive_tag_keys: a", "transitive_tag_keys: write a list; found 'a'"),
        (
            ", tags: {'aws:a': b}",
            "'aws:a': a key is 1 to 128 letters, digits, spaces and any of _.:/=+-@, not beginning",
        ),
        (", tags: {'': b}", "'': a key is 1 to 128 letters"),
        (f", tags: {{{'k' * 129}: b}}", "a key is 1 to 128 letters"),
        (f", tags: {{k: {'v' * 257}}}", "k: a value is at most 256 letters"),
        (", tags: {k: 'a;b'}", "k: a value is at most 256 letters"),
        (", tags: {Team: a, team: b}", "team: two keys differ in capitals alone"),
        (f", tags: {{{', '.join(f'k{n}: v' for n in range(51))}}}", "51 tags; STS takes at most 50"),
        (
            ", transitive_tag_keys: [team]",
            "transitive_tag_keys: 'team' is none of the tags: add it there, or drop it here",
        ),
    ],
)
def test_what_sts_would_refuse_of_a_chain_is_refused_at_start(
    faults: Callable[[str], tuple[str, ...]], keys: str, fault: str
) -> None:
    (told,) = faults(chained(keys))
    assert fault in told


def test_keys_of_a_chain_without_a_source_are_refused(faults: Callable[[str], tuple[str, ...]]) -> None:
    told = faults(f'  - {{name: other, role_arn: "{OTHER_ROLE}", external_id: abc, tags: {{a: b}}}}\n')
    assert told == (
        "profile other: external_id: for a profile with source_profile alone: drop one of the two",
        "profile other: tags: for a profile with source_profile alone: drop one of the two",
    )


def test_source_that_is_no_profile_is_refused(faults: Callable[[str], tuple[str, ...]]) -> None:
    told = faults(f'  - {{name: other, role_arn: "{OTHER_ROLE}", source_profile: elsewhere}}\n')
    assert told == ("profile other: source_profile: no profile is named elsewhere; others are default",)


def test_circle_is_refused_once_and_what_hangs_on_it_not_at_all(faults: Callable[[str], tuple[str, ...]]) -> None:
    names = {"a": "b", "b": "c", "c": "a", "d": "a", "e": "e"}
    told = faults(
        "".join(f'  - {{name: {name}, role_arn: "{OTHER_ROLE}", source_profile: {to}}}\n' for name, to in names.items())
    )
    assert told == (
        "profile a: source_profile: a -> b -> c -> a is a circle: one of them must have a token of its own",
        "profile e: source_profile: e -> e is a circle: one of them must have a token of its own",
    )


def test_chain_into_another_partition_is_refused(faults: Callable[[str], tuple[str, ...]]) -> None:
    (told,) = faults(chained(", region: cn-north-1", "arn:aws-cn:iam::210987654321:role/other"))
    assert "role_arn is of partition aws-cn, that of default of aws: AWS has no chains" in told


def test_what_a_chain_inherits_cannot_be_set_anew(faults: Callable[[str], tuple[str, ...]]) -> None:
    last = f"""  - name: last
    role_arn: "{OTHER_ROLE}"
    source_profile: other
    tags: {{Team: red, stage: prod}}
    source_identity: him
"""
    keys = ", tags: {cost: low, team: blue, stage: test}, transitive_tag_keys: [cost, team], source_identity: me"
    told = faults(chained(keys) + last)
    identity, tag = told
    assert identity == "profile last: source_identity: profile other sets another, which goes on: drop this"
    assert tag.startswith(
        "profile last: tags: Team is a transitive tag of profile other, which cannot be set again: drop"
    )


def test_identity_that_a_chain_inherits_may_be_said_again(configured: Callable[[str], Configuration]) -> None:
    last = f'  - {{name: last, role_arn: "{OTHER_ROLE}", source_profile: other, source_identity: me}}\n'
    *_, profile = configured(BASE + chained(", source_identity: me") + last).profiles
    assert profile.chain is not None
    assert profile.chain.source_identity == "me"


def test_all_faults_of_chains_come_with_all_others(faults: Callable[[str], tuple[str, ...]]) -> None:
    told = faults(
        chained(", external_id: x").replace("source_profile: default", "source_profile: nobody") + "nope: 1\n"
    )
    assert len(told) == 3
    assert any("external_id" in each for each in told)
    assert any("no profile is named nobody" in each for each in told)
    assert any("nope" in each for each in told)


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
def test_endpoint_on_any_other_address_is_refused(address: str) -> None:
    environ = {"AWS_ROLE_ARN": ROLE_ARN, "AWS_REGION": "eu-west-1", "BROKER_ENDPOINT_ADDRESS": address}
    with pytest.raises(ConfigurationError, match=r"BROKER_ENDPOINT_ADDRESS: credentials are served on loopback only"):
        load(environ)


def test_default_profile_is_the_one_of_that_name_or_the_only_one(configured: Callable[[str], Configuration]) -> None:
    def names(*names: str) -> Configuration:
        return configured(
            "region: eu-west-1\nprofiles:\n" + "".join(f'  - {{name: {n}, role_arn: "{ROLE_ARN}"}}\n' for n in names)
        )

    assert names("a").default_profile == "a"
    assert names("a", "default").default_profile == "default"
    assert names("a", "b").default_profile == ""


@pytest.mark.parametrize("command", ["/bin/busybox cat {file}", "sts-broker credentials --profile {profile}"])
def test_process_command_names_file_or_profile(command: str) -> None:
    environ = {"AWS_ROLE_ARN": ROLE_ARN, "AWS_REGION": "eu-west-1", "BROKER_PUBLISH_PROCESS_COMMAND": command}
    assert load(environ).publish.process_command == command


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("cat /etc/aws", "it gives every profile the same: write {file} or {profile} in it"),
        ("ls {directory}", "it gives every profile the same"),
        ("cat {path}", "write {file}, {profile} or {directory} in it, and no other braces"),
        ("cat {file!r}", "and no other braces"),
        ("cat {file.x}", "and no other braces"),
        ("cat {}", "and no other braces"),
        ("cat {file", "and no other braces"),
        ("cat {file}\nrole_arn = x", "write one line of printable characters"),
    ],
)
def test_process_command_that_cannot_be_meant_is_refused(command: str, fault: str) -> None:
    environ = {"AWS_ROLE_ARN": ROLE_ARN, "AWS_REGION": "eu-west-1", "BROKER_PUBLISH_PROCESS_COMMAND": command}
    with pytest.raises(ConfigurationError, match="BROKER_PUBLISH_PROCESS_COMMAND") as caught:
        load(environ)
    assert fault in str(caught.value)
