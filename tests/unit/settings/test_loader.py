"""Loading settings: accepted and rejected values, and that all faults are reported at once by the name to change."""

from __future__ import annotations

import gc
import json
import os
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from broker.core.errors import ConfigurationError
from broker.core.model import Configuration, PublishSpec, StsSpec
from broker.settings.loader import load
from broker.settings.validators import MAXIMUM_POLICY_LENGTH
from broker.settings.variables import ENVIRONMENT
from broker.settings.yaml_file import MAXIMUM_FILE_BYTES, read_mapping
from tests.support.fakes import ROLE_ARN, make_jwt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

MINIMUM = {"AWS_ROLE_ARN": ROLE_ARN, "AWS_REGION": "eu-west-1"}
POLICY = '{"Version":"2012-10-17","Statement":[]}'


def faults_of(environ: Mapping[str, str]) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        load(environ)
    return caught.value.faults


def fault_of(environ: Mapping[str, str]) -> str:
    (fault,) = faults_of(environ)
    return fault


@pytest.fixture(autouse=True)
def _disable_garbage_collection() -> Iterator[None]:
    """Prevent that objects of other tests are finalized at the bottom of a deep recursion, where finalizers fail."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """Write the YAML file; return the environment that names it."""

    def write(text: str) -> dict[str, str]:
        (tmp_path / "broker.yaml").write_text(text)
        return {"BROKER_CONFIG": str(tmp_path / "broker.yaml")}

    return write


class TestEnvironment:
    """Single environment variables."""

    @pytest.mark.parametrize(
        ("partition", "region"), [("aws", "eu-west-1"), ("aws-cn", "cn-north-1"), ("aws-us-gov", "us-gov-west-1")]
    )
    def test_audience_is_the_same_in_every_partition(self, partition: str, region: str) -> None:
        role = ROLE_ARN.replace("arn:aws:", f"arn:{partition}:")
        (profile,) = load({"AWS_ROLE_ARN": role, "AWS_REGION": region}).profiles
        assert profile.audience == "sts.amazonaws.com"

    def test_token_instead_of_its_path_is_rejected_and_not_quoted(self) -> None:
        token = make_jwt()
        fault = fault_of({**MINIMUM, "AWS_WEB_IDENTITY_TOKEN_FILE": token})
        assert fault == "AWS_WEB_IDENTITY_TOKEN_FILE: expected an absolute path; found '<redacted>'"

    def test_pod_mutated_by_the_eks_webhook_needs_no_other_settings(self) -> None:
        (profile,) = load(
            {**MINIMUM, "AWS_WEB_IDENTITY_TOKEN_FILE": "/token", "AWS_STS_REGIONAL_ENDPOINTS": "legacy"}
        ).profiles
        assert profile.name == "default"
        assert profile.role_arn == ROLE_ARN
        assert profile.region == "eu-west-1"
        assert profile.token_file == "/token"

    def test_defaults_match_the_documentation(self) -> None:
        configuration = load(MINIMUM)
        (profile,) = configuration.profiles
        assert profile.token_file == "/var/run/secrets/sts.amazonaws.com/token"
        assert profile.audience == "sts.amazonaws.com"
        assert profile.session_name is None
        assert profile.duration == timedelta(hours=1)
        assert (profile.session_policy, profile.policy_arns, profile.required) == (None, (), True)
        assert configuration == Configuration(profiles=(profile,))
        assert configuration.sts == StsSpec()
        assert configuration.publish == PublishSpec()

    def test_every_variable_sets_its_setting(self, tmp_path: Path) -> None:
        bundle = tmp_path / "ca.pem"
        bundle.touch()
        configuration = load(
            {
                **MINIMUM,
                "AWS_WEB_IDENTITY_TOKEN_FILE": "/token",
                "AWS_ROLE_SESSION_NAME": "name",
                "AWS_USE_FIPS_ENDPOINT": "true",
                "AWS_USE_DUALSTACK_ENDPOINT": "true",
                "AWS_CA_BUNDLE": str(bundle),
                "BROKER_AUDIENCE": "other",
                "BROKER_DURATION_SECONDS": "7200",
                "BROKER_SESSION_POLICY": POLICY,
                "BROKER_POLICY_ARNS": "arn:aws:iam::aws:policy/A, arn:aws:iam::123456789012:policy/b/C,",
                "BROKER_PUBLISH_DIRECTORY": "/creds/",
                "BROKER_PUBLISH_MODE": "0440",
                "BROKER_PUBLISH_GROUP": "2000",
                "BROKER_PUBLISH_ENV": "yes",
                "BROKER_MINIMUM_INTERVAL_SECONDS": "30",
                "BROKER_HEALTH_ADDRESS": "[::1]:8080",
                "BROKER_LOG_FORMAT": "json",
                "BROKER_LOG_LEVEL": "debug",
            }
        )
        (profile,) = configuration.profiles
        assert configuration.sts == StsSpec(use_fips=True, use_dualstack=True, ca_bundle=str(bundle))
        assert configuration.publish == PublishSpec(directory="/creds", mode=0o440, group=2000, env=True)
        assert (configuration.health_host, configuration.health_port) == ("::1", 8080)
        assert (configuration.log_format, configuration.log_level) == ("json", "debug")
        assert configuration.minimum_interval == timedelta(seconds=30)
        assert (profile.audience, profile.session_name, profile.duration) == ("other", "name", timedelta(hours=2))
        assert profile.session_policy == POLICY
        assert profile.policy_arns == ("arn:aws:iam::aws:policy/A", "arn:aws:iam::123456789012:policy/b/C")

    @pytest.mark.parametrize("name", [variable.name for variable in ENVIRONMENT])
    @pytest.mark.parametrize("blank", ["", "  "])
    def test_empty_variable_counts_as_not_set(self, name: str, blank: str) -> None:
        if name in MINIMUM:
            assert f"({name}): not set" in faults_of({**MINIMUM, name: blank})[0]
        else:
            assert load({**MINIMUM, name: blank}) == load(MINIMUM)

    def test_aws_region_takes_precedence_over_aws_default_region(self) -> None:
        assert load({**MINIMUM, "AWS_DEFAULT_REGION": "us-east-1"}).profiles[0].region == "eu-west-1"

    def test_aws_default_region_alone_sets_the_region(self) -> None:
        environ = {"AWS_ROLE_ARN": ROLE_ARN, "AWS_DEFAULT_REGION": "us-east-1", "AWS_REGION": ""}
        assert load(environ).profiles[0].region == "us-east-1"

    def test_missing_region_is_a_fault(self) -> None:
        """Without a Region, botocore would call the global endpoint."""
        assert fault_of({"AWS_ROLE_ARN": ROLE_ARN}).startswith("region (AWS_REGION): not set; set it to a Region")

    def test_missing_role_is_a_fault(self) -> None:
        assert fault_of({"AWS_REGION": "eu-west-1"}) == (
            "role_arn (AWS_ROLE_ARN): not set; set it to the ARN of the role to assume"
        )

    @pytest.mark.parametrize(
        ("name", "nearest"),
        [
            ("BROKER_PUBLISH_DIR", "BROKER_PUBLISH_DIRECTORY"),
            ("BROKER_DURATON_SECONDS", "BROKER_DURATION_SECONDS"),
            ("BROKER_LOGLEVEL", "BROKER_LOG_LEVEL"),
            ("BROKER_ROLE_ARN", "AWS_ROLE_ARN"),
            ("BROKER_CONFG", "BROKER_CONFIG"),
        ],
    )
    def test_misspelled_variable_is_a_fault_with_the_nearest_name(self, name: str, nearest: str) -> None:
        assert fault_of({**MINIMUM, name: "hush"}) == f"{name}: unknown setting (did you mean {nearest}?)"

    def test_unknown_variable_with_no_similar_name_is_a_fault_without_its_value(self) -> None:
        fault = fault_of({**MINIMUM, "BROKER_KAFKA": "hush"})
        assert fault == "BROKER_KAFKA: unknown setting; remove it, or correct its name"

    @pytest.mark.parametrize(
        "name",
        [
            "BROKER_PORT",
            "BROKER_SERVICE_HOST",
            "BROKER_SERVICE_PORT",
            "BROKER_SERVICE_PORT_HTTP",
            "BROKER_PORT_80_TCP",
            "BROKER_PORT_80_TCP_ADDR",
            "BROKER_PORT_80_TCP_PORT",
            "BROKER_PORT_80_TCP_PROTO",
            "BROKER_PORT_53_UDP_ADDR",
            "BROKER_FOO_SERVICE_HOST",
            "BROKER_FOO_SERVICE_PORT",
            "BROKER_FOO_BAR_PORT_8080_TCP_ADDR",
        ],
    )
    def test_service_link_of_kubernetes_is_ignored(self, name: str) -> None:
        """Kubernetes sets these in every pod of a namespace with a Service named `broker`."""
        assert load({**MINIMUM, name: "tcp://10.0.0.1:80"}) == load(MINIMUM)

    def test_variables_of_other_programs_are_ignored(self) -> None:
        assert load({**MINIMUM, "AWS_PROFILE": "x", "BROKERAGE": "x", "PATH": "/bin"}) == load(MINIMUM)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("AWS_ROLE_ARN", "app"),
            ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:user/app"),
            ("AWS_ROLE_ARN", "arn:aws:iam::123:role/app"),
            ("AWS_REGION", "Ireland"),
            ("AWS_REGION", "aws-global"),
            ("AWS_REGION", "eu-west-1\n2"),
            ("AWS_REGION", "\udcff"),
            ("AWS_ROLE_SESSION_NAME", "a"),
            ("AWS_ROLE_SESSION_NAME", "a b"),
            ("AWS_ROLE_SESSION_NAME", "x" * 65),
            ("AWS_ENDPOINT_URL_STS", "sts.example"),
            ("AWS_ENDPOINT_URL_STS", "ftp://sts.example"),
            ("AWS_ENDPOINT_URL_STS", "https://sts.example/path"),
            ("AWS_ENDPOINT_URL_STS", "https://sts.example?x"),
            ("AWS_ENDPOINT_URL_STS", "https://sts.example:port"),
            ("AWS_ENDPOINT_URL_STS", "https://sts.example:99999"),
            ("AWS_ENDPOINT_URL_STS", "https://:443"),
            ("AWS_ENDPOINT_URL_STS", "https://sts.example:0"),
            ("AWS_ENDPOINT_URL_STS", "http://my_sts:4566"),
            ("AWS_ENDPOINT_URL_STS", "https://-sts.example"),
            ("AWS_ENDPOINT_URL_STS", "https://sts..example"),
            ("AWS_ENDPOINT_URL_STS", "https://[::1"),
            ("AWS_USE_FIPS_ENDPOINT", "perhaps"),
            ("AWS_CA_BUNDLE", "/no/such/file"),
            ("BROKER_AUDIENCE", "x" * 256),
            ("BROKER_DURATION_SECONDS", "899"),
            ("BROKER_DURATION_SECONDS", "43201"),
            ("BROKER_DURATION_SECONDS", "an hour"),
            ("BROKER_SESSION_POLICY", "{"),
            ("BROKER_POLICY_ARNS", "ReadOnlyAccess"),
            ("BROKER_POLICY_ARNS", ",".join(["arn:aws:iam::aws:policy/A"] * 11)),
            ("BROKER_PUBLISH_DIRECTORY", "relative"),
            ("BROKER_PUBLISH_DIRECTORY", "/with space"),
            ("BROKER_PUBLISH_DIRECTORY", "/with'quote"),
            ("BROKER_PUBLISH_MODE", "0777"),
            ("BROKER_PUBLISH_GROUP", "-1"),
            ("BROKER_PUBLISH_GROUP", "4294967295"),
            ("BROKER_PUBLISH_GROUP", "staff"),
            ("BROKER_PUBLISH_ENV", "2"),
            ("BROKER_MINIMUM_INTERVAL_SECONDS", "0"),
            ("BROKER_MINIMUM_INTERVAL_SECONDS", "3601"),
            ("BROKER_LOG_FORMAT", "xml"),
            ("BROKER_LOG_LEVEL", "INFO"),
        ],
    )
    def test_invalid_value_is_rejected_by_the_name_of_its_variable(self, name: str, value: str) -> None:
        assert fault_of({**MINIMUM, name: value}).startswith(f"{name}: ")

    @pytest.mark.parametrize(
        ("value", "host", "port"),
        [
            ("*:9910", "", 9910),
            ("127.0.0.1:0", "127.0.0.1", 0),
            ("[::1]:9910", "::1", 9910),
            ("::1:9910", "::1", 9910),
            ("localhost:80", "localhost", 80),
        ],
    )
    def test_health_address_is_host_and_port(self, value: str, host: str, port: int) -> None:
        configuration = load({**MINIMUM, "BROKER_HEALTH_ADDRESS": value})
        assert (configuration.health_host, configuration.health_port) == (host, port)

    @pytest.mark.parametrize(
        "value",
        ["9910", ":9910", "*:", "*:http", "*:65536", "*:-1", "*:²", "*:" + "9" * 5000, "a b:1", "[]:1", "a\0:1"],
    )
    def test_invalid_health_address_is_rejected(self, value: str) -> None:
        assert "expected HOST:PORT" in fault_of({**MINIMUM, "BROKER_HEALTH_ADDRESS": value})

    @pytest.mark.parametrize("value", ["640", "0640", "0o640", "o640"])
    def test_mode_is_octal_in_every_notation(self, value: str) -> None:
        assert load({**MINIMUM, "BROKER_PUBLISH_MODE": value}).publish.mode == 0o640

    @pytest.mark.parametrize("name", ["AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"])
    def test_custom_endpoint_with_fips_or_dualstack_is_rejected(self, name: str) -> None:
        """Botocore would call the custom endpoint without complaint."""
        fault = fault_of({**MINIMUM, "AWS_ENDPOINT_URL_STS": "https://sts.example", name: "true"})
        assert "AWS_ENDPOINT_URL_STS" in fault
        assert name in fault

    @pytest.mark.parametrize("url", ["https://sts.example", "http://127.0.0.1:4566/", "https://[::1]:443"])
    def test_custom_endpoint_loses_its_trailing_slash(self, url: str) -> None:
        assert load({**MINIMUM, "AWS_ENDPOINT_URL_STS": url}).sts.endpoint_url == url.rstrip("/")

    def test_password_in_a_url_is_rejected_and_not_quoted(self) -> None:
        fault = fault_of({**MINIMUM, "AWS_ENDPOINT_URL_STS": "https://me:hush@sts.example"})
        assert "without user" in fault
        assert "hush" not in fault


class TestPlainHttp:
    """The token and the credentials must not cross a network unencrypted."""

    @pytest.mark.parametrize(
        "url",
        ["http://localstack:4566", "http://10.0.0.1", "http://0.0.0.0:80", "http://127.0.0.1.example", "http://[::2]"],
    )
    def test_another_host_is_a_fault_that_says_why(self, url: str) -> None:
        assert fault_of({**MINIMUM, "AWS_ENDPOINT_URL_STS": url}) == (
            "AWS_ENDPOINT_URL_STS: plain HTTP would send the token and the credentials across the network unencrypted; "
            f"expected https://, or a loopback host such as 127.0.0.1; found {url!r}"
        )

    def test_key_of_the_file_is_named(self, write: Callable[[str], dict[str, str]]) -> None:
        environ = write("sts: {endpoint_url: 'http://localstack:4566'}\n")
        assert "sts.endpoint_url" in fault_of({**MINIMUM, **environ})

    @pytest.mark.parametrize(
        "url", ["http://127.0.0.1:4566", "http://127.1.2.3", "http://[::1]:4566", "http://localhost"]
    )
    def test_loopback_is_accepted(self, url: str) -> None:
        assert load({**MINIMUM, "AWS_ENDPOINT_URL_STS": url}).sts.endpoint_url == url


class TestPartitions:
    """Role, Region and policies must belong together."""

    @pytest.mark.parametrize(
        ("partition", "region"),
        [
            ("aws", "eu-west-1"),
            ("aws-cn", "cn-north-1"),
            ("aws-us-gov", "us-gov-west-1"),
            ("aws-iso", "us-iso-east-1"),
            ("aws-iso-b", "us-isob-east-1"),
            ("aws-iso-e", "eu-isoe-west-1"),
            ("aws-iso-f", "us-isof-south-1"),
            ("aws-eusc", "eusc-de-east-1"),
        ],
    )
    def test_role_in_the_partition_of_the_region_is_accepted(self, partition: str, region: str) -> None:
        arn = f"arn:{partition}:iam::123456789012:role/app"
        assert load({"AWS_ROLE_ARN": arn, "AWS_REGION": region}).profiles[0].role_arn == arn

    @pytest.mark.parametrize(
        ("partition", "region"), [("aws", "cn-north-1"), ("aws-cn", "eu-west-1"), ("aws-us-gov", "us-west-1")]
    )
    def test_role_in_another_partition_is_rejected(self, partition: str, region: str) -> None:
        fault = fault_of({"AWS_ROLE_ARN": f"arn:{partition}:iam::123456789012:role/app", "AWS_REGION": region})
        assert f"role_arn is in partition {partition}, but region {region} is in partition" in fault

    def test_custom_endpoint_accepts_roles_of_any_partition(self) -> None:
        environ = {"AWS_ROLE_ARN": "arn:minio:iam:::role/app", "AWS_ENDPOINT_URL_STS": "https://minio.example"}
        assert load({**environ, "AWS_REGION": "us-east-1"}).profiles[0].role_arn == "arn:minio:iam:::role/app"

    def test_managed_policy_of_another_account_is_rejected(self) -> None:
        fault = fault_of({**MINIMUM, "BROKER_POLICY_ARNS": "arn:aws:iam::210987654321:policy/A"})
        assert "arn:aws:iam::210987654321:policy/A is not in the role's account 123456789012" in fault


class TestSessionPolicy:
    """Session policies: as text, in a file, and as YAML."""

    @pytest.mark.parametrize(("length", "is_accepted"), [(MAXIMUM_POLICY_LENGTH, True), (2049, False)])
    def test_policy_has_at_most_2048_characters(self, length: int, *, is_accepted: bool) -> None:
        document = {"Statement": "x" * (length - len('{"Statement":""}'))}
        text = json.dumps(document, separators=(",", ":"))
        assert len(text) == length
        environ = {**MINIMUM, "BROKER_SESSION_POLICY": text}
        if is_accepted:
            assert load(environ).profiles[0].session_policy == text
        else:
            assert "has 2,049 characters without white space" in fault_of(environ)

    @pytest.mark.parametrize("indent", [2, "\t", 400])
    def test_white_space_of_json_is_not_sent_and_not_counted(self, tmp_path: Path, indent: int | str) -> None:
        document = {
            "Version": "2012-10-17",
            "Statement": [{"Sid": "a  b", "Effect": "Allow", "Action": ["s3:\\" + "x"]}],
        }
        text = json.dumps(document, indent=indent).replace("\n", "\r\n")
        compact = json.dumps(document, separators=(",", ":"))
        (tmp_path / "policy.json").write_text(text)
        for key, value in (("", text), ("_FILE", str(tmp_path / "policy.json"))):
            assert load({**MINIMUM, f"BROKER_SESSION_POLICY{key}": value}).profiles[0].session_policy == compact

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ('{"Statement":"' + "x" * MAXIMUM_POLICY_LENGTH + '"}', "STS accepts at most 2,048"),
            ("{", "not valid JSON"),
            ("[" * 2000, "not valid JSON"),
            ("[]", "not an IAM policy"),
            ('{"Version":"2012-10-17"}', "not an IAM policy"),
            ('{"Statement":"\u0100"}', "a character that STS rejects"),
            ('{"Statement":NaN}', "not valid JSON"),
        ],
    )
    def test_policy_that_sts_would_reject_is_rejected(self, text: str, problem: str) -> None:
        fault = fault_of({**MINIMUM, "BROKER_SESSION_POLICY": text})
        assert fault.startswith("BROKER_SESSION_POLICY: ")
        assert problem in fault

    def test_policy_file_is_read(self, tmp_path: Path) -> None:
        (tmp_path / "policy.json").write_text(f"{POLICY}\n")
        environ = {**MINIMUM, "BROKER_SESSION_POLICY_FILE": str(tmp_path / "policy.json")}
        assert load(environ).profiles[0].session_policy == POLICY

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            (b"{", "not valid JSON"),
            (b"\xff\xfe", "decode"),
            (b'{"Statement":"' + b"x" * 9000 + b'"}', "STS accepts at most 2,048"),
            (None, "No such file"),
        ],
    )
    def test_unusable_policy_file_is_a_fault_that_names_it(
        self, tmp_path: Path, content: bytes | None, problem: str
    ) -> None:
        path = tmp_path / "policy.json"
        if content is not None:
            path.write_bytes(content)
        fault = fault_of({**MINIMUM, "BROKER_SESSION_POLICY_FILE": str(path)})
        cannot = "" if content is not None else "cannot read "
        assert fault.startswith(f"session_policy_file (BROKER_SESSION_POLICY_FILE): {cannot}{path}: ")
        assert problem in fault

    @pytest.mark.parametrize("variable", ["BROKER_SESSION_POLICY_FILE", "AWS_CA_BUNDLE"])
    def test_other_file_that_is_a_fifo_is_rejected_and_does_not_block(self, tmp_path: Path, variable: str) -> None:
        os.mkfifo(tmp_path / "fifo")
        fault = fault_of({**MINIMUM, variable: str(tmp_path / "fifo")})
        assert variable in fault
        assert f"{tmp_path}/fifo: it is a FIFO; expected a regular file" in fault

    def test_policy_together_with_policy_file_is_rejected(self, tmp_path: Path) -> None:
        (tmp_path / "policy.json").write_text(POLICY)
        environ = {"BROKER_SESSION_POLICY": POLICY, "BROKER_SESSION_POLICY_FILE": str(tmp_path / "policy.json")}
        assert fault_of({**MINIMUM, **environ}) == (
            "session_policy and session_policy_file: both are set; remove one of them"
        )

    def test_policy_written_as_yaml_is_sent_as_json(self, write: Callable[[str], dict[str, str]]) -> None:
        environ = write("session_policy:\n  Version: '2012-10-17'\n  Statement: []\n")
        assert load({**MINIMUM, **environ}).profiles[0].session_policy == POLICY

    def test_unquoted_policy_version_stays_text(self, write: Callable[[str], dict[str, str]]) -> None:
        """YAML reads 2012-10-17 as a date; IAM requires the text."""
        environ = write("session_policy:\n  Version: 2012-10-17\n  Statement: []\n")
        assert load({**MINIMUM, **environ}).profiles[0].session_policy == POLICY

    @pytest.mark.parametrize(
        "statement",
        ["!!binary aGk=", "!!set {a}", "{2012-10-17: 1}", "{[a]: 1}", ".nan", "2012-10-17 01:02:03"],
    )
    def test_yaml_value_without_a_json_form_is_a_fault(
        self, write: Callable[[str], dict[str, str]], statement: str
    ) -> None:
        assert faults_of({**MINIMUM, **write(f"session_policy: {{Statement: {statement}}}")})


class TestFile:
    """The YAML file."""

    def test_top_level_keys_are_the_defaults_of_every_profile(self, write: Callable[[str], dict[str, str]]) -> None:
        environ = write(f"""
            region: eu-west-1
            duration_seconds: 7200
            profiles:
              - {{name: app, role_arn: {ROLE_ARN}}}
              - {{name: audit, role_arn: {ROLE_ARN}, region: us-east-1, duration_seconds: 900, required: false}}
        """)
        app, audit = load(environ).profiles
        assert (app.name, app.region, app.duration, app.required) == ("app", "eu-west-1", timedelta(hours=2), True)
        assert (audit.name, audit.region, audit.duration) == ("audit", "us-east-1", timedelta(minutes=15))
        assert not audit.required

    def test_environment_takes_precedence_over_the_file(self, write: Callable[[str], dict[str, str]]) -> None:
        environ = write("region: us-east-1\npublish: {directory: /a, mode: '0440'}")
        configuration = load({**MINIMUM, **environ, "BROKER_PUBLISH_DIRECTORY": "/b"})
        assert configuration.profiles[0].region == "eu-west-1"
        assert configuration.publish == PublishSpec(directory="/b", mode=0o440)

    def test_policy_of_a_profile_replaces_the_default_policy_file(self, write: Callable[[str], dict[str, str]]) -> None:
        environ = write(f"""
            session_policy_file: /no/such/file
            profiles:
              - {{name: a, session_policy: '{POLICY}'}}
              - {{name: b, session_policy: null}}
        """)
        a, b = load({**MINIMUM, **environ}).profiles
        assert (a.session_policy, b.session_policy) == (POLICY, None)

    def test_two_profiles_with_the_same_name_are_rejected(self, write: Callable[[str], dict[str, str]]) -> None:
        assert fault_of({**MINIMUM, **write("profiles: [{name: a}, {name: a}]")}) == (
            "profiles: two profiles have the name a; rename one of them"
        )

    @pytest.mark.parametrize("name", ["a/b", "..", "", "a b", "-a", "x" * 65, "DEFAULT"])
    def test_name_that_files_or_readers_cannot_have_is_rejected(
        self, write: Callable[[str], dict[str, str]], name: str
    ) -> None:
        """INI parsers apply the section DEFAULT to every profile."""
        fault = fault_of({**MINIMUM, **write(f"profiles: [{{name: {json.dumps(name)}}}]")})
        assert "profiles.0.name: " in fault

    def test_fault_in_a_profile_names_profile_and_key(self, write: Callable[[str], dict[str, str]]) -> None:
        environ = write("profiles: [{name: a, role_arn: 'arn:aws-cn:iam::123456789012:role/app'}]")
        assert fault_of({**MINIMUM, **environ}).startswith("profile a: role_arn is in partition aws-cn")

    @pytest.mark.parametrize(
        ("text", "fault"),
        [
            ("secrets: hush", "secrets: unknown setting; remove it, or correct its name"),
            ("regoin: hush", "regoin: unknown setting (did you mean region?)"),
            ("AWS_ROLE_ARN: hush", "AWS_ROLE_ARN: unknown setting (did you mean role_arn?)"),
            ("publish: {owner: hush}", "publish.owner: unknown setting; remove it, or correct its name"),
            ("publish: {dir: hush}", "publish.dir: unknown setting (did you mean directory?)"),
            ("log: {levle: hush}", "log.levle: unknown setting (did you mean level?)"),
            (
                "profiles: [{name: a, aws_secret_access_key: hush}]",
                "profiles.0.aws_secret_access_key: unknown setting; remove it, or correct its name",
            ),
            (
                "profiles: [{name: a, source_profil: hush}]",
                "profiles.0.source_profil: unknown setting (did you mean source_profile?)",
            ),
            ("sts: {password: {nested: hush}}", "sts.password: unknown setting; remove it, or correct its name"),
        ],
    )
    def test_unknown_key_is_rejected_with_the_nearest_name_and_without_its_value(
        self, write: Callable[[str], dict[str, str]], text: str, fault: str
    ) -> None:
        environ = write(text)
        assert fault_of({**MINIMUM, **environ}) == f"{environ['BROKER_CONFIG']}: {fault}"

    @pytest.mark.parametrize("text", ["publish: /var/run/aws", "publish:", "publish: [mode]"])
    def test_section_that_is_not_a_mapping_is_a_fault_although_the_environment_sets_one_of_its_keys(
        self, write: Callable[[str], dict[str, str]], text: str
    ) -> None:
        environ = {**MINIMUM, **write(text), "BROKER_PUBLISH_MODE": "0440"}
        assert fault_of(environ).startswith(f"{environ['BROKER_CONFIG']}: publish: expected keys with values")

    @pytest.mark.parametrize("key", ["environment", "file"])
    def test_key_with_the_name_of_a_source_is_unknown(self, write: Callable[[str], dict[str, str]], key: str) -> None:
        assert f"{key}: unknown setting" in fault_of({**MINIMUM, **write(f"{key}: hush")})

    @pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "null\n", "{}"])
    def test_empty_file_changes_nothing(self, write: Callable[[str], dict[str, str]], text: str) -> None:
        assert load({**MINIMUM, **write(text)}) == load(MINIMUM)

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("region: a\nregion: b", "line 1, column 1: duplicate key region; keep one of them"),
            ("profiles: [{name: a, name: b}]", "duplicate key name; keep one of them"),
            ("- a", "expected a mapping"),
            ("text", "expected a mapping"),
            ("a: b: c", "line 1, column 5: mapping values are not allowed here"),
            ("a: [", "line 1, column 5"),
            ("region: !!python/object/apply:os.system [id]", "could not determine a constructor"),
            ("!!python/name:os.system : 1", "could not determine a constructor"),
            ("? [a]\n: b", "unhashable"),
            ("role_arn: \x07", ""),
            ("duration_seconds: 2026-13-45", "not valid YAML"),
            ("duration_seconds: 0b_", "not valid YAML"),
            ("duration_seconds: " + "9" * 5000, "not valid YAML"),
            ("required: !!bool hush", "not valid YAML"),
            ("role_arn: !!timestamp hush", "not valid YAML"),
            ("[" * 500, ""),
        ],
    )
    def test_file_that_is_not_a_mapping_of_plain_values_is_rejected(
        self, write: Callable[[str], dict[str, str]], text: str, problem: str
    ) -> None:
        fault = fault_of({**MINIMUM, **write(text)})
        assert fault.startswith("BROKER_CONFIG: ")
        assert problem in fault
        assert "hush" not in fault

    @pytest.mark.parametrize(
        "text",
        [
            pytest.param(
                "a: &a [x]\n"
                + "".join(f"{b}: &{b} [*{a}, *{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
                id="bomb",
            ),
            pytest.param("session_policy: &a {Statement: *a}", id="cycle"),
            pytest.param("a: &a {x: 1}\nb: {<<: [*a, *a]}", id="merge"),
        ],
    )
    def test_alias_is_rejected_before_it_is_expanded(self, write: Callable[[str], dict[str, str]], text: str) -> None:
        assert "aliases (*) are not supported" in fault_of({**MINIMUM, **write(text)})

    @pytest.mark.parametrize("content", [b"\xff\xfe\xff", b"a: \xc3"])
    def test_file_that_is_not_utf_8_is_rejected(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "broker.yaml").write_bytes(content)
        assert "BROKER_CONFIG: " in fault_of({**MINIMUM, "BROKER_CONFIG": str(tmp_path / "broker.yaml")})

    def test_fifo_is_rejected_and_does_not_block(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "broker.yaml")
        assert fault_of({**MINIMUM, "BROKER_CONFIG": str(tmp_path / "broker.yaml")}) == (
            f"BROKER_CONFIG: {tmp_path}/broker.yaml: cannot be read: it is a FIFO; expected a regular file"
        )

    @pytest.mark.parametrize("path", ["/no/such/file", "/", "a\0b"])
    def test_unreadable_file_is_rejected(self, path: str) -> None:
        assert fault_of({**MINIMUM, "BROKER_CONFIG": path}).startswith("BROKER_CONFIG: ")

    def test_unreadable_file_does_not_report_settings_it_may_contain_as_missing(self) -> None:
        """Otherwise each missing role would be reported too, and hide the cause."""
        assert fault_of({"BROKER_CONFIG": "/no/such/file"}).startswith("BROKER_CONFIG: ")

    def test_file_over_the_maximum_length_is_rejected(self, tmp_path: Path) -> None:
        path = tmp_path / "broker.yaml"
        path.write_text("#" * MAXIMUM_FILE_BYTES + "\nregion: eu-west-1")
        with pytest.raises(ConfigurationError, match="1,000,000"):
            read_mapping(str(path))


class TestAllFaultsAtOnce:
    """All faults are reported in one start, so that nobody has to restart a pod once for each fault."""

    def test_faults_of_environment_file_and_profiles_are_reported_together(
        self, write: Callable[[str], dict[str, str]]
    ) -> None:
        environ = write("colour: red\npublish: {mode: '0777'}\nprofiles: [{name: a}, {name: a, duration_seconds: 5}]")
        file = environ["BROKER_CONFIG"]
        faults = faults_of({**environ, "BROKER_X": "1", "BROKER_LOG_LEVEL": "loud", "AWS_ROLE_ARN": ROLE_ARN})
        starts = {
            "BROKER_X: unknown setting",
            "BROKER_LOG_LEVEL: ",
            f"{file}: colour: unknown setting",
            f"{file}: publish.mode: ",
            f"{file}: profiles.1.duration_seconds: ",
            "profiles: two profiles have the name a",
            "profile a: region (AWS_REGION): not set",
        }
        assert {start for start in starts if any(fault.startswith(start) for fault in faults)} == starts

    def test_invalid_value_is_not_reported_as_missing_too(self) -> None:
        assert fault_of({**MINIMUM, "AWS_REGION": "Ireland"}).startswith("AWS_REGION: ")

    def test_invalid_and_missing_values_are_reported_together(self) -> None:
        first, second = faults_of({"AWS_ROLE_ARN": "app"})
        assert first.startswith("AWS_ROLE_ARN: ")
        assert second.startswith("region (AWS_REGION): not set")


class TestWarnings:
    """Settings that work but are likely mistakes."""

    @pytest.mark.parametrize(("seconds", "warned"), [(900, 1), (1500, 1), (1620, 0), (3600, 0)])
    def test_session_within_the_refresh_windows_of_sdks_gives_a_warning(self, seconds: int, warned: int) -> None:
        warnings = load({**MINIMUM, "BROKER_DURATION_SECONDS": str(seconds)}).warnings
        assert len(warnings) == warned
        assert all("BROKER_DURATION_SECONDS" in warning for warning in warnings)

    def test_endpoint_for_all_services_gives_a_warning_because_it_is_not_used(self) -> None:
        configuration = load({**MINIMUM, "AWS_ENDPOINT_URL": "http://127.0.0.1:4566"})
        assert configuration.sts.endpoint_url == ""
        (warning,) = configuration.warnings
        assert warning.startswith("AWS_ENDPOINT_URL is set, but the broker does not read it")
        assert "AWS_ENDPOINT_URL_STS" in warning

    def test_endpoint_for_all_services_next_to_that_of_sts_gives_no_warning(self) -> None:
        url = "http://127.0.0.1:4566"
        assert load({**MINIMUM, "AWS_ENDPOINT_URL": url, "AWS_ENDPOINT_URL_STS": url}).warnings == ()


@pytest.mark.parametrize(
    "variable", ["AWS_ROLE_ARN", "AWS_REGION", "AWS_ROLE_SESSION_NAME", "BROKER_PUBLISH_DIRECTORY"]
)
def test_value_of_the_wrong_form_is_described_without_the_pattern(variable: str) -> None:
    fault = fault_of({**MINIMUM, variable: "?"})
    assert fault.startswith(f"{variable}: expected ")
    assert "[" not in fault


def test_profile_name_of_the_wrong_form_is_described(write: Callable[[str], dict[str, str]]) -> None:
    fault = fault_of({**MINIMUM, **write("profiles: [{name: '?'}]")})
    assert "expected up to 64 letters" in fault


def test_configuration_of_two_loads_is_equal_and_distinct_ones_are_not() -> None:
    """Proves that comparisons of configurations can fail."""
    assert load(MINIMUM) == load(dict(MINIMUM))
    assert load(MINIMUM) != replace(load(MINIMUM), log_level="debug")
