"""What an issuer's URL must look like, and what to write instead."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from broker.core.findings import is_accepted
from broker.discovery import issuer_url


@pytest.mark.parametrize(
    "url",
    [
        "https://oidc.eks.eu-west-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF",
        "https://company-oidc.s3.eu-west-1.amazonaws.com",
        "https://d111111abcdef8.cloudfront.net",
        "https://oidc.example.com/a/b-c_d~e.f",
    ],
)
def test_real_issuers_are_accepted(url: str) -> None:
    assert issuer_url.examine(url) == []


@pytest.mark.parametrize(
    ("url", "instead"),
    [
        ("http://oidc.example.com/a", "https://oidc.example.com/a"),
        ("HTTPS://oidc.example.com/a", "https://oidc.example.com/a"),
        ("https://oidc.example.com:443", "https://oidc.example.com"),
        ("https://oidc.example.com:", "https://oidc.example.com"),
        ("https://oidc.example.com/", "https://oidc.example.com"),
        ("https://oidc.example.com/a//b/../c/", "https://oidc.example.com/a/b/c"),
        ("https://me:hunter2@oidc.example.com/a?b#c", "https://oidc.example.com/a"),
        ("https://oidc.example.com/.well-known/openid-configuration", "https://oidc.example.com"),
        (f"https://oidc.example.com/{'a' * 300}", "https://oidc.example.com"),
    ],
)
def test_refused_issuer_is_reported_with_what_to_write(url: str, instead: str) -> None:
    findings = issuer_url.examine(url)
    assert findings
    for finding in findings:
        assert finding.remedy.startswith(f"Write {instead} (")
        assert "hunter2" not in finding.found + finding.remedy
    assert issuer_url.examine(instead) == []


@pytest.mark.parametrize(
    "host",
    [
        *("kubernetes.default.svc", "a.svc.cluster.local", "localhost", "api", "api-int.a.internal", "box.lan"),
        *("10.0.0.1", "127.0.0.1", "169.254.1.1", "100.64.0.1", "fd00::1", "::1"),
    ],
)
def test_private_host_is_unreachable(host: str) -> None:
    assert issuer_url.unreachable_reason(host)


@pytest.mark.parametrize("host", ["oidc.example.com", "8.8.8.8", "2001:4860:4860::8888"])
def test_public_host_is_reachable(host: str) -> None:
    assert issuer_url.unreachable_reason(host) == ""


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ("https://a.example/b/", "they differ by a trailing slash"),
        ("https://a.example/B", "they differ in upper and lower case"),
        (" https://a.example/b", "they differ by white space"),
        ("http://a.example/b", "they differ in their scheme"),
        ("https://b.example/b", "they differ in their host"),
        ("https://a.example/c", "they differ in their path"),
        ("https://a.example/b?c", "they are not the same"),
        ("nonsense", "it is not a valid URL"),
    ],
)
def test_difference_is_named(found: str, message: str) -> None:
    assert issuer_url.difference("https://a.example/b", found) == message


@given(st.text(max_size=80))
@example("https://")
@example("https://[::1")
@example("https://a:99999")
@example("https://a:b")
@example("https://٣.example")
@example("https://a\u2100.example")
def test_any_text_is_judged_as_a_url(text: str) -> None:
    findings = issuer_url.examine(text)
    assert is_accepted(findings) == (not findings)
    issuer_url.difference("https://a.example", text)


@pytest.mark.parametrize(
    "issuer",
    [
        "westeurope.oic.prod-aks.azure.com/00000000-0000-0000-0000-000000000000/11111111-1111-1111-1111-111111111111/",
        "sts.windows.net/00000000-0000-0000-0000-000000000000/",
        "acme.eu.auth0.com/",
    ],
)
def test_slash_at_the_end_belongs_to_the_issuers_of_some_services(issuer: str) -> None:
    assert not issuer_url.has_trailing_slash(issuer)
    assert issuer_url.examine(f"https://{issuer}") == []
    assert issuer_url.has_trailing_slash(f"{issuer}/")
    assert issuer_url.examine(f"https://{issuer}/") != []
    assert issuer_url.locate_discovery(f"https://{issuer}").count("//") == 1


@pytest.mark.parametrize(
    "issuer",
    [
        "evil-oic.prod-aks.azure.com/a/b/",
        "westeurope.oic.prod-aks.azure.com/",
        "auth0.com.example/",
        "sts.windows.net/",
    ],
)
def test_slash_at_the_end_is_refused_where_only_the_name_is_similar(issuer: str) -> None:
    assert issuer_url.has_trailing_slash(issuer)


@pytest.mark.parametrize("issuer", ["https://oidc.example.com/", "https://oidc.example.com/a/", "oidc.example.com/a/"])
def test_slash_at_the_end_is_refused_with_one_sentence(issuer: str) -> None:
    """The last one is spelled as in the ARN of a provider, as trust policies have it."""
    assert issuer_url.has_trailing_slash(issuer)
    assert not issuer_url.has_trailing_slash(issuer.rstrip("/"))
    if issuer.startswith("https://"):
        (finding,) = issuer_url.examine(issuer)
        assert finding.found == issuer_url.TRAILING_SLASH
