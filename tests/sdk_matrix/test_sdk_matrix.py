"""The SDK matrix: its verdicts, table, client environments and recording endpoint."""

import http.client
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sandbox.aws.refusal import Refusal
from sandbox.http.loopback import Request
from sdk_matrix.clients import CLIENTS, Delivery
from sdk_matrix.environment import AppEnvironment, read_app_variables
from sdk_matrix.recorder import Recorder, canonicalize, find_judgement_time
from sdk_matrix.table import COLUMNS, MarkersMissingError, Row, find_differences, read_table, render, replace_table
from sdk_matrix.verdicts import ACCEPTED, Call, Verdict, count, judge

NOW = datetime(2026, 11, 23, 12, 0, 30, tzinfo=UTC)


def accepted(*keys: str, pause_seconds: float = 5.0) -> list[Call]:
    return [
        Call(at_seconds=number * pause_seconds, access_key_id=key, outcome=ACCEPTED) for number, key in enumerate(keys)
    ]


REFUSED = Call(at_seconds=10.0, access_key_id="a", outcome="ExpiredToken")


@pytest.mark.parametrize(
    ("calls", "failed", "fresh", "verdict"),
    [
        (accepted("a", "a", "b", "c"), 0, False, Verdict.FOLLOWS),
        (accepted("a", "b"), 0, True, Verdict.FRESH_ONLY),
        (accepted("a", "b"), 0, False, Verdict.FAILS),
        ([*accepted("a"), REFUSED], 1, True, Verdict.FRESH_ONLY),
        ([*accepted("a", "b", "c"), REFUSED], 0, True, Verdict.AFTER_FAILURES),
        (accepted("a", "b", "c"), 1, True, Verdict.AFTER_FAILURES),
        (accepted("a", "b", "c", pause_seconds=15.1), 0, True, Verdict.AFTER_FAILURES),
        ([REFUSED, REFUSED, REFUSED], 3, False, Verdict.FAILS),
        ([], 0, False, Verdict.FAILS),
        ([], 3, False, Verdict.NOT_SUPPORTED),
        ([], 3, True, Verdict.FRESH_ONLY),
    ],
)
def test_client_follows_only_with_three_generations_and_no_refused_call_failed_call_or_silence(
    calls: list[Call], failed: int, fresh: bool, verdict: Verdict
) -> None:
    assert judge(count(calls, failed), fresh_process_works=fresh) is verdict


def test_generation_counts_only_with_an_accepted_call() -> None:
    refused = Call(at_seconds=10.0, access_key_id="b", outcome="ExpiredToken")
    counts = count([*accepted("a", "a"), refused], failed=2)
    assert (counts.generations, counts.accepted, counts.refused, counts.failed) == (1, 2, 1, 2)
    assert counts.is_settled
    assert not count(accepted("a", "b"), failed=0).is_settled


def row(client: str = "boto3", version: str = "1.44.5", verdict: str = "follows", **more: object) -> Row:
    verdicts = dict.fromkeys(COLUMNS[2:-1], verdict)
    return Row(client=client, version=version, verdicts=verdicts, **more)  # type: ignore[arg-type]


def document(*rows: Row) -> str:
    table = render([each.cells() for each in rows])
    return f"before | x |\n<!-- sdk-matrix -->\n{table}\n\nAbout | it.\n<!-- /sdk-matrix -->\nafter\n"


def test_table_that_was_written_is_read_back() -> None:
    rows = [row(), row("Java", setting="`AWS_X=1`")]
    assert read_table(document(*rows)) == {each.client: each.cells() for each in rows}
    assert find_differences(document(*rows), rows) == []


def test_every_different_cell_is_reported() -> None:
    found = find_differences(document(row(), row("gone")), [row(verdict="**fails**", version="1.45.0"), row("new")])
    assert found == [
        "gone: unknown client. Remove the row.",
        "boto3, version: the document has '1.44.5', this run '1.45.0'",
        *(f"boto3, {column}: the document has 'follows', this run '**fails**'" for column in COLUMNS[2:-1]),
        "new: the row is missing",
    ]


def test_version_of_the_system_may_differ_but_not_its_verdict() -> None:
    written = document(row(version="2.9"))
    assert find_differences(written, [row(version="2.10", is_version_variable=True)]) == []
    changed = [row(version="2.10", verdict="not supported", is_version_variable=True)]
    assert len(find_differences(written, changed)) == 3


def test_skipped_client_is_in_the_table_and_keeps_its_row_in_the_document() -> None:
    skipped = row(verdict="", version="", skipped="node and npm are not installed")
    assert skipped.cells()["setting needed"] == "SKIPPED: node and npm are not installed"
    assert skipped.cells()["endpoint"] == "SKIPPED"
    assert find_differences(document(row()), [skipped]) == []
    assert read_table(replace_table(document(row()), [skipped], "About.")) == {"boto3": row().cells()}


def test_document_changes_only_between_the_markers() -> None:
    new = replace_table(document(row("old")), [row(), row("skipped", skipped="why")], "Now.")
    begin, end = "before | x |\n<!-- sdk-matrix -->\n", "\n\nNow.\n<!-- /sdk-matrix -->\nafter\n"
    assert new == begin + render([row().cells()]) + end


def test_table_is_written_between_empty_markers() -> None:
    empty = "a\n<!-- sdk-matrix -->\n<!-- /sdk-matrix -->\nb\n"
    assert read_table(empty) == {}
    assert find_differences(replace_table(empty, [row()], "Now."), [row()]) == []
    assert replace_table(empty, [row()], "Now.").endswith("\n<!-- /sdk-matrix -->\nb\n")


