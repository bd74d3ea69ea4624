"""Reading an account from IAM: pages, refusals, throttling, credentials. moto answers in tests/moto_backed."""

from __future__ import annotations

import io
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from broker.core.errors import ConfigurationError
from broker.trust.audit.iam_account import Access, AccountReader, open_iam
from broker.trust.audit.progress import ReadingProgress
from tests.support.audited_account import AUDIENCE, ROLES, provider_arn, role_arn

if TYPE_CHECKING:
    from broker.trust.audit.account import Account

ROLE = "arn:aws:iam::123456789012:role/auditor"
CALLER = "arn:aws:sts::123456789012:assumed-role/auditor/me"


def refuse(code: str, status: int = 403) -> ClientError:
    message = f"User: {CALLER} is not authorized; eyJhbGciOiJub25lIn0.e30."
    response: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, "Any")


class FakeIam:
    """An IAM client with one role on each page, and answers or errors in place of others."""

    meta = SimpleNamespace(
        endpoint_url="https://iam.example",
        method_to_api_mapping={
            "get_account_authorization_details": "GetAccountAuthorizationDetails",
            "list_roles": "ListRoles",
            "list_open_id_connect_providers": "ListOpenIDConnectProviders",
            "get_open_id_connect_provider": "GetOpenIDConnectProvider",
        },
    )

    def __init__(self, **errors: list[Exception]) -> None:
        self.errors = errors
        self.calls: list[str] = []

    def _page(self, operation: str, key: str, marker: str, **fields: Any) -> dict[str, Any]:  # noqa: ANN401
        self._record(operation)
        names = list(ROLES)
        at = int(marker or 0)
        role = {"Arn": role_arn(names[at]), "AssumeRolePolicyDocument": ROLES[names[at]], **fields}
        more = at + 1 < len(names)
        return {key: [role], "IsTruncated": more, **({"Marker": str(at + 1)} if more else {})}

    def _record(self, operation: str) -> None:
        self.calls.append(operation)
        if self.errors.get(operation):
            raise self.errors[operation].pop(0)

    def get_account_authorization_details(self, **parameters: Any) -> dict[str, Any]:  # noqa: ANN401 - as boto3 takes them
        assert (parameters["Filter"], parameters["MaxItems"]) == (["Role"], 1000)
        marker, boundary = parameters.get("Marker", ""), {"PermissionsBoundaryArn": "b"}
        return self._page("get_account_authorization_details", "RoleDetailList", marker, PermissionsBoundary=boundary)

    def list_roles(self, *, MaxItems: int, Marker: str = "") -> dict[str, Any]:  # noqa: N803
        assert MaxItems == 1000
        return self._page("list_roles", "Roles", Marker, MaxSessionDuration=7200)

    def list_open_id_connect_providers(self) -> dict[str, Any]:
        self._record("list_open_id_connect_providers")
        return {"OpenIDConnectProviderList": [{"Arn": provider_arn()}]}

    def get_open_id_connect_provider(self, *, OpenIDConnectProviderArn: str) -> dict[str, Any]:  # noqa: N803
        assert OpenIDConnectProviderArn == provider_arn()
        self._record("get_open_id_connect_provider")
        return {"ClientIDList": [AUDIENCE]}


def read(iam: FakeIam, sleeps: list[float] | None = None, output: io.StringIO | None = None) -> Account:
    waits = [] if sleeps is None else sleeps
    with ReadingProgress(output or io.StringIO()) as progress:
        return AccountReader(iam, progress, waits.append).read()


def test_all_pages_are_read_and_joined() -> None:
    account = read(iam := FakeIam())
    assert len(account.roles) == len(ROLES)
    assert {(one.maximum_seconds, one.boundary) for one in account.roles} == {(7200, "b")}
    assert [(one.arn, one.audiences) for one in account.providers] == [(provider_arn(), (AUDIENCE,))]
    assert (account.has_all_roles, account.has_all_providers, account.unjudged) == (True, True, [])
    assert len(iam.calls) == 2 * len(ROLES) + 2


@pytest.mark.parametrize(
    ("operation", "name", "gap"),
    [
        ("get_account_authorization_details", "GetAccountAuthorizationDetails", "permissions boundaries are unknown"),
        ("list_roles", "ListRoles", "maximum session durations are unknown"),
        ("list_open_id_connect_providers", "ListOpenIDConnectProviders", "OIDC providers are unknown"),
        ("get_open_id_connect_provider", "GetOpenIDConnectProvider", f"audiences of {provider_arn()} are unknown"),
    ],
)
def test_refused_call_is_a_gap_with_its_remedy(operation: str, name: str, gap: str) -> None:
    account = read(FakeIam(**{operation: [refuse("AccessDenied")]}))
    (sentence,) = account.unjudged
    assert sentence.startswith(f"iam:{name} was refused (AccessDenied) to {CALLER}; allow it with iam-policies/")
    assert gap in sentence
    assert "eyJ" not in sentence
    assert len(account.roles) == len(ROLES)


