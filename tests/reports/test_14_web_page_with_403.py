"""A web page with an error status, where AWS_ENDPOINT_URL_STS is set: no STS answers with HTML.

Seen with proxies and portals (aws/aws-sdk-kotlin#1180, aws/aws-sdk-java-v2#1407).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.core.errors import ResponseInvalid
from tests.unit.sts.conftest import exchanger, served, shared, sts
from tests.unit.sts.scripted_sts import fail_exchange

if TYPE_CHECKING:
    from broker.sts.exchange import StsExchanger
    from tests.unit.sts.scripted_sts import Sts

__all__ = ["exchanger", "served", "shared", "sts"]

PAGES = [
    b"<html><head><title>Forbidden</title></head><body>Blocked by the company's proxy.</body></html>",
    b"<!DOCTYPE html>\n<html lang=en><body>Sign in to the network</body></html>",
    b"<HTML><BODY><H1>403</H1></BODY></HTML>",
    b"\xef\xbb\xbf<html></html>",
    b"RBAC: access denied",
]


@pytest.mark.parametrize("body", PAGES)
@pytest.mark.parametrize("status", [200, 401, 403, 404])
def test_page_is_an_invalid_response_and_not_a_denied_role(
    exchanger: StsExchanger, sts: Sts, body: bytes, status: int
) -> None:
    sts.status, sts.body, sts.headers = status, body, {"Content-Type": "text/html", "Server": "squid/5.7"}
    error = fail_exchange(exchanger)
    assert type(error) is ResponseInvalid
    assert f"{sts.url} is not STS" in error.message
    assert f"HTTP status {status}" in error.message
    assert all(word in error.remedy for word in ("AWS_ENDPOINT_URL_STS", "proxy", "captive portal"))
    assert "trust policy" not in error.remedy