def test_document_without_markers_is_an_error() -> None:
    with pytest.raises(MarkersMissingError, match="<!-- sdk-matrix --> and <!-- /sdk-matrix --> are missing"):
        read_table("no table here")


def test_clients_have_unique_names_and_the_table_has_their_settings() -> None:
    assert len({client.name for client in CLIENTS}) == len(CLIENTS)
    for client in CLIENTS:
        assert client.setting or not (client.takes_token or client.further), client.name


@pytest.fixture(scope="module")
def app_variables() -> dict[str, str]:
    return read_app_variables("eu-west-1")


def test_app_variables_are_those_of_the_injected_manifest(app_variables: dict[str, str]) -> None:
    assert (
        app_variables.items()
        >= {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9911/v1/credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/var/run/aws/endpoint-token",
            "AWS_REGION": "eu-west-1",
        }.items()
    )


@pytest.mark.parametrize("delivery", list(Delivery))
def test_client_gets_only_variables_of_the_manifest_and_documented_ones(
    app_variables: dict[str, str], tmp_path: Path, delivery: Delivery
) -> None:
    (tmp_path / "endpoint-token").write_text("token")
    documented = {
        Delivery.ENDPOINT: set(),
        Delivery.PROCESS: {"AWS_CONFIG_FILE"},
        Delivery.STATIC: {"AWS_SHARED_CREDENTIALS_FILE"},
    }[delivery]
    environment = AppEnvironment(
        app_variables=app_variables,
        published=tmp_path,
        credentials_url="http://127.0.0.1:1/v1/credentials",
        scratch=tmp_path,
    )
    for client in CLIENTS:
        variables = environment.build(client, delivery)
        own = {*client.environment, *client.further.get(delivery, {})}
        own |= {"AWS_CONTAINER_AUTHORIZATION_TOKEN"} if client.takes_token else set()
        assert variables.keys() <= {*app_variables, *documented, *own, "AWS_EC2_METADATA_DISABLED"}, client.name
        assert variables["AWS_REGION"] == "eu-west-1"


def request(path: str = "/", **headers: str) -> Request:
    return Request(method="GET", path=path, headers={k.replace("_", "-"): v for k, v in headers.items()}, body=b"")


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/", ""),
        ("/bucket?location", "location="),
        ("/bucket?prefix=&list-type=2&delimiter=%2F", "delimiter=%2F&list-type=2&prefix="),
        ("/bucket?prefix=a%20b~/c", "prefix=a%20b~%2Fc"),
    ],
)
def test_query_is_put_in_canonical_form(path: str, query: str) -> None:
    assert canonicalize(request(path)).path == f"{path.partition('?')[0]}?{query}"


@pytest.mark.parametrize(
    ("signed", "judged"),
    [
        ("20261123T120029Z", NOW - timedelta(seconds=1)),
        ("20261123T120028Z", NOW - timedelta(seconds=2)),
        ("20261123T120027Z", NOW),  # in transit for too long
        ("20261123T120031Z", NOW),  # signed in the future
        ("yesterday", NOW),
    ],
)
def test_recently_signed_call_is_judged_at_the_time_of_signing(signed: str, judged: datetime) -> None:
    assert find_judgement_time(request(x_amz_date=signed), NOW) == judged


@pytest.fixture
def refusing() -> Iterator[Recorder]:
    def identify(_: Request, __: datetime) -> str:
        raise Refusal("ExpiredToken", "The security token included in the request is expired", 403)

    with Recorder(identify) as recorder:
        yield recorder


@pytest.fixture
def accepting() -> Iterator[Recorder]:
    with Recorder(lambda _, __: "<Arn>me</Arn>") as recorder:
        yield recorder


def ask(recorder: Recorder, method: str, path: str) -> tuple[int, str]:
    credential = "Credential=ASIA1/20261123/eu-west-1/s3/aws4_request, SignedHeaders=host, Signature=00"
    connection = http.client.HTTPConnection(recorder.url.removeprefix("http://"), timeout=10)
    connection.request(method, path, headers={"Authorization": f"AWS4-HMAC-SHA256 {credential}"})
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


def test_refused_calls_are_recorded_and_get_the_error_of_the_service(refusing: Recorder) -> None:
    status, body = ask(refusing, "POST", "/")
    assert (status, "<Code>ExpiredToken</Code>" in body) == (403, True)
    status, body = ask(refusing, "GET", "/bucket?list-type=2")
    assert (status, "<Code>ExpiredToken</Code>" in body) == (400, True)
    assert [(call.access_key_id, call.outcome) for call in refusing.calls] == [("ASIA1", "ExpiredToken")] * 2


@pytest.mark.parametrize(
    ("method", "path", "status", "word"),
    [
        ("POST", "/", 200, "<Arn>me</Arn>"),
        ("GET", "/bucket/?list-type=2", 200, "ListBucketResult"),
        ("GET", "/bucket?location", 200, "LocationConstraint"),
        ("GET", "/bucket/key", 404, "NoSuchKey"),
        ("HEAD", "/bucket", 404, ""),
    ],
)
def test_accepted_calls_are_recorded_and_get_a_response(
    accepting: Recorder, method: str, path: str, status: int, word: str
) -> None:
    answered, body = ask(accepting, method, path)
    assert (answered, word in body) == (status, True)
    assert [(call.access_key_id, call.outcome) for call in accepting.calls] == [("ASIA1", ACCEPTED)]
