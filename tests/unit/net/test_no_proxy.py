"""NO_PROXY in the forms that people write."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.doctor.checks import Outcome, Report
from broker.doctor.examiners.settings import examine_settings
from broker.net.no_proxy import bypasses_everything, find_unusable_entries, is_bypassed
from broker.net.routes import find_no_proxy_fault, find_proxy
from broker.settings.loader import load

HOST = "sts.eu-west-1.amazonaws.com"
PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize(
    "value",
    [
        HOST,
        HOST.upper(),
        f"{HOST}.",
        f"{HOST}:443",
        "amazonaws.com",
        ".amazonaws.com",
        "*.amazonaws.com",
        "*.eu-west-1.amazonaws.com:443",
        "amazonaws.com.",
        "localhost,127.0.0.1, .amazonaws.com",
        "localhost 127.0.0.1 .amazonaws.com",
        "localhost,\n  .amazonaws.com\n",
        "*",
        "localhost, *",
    ],
)
def test_host_is_reached_without_the_proxy(value: str) -> None:
    assert is_bypassed(HOST, 443, value)
    assert find_unusable_entries(value) == ""
    assert find_proxy(urlsplit(f"https://{HOST}"), {"HTTPS_PROXY": PROXY, "NO_PROXY": value}) == ""


@pytest.mark.parametrize(
    "value",
    [
        "",
        ",",
        f"{HOST}:8443",
        "eu-west-1.amazonaws.com.cn",
        "zonaws.com",
        "x.amazonaws.com",
        "10.0.0.0/8",
        "::/0",
        "0.0.0.0/0",
    ],
)
def test_other_hosts_go_by_the_proxy(value: str) -> None:
    assert not is_bypassed(HOST, 443, value)
    assert find_unusable_entries(value) == ""
    assert find_proxy(urlsplit(f"https://{HOST}"), {"HTTPS_PROXY": PROXY, "NO_PROXY": value}) == PROXY


@pytest.mark.parametrize(
    ("host", "value"),
    [
        ("10.1.2.3", "10.0.0.0/8"),
        ("10.1.2.3", "10.1.2.0/16"),  # with bits beyond the block
        ("10.1.2.3", "10.1.2.3"),
        ("10.1.2.3", "10.1.2.3:443"),
        ("10.1.2.3", "fd00::/8 10.0.0.0/8"),
        ("fd00::1", "fd00::/8"),
        ("fd00::1", "fd00::1"),
        ("[fd00::1]", "[fd00::1]"),
        ("fd00::1", "[fd00::1]:443"),
        ("FD00::1", "fd00:0:0::1"),
    ],
)
def test_address_is_matched_by_addresses_and_blocks(host: str, value: str) -> None:
    assert is_bypassed(host, 443, value)
    assert not is_bypassed("192.0.2.1", 443, value)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("https://sts.example", '"https://sts.example"'),
        ("sts.*.amazonaws.com", '"sts.*.amazonaws.com"'),
        ("10.0.*", '"10.0.*"'),
        ("10.", '"10."'),
        ("10.0.0.0/33", '"10.0.0.0/33"'),
        ("<local>", '"<local>"'),
        ("a.example;b.example", '"a.example;b.example"'),
        ("a.example:http", '"a.example:http"'),
        ("a.example/path", '"a.example/path"'),
        ("..example", '"..example"'),
        ("https://me:hunter2@a.example", "an entry with @"),
        ("good.example, <a>, <b>, <c>, <d>", '"<a>", "<b>", "<c>" and 1 more'),
    ],
)
def test_entry_that_matches_nothing_is_reported(value: str, found: str) -> None:
    assert find_unusable_entries(value) == found
    assert find_no_proxy_fault({"https_proxy": PROXY, "no_proxy": value}) == (
        f"NO_PROXY has entries that match no host: {found}."
    )
    assert find_no_proxy_fault({"no_proxy": value}) == "", "without a proxy, it has no effect"


def test_everything_is_named_by_an_entry_of_its_own() -> None:
    assert bypasses_everything("a *")
    assert not bypasses_everything("*.example.com")


@given(host=st.text(), value=st.text())
def test_no_value_makes_it_fail(host: str, value: str) -> None:
    is_bypassed(host, 443, value)
    assert find_unusable_entries(value).isprintable()


@pytest.mark.parametrize("endpoint", ["", "https://sts.example"])
def test_start_and_doctor_report_entries_that_match_nothing(endpoint: str) -> None:
    environ = {
        "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/app",
        "AWS_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL_STS": endpoint,
        "HTTPS_PROXY": PROXY,
        "NO_PROXY": "localhost, sts.*.amazonaws.com",
    }
    found = 'NO_PROXY has entries that match no host: "sts.*.amazonaws.com".'
    configuration = load(environ)
    assert any(warning.startswith(f"{found} Write names or domains") for warning in configuration.warnings)
    report = Report()
    examine_settings(environ, configuration, report)
    warned = report.find("settings", "", Outcome.WARNING)
    assert warned is not None
    assert found in warned.found
    assert ".amazonaws.com" in warned.remedy
    assert not any("NO_PROXY" in warning for warning in load({**environ, "NO_PROXY": "*.amazonaws.com"}).warnings)