def test_without_details_boundaries_are_unknown_and_without_a_list_durations() -> None:
    denied = read(FakeIam(get_account_authorization_details=[refuse("AccessDenied")]))
    assert {one.boundary for one in denied.roles} == {None}
    denied = read(FakeIam(list_roles=[refuse("AccessDenied")]))
    assert {one.maximum_seconds for one in denied.roles} == {None}
    assert denied.has_all_roles


def test_refused_everything_leaves_an_incomplete_account() -> None:
    refusals = {one: [refuse("AccessDenied")] for one in FakeIam.meta.method_to_api_mapping}
    account = read(FakeIam(**refusals))
    assert (account.roles, account.has_all_roles, account.has_all_providers) == ([], False, False)
    assert len(account.unjudged) == 3


@pytest.mark.parametrize("error", [refuse("Throttling", 400), refuse("ServiceFailure", 503)])
def test_throttled_call_is_repeated_with_a_message(error: ClientError) -> None:
    sleeps: list[float] = []
    output = io.StringIO()
    account = read(FakeIam(list_roles=[error, error]), sleeps, output)
    assert account.unjudged == []
    assert len(sleeps) == 2
    assert all(0 <= one <= 20 for one in sleeps)
    assert "sts-broker: IAM throttles the calls; attempt 2 in" in output.getvalue()


def test_endless_throttling_ends_as_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    iam = FakeIam(list_roles=[refuse("Throttling", 400)] * 1000)
    with ReadingProgress(io.StringIO()) as progress:
        account = AccountReader(iam, progress, lambda _: clock.__setitem__(0, clock[0] + 10)).read()
    (sentence,) = account.unjudged
    assert "iam:ListRoles was refused (Throttling) after 120 s of attempts" in sentence
    assert iam.calls.count("list_roles") == 13


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidClientTokenId"])
def test_refused_credentials_are_an_error_of_the_configuration(code: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"AWS refuses the credentials \({code}\).*--profile"):
        read(FakeIam(get_account_authorization_details=[refuse(code)]))


def test_missing_credentials_are_an_error_of_the_configuration() -> None:
    with pytest.raises(ConfigurationError, match="No AWS credentials found"):
        read(FakeIam(get_account_authorization_details=[NoCredentialsError()]))


def test_unreachable_iam_is_a_fault() -> None:
    error = EndpointConnectionError(endpoint_url="https://iam.example")
    account = read(FakeIam(get_account_authorization_details=[error]))
    assert account.faults == ["calling https://iam.example failed (EndpointConnectionError); check the network"]


def test_error_code_of_a_foreign_server_is_not_quoted() -> None:
    account = read(FakeIam(list_roles=[refuse("<script>")]))
    assert "(an invalid error code)" in account.unjudged[0]


def test_unknown_profile_is_an_error_of_the_configuration() -> None:
    with pytest.raises(ConfigurationError, match="--profile: the AWS config has no such profile"):
        open_iam(Access(profile="nobody"), {})


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (refuse("AccessDenied"), rf"--role-arn {ROLE}: STS refused it to {CALLER} \(AccessDenied\)"),
        (EndpointConnectionError(endpoint_url="x"), r"\(EndpointConnectionError\).*check the network"),
    ],
)
def test_role_that_cannot_be_assumed_is_an_error_of_the_configuration(
    monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    def assume_role(**_: str) -> None:
        raise error

    session = SimpleNamespace(region_name=None, client=lambda *_, **__: SimpleNamespace(assume_role=assume_role))
    monkeypatch.setattr("boto3.Session", lambda **_: session)
    with pytest.raises(ConfigurationError, match=message):
        open_iam(Access(role_arn=ROLE), {})


@pytest.mark.parametrize(
    ("partition", "region"), [("aws", "us-east-1"), ("aws-cn", "cn-north-1"), ("aws-us-gov", "us-gov-west-1")]
)
def test_region_is_that_of_the_role_s_partition(monkeypatch: pytest.MonkeyPatch, partition: str, region: str) -> None:
    asked: list[tuple[str, str]] = []

    class Session:
        region_name = None

        def __init__(self, **_: str | None) -> None: ...

        def client(self, service: str, *, region_name: str, config: object) -> Any:  # noqa: ANN401 - a client
            assert config
            asked.append((service, region_name))
            keys = dict.fromkeys(("AccessKeyId", "SecretAccessKey", "SessionToken"), "x")
            return SimpleNamespace(assume_role=lambda **_: {"Credentials": keys})

    monkeypatch.setattr("boto3.Session", Session)
    open_iam(Access(role_arn=f"arn:{partition}:iam::123456789012:role/auditor"), {})
    open_iam(Access(), {"AWS_REGION": "eu-west-1"})
    assert asked == [("sts", region), ("iam", region), ("iam", "eu-west-1")]


def test_terminal_has_a_bar_and_a_pipe_has_none() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stream, expected in ((Terminal(), True), (io.StringIO(), False)):
        with ReadingProgress(stream) as progress:
            progress.begin("OIDC providers", 2)
            progress.advance()
        assert ("OIDC providers" in stream.getvalue()) is expected
