"""What kind of server answered: any answer is STS's success, a refusal, or not STS."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from broker.sts.answers import NotSts, Refused, judge
from broker.sts.error_documents import ErrorDocument, read_json_error, read_xml_error
from tests.unit.sts.scripted_sts import make_answer

PIECES = [
    b"<",
    b">",
    b"</",
    b"<!DOCTYPE",
    b"<!ENTITY",
    b"<Error>",
    b"<Code>a</Code>",
    b"<a/>",
    b"{",
    b'"Code":',
    b"[",
    b"1",
]
BODIES = st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(PIECES), max_size=20).map(b"".join))
HEADERS = st.dictionaries(st.sampled_from(["server", "content-encoding", "x-amzn-requestid"]), st.text(max_size=40))


@given(
    body=BODIES, status=st.integers(100, 599), headers=HEADERS, location=st.text(max_size=40), is_custom=st.booleans()
)
@example(body=b"1" * 5000, status=400, headers={}, location="", is_custom=True)
@example(body=b'{"Code":' + b"1" * 5000 + b"}", status=400, headers={}, location="", is_custom=True)
@example(body=b'<?xml version="1.0" encoding="nonsense"?><Error/>', status=400, headers={}, location="", is_custom=True)
@example(body=b"", status=302, headers={}, location="http://[", is_custom=False)
def test_every_answer_is_judged(
    body: bytes, status: int, headers: dict[str, str], location: str, is_custom: bool
) -> None:
    try:
        judge(make_answer(body, status, headers, location), is_custom_endpoint=is_custom)
    except Refused:
        assert status >= 400
    except NotSts as error:
        shown = f"{error.found}{error.server}"
        assert shown.isprintable()
    else:
        assert status < 300
        assert body.removeprefix(b"\xef\xbb\xbf").strip().startswith(b"<")
        assert b"<!doctype" not in body.lower()
        assert b"<!entity" not in body.lower()


@pytest.mark.parametrize(
    ("location", "found"),
    [
        ("https://portal.example/login?token=a", "is a redirect to portal.example"),
        ("/login", "is a redirect"),
        ("", "is a redirect"),
        ("https://a b/", "is a redirect"),
    ],
)
def test_redirect_names_the_host_only(location: str, found: str) -> None:
    with pytest.raises(NotSts) as caught:
        judge(make_answer(b"", 302, location=location), is_custom_endpoint=True)
    assert caught.value.found == found


@pytest.mark.parametrize(
    ("header", "server"),
    [
        ("squid/5.7 (Ubuntu)", "squid/5.7"),
        ("EC2ws", "EC2ws"),
        ("istio-envoy", "istio-envoy"),
        ("\x1b[2J", ""),
        ("a" * 500, "a" * 31),
        ("", ""),
    ],
)
def test_server_is_its_first_product(header: str, server: str) -> None:
    with pytest.raises(NotSts) as caught:
        judge(make_answer(b"no", 403, {"server": header}), is_custom_endpoint=False)
    assert caught.value.server == server


def test_xml_of_another_service_is_not_a_refusal() -> None:
    with pytest.raises(NotSts) as caught:
        judge(make_answer(b"<ServiceReport><Text>a</Text></ServiceReport>", 403), is_custom_endpoint=True)
    assert caught.value.found == "is XML that STS does not send"


def test_request_id_of_the_header_is_kept() -> None:
    with pytest.raises(Refused) as caught:
        judge(make_answer(b"", 503, {"x-amzn-requestid": "r-1"}), is_custom_endpoint=False)
    assert caught.value.error == ErrorDocument(request_id="r-1")


@pytest.mark.parametrize(
    "body",
    [
        b'{"Code":null,"Message":["a"]}',
        b'{"Code":true}',
        b'{"Error":"AccessDenied"}',
        b'{"code":{"a":1}}',
    ],
)
def test_json_without_text_has_no_code(body: bytes) -> None:
    assert read_json_error(body) == ErrorDocument()


def test_text_of_the_error_only_is_read() -> None:
    body = b"<ErrorResponse><Other><Code>Wrong</Code></Other><Error><Code>Right</Code></Error></ErrorResponse>"
    assert read_xml_error(body) == ErrorDocument(code="Right")


def test_markup_that_is_not_xml_is_refused() -> None:
    with pytest.raises(ValueError, match="not XML"):
        read_xml_error(b"<a>")
