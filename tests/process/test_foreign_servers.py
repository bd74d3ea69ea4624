"""Servers in STS's place, as the log and the doctor of the real program report them."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from sandbox.aws import faults
from tests.support.fronts import RoutingProxy, Sayer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.process.pod import Pod

pytestmark = pytest.mark.process

IGNORED = "AWS_ENDPOINT_URL is set, but the broker does not read it."
STS_HOST = "sts.eu-west-1.amazonaws.com"


@pytest.fixture
def page() -> Iterator[Sayer]:
    body = b"<html><head><title>Access Denied</title></head><body>The proxy refuses this request.</body></html>"
    head = b"HTTP/1.1 403 Forbidden\r\nServer: squid/5.7\r\nContent-Type: text/html\r\nConnection: close\r\n"
    sayer = Sayer(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    yield sayer
    sayer.__exit__()


def last_message(pod: Pod, **changes: str) -> str:
    """Return the last message of `once`, which cannot succeed."""
    ended = pod.run("once", "--timeout", "2", **changes)
    assert ended.code == 4
    message = str(ended.lines[-1]["message"])
    assert "hunter2" not in ended.out + ended.err
    return message


def test_web_page_with_403_is_not_a_denied_role(pod: Pod, page: Sayer) -> None:
    url = f"http://127.0.0.1:{page.port}"
    message = last_message(pod, AWS_ENDPOINT_URL_STS=url)
    assert f"{url} is not STS: its response (HTTP status 403, server squid/5.7) is a web page." in message
    assert "any proxy, captive portal or service mesh" in message
    doctor = pod.run("doctor", AWS_ENDPOINT_URL_STS=url)
    assert doctor.code == 1
    assert f"{url} is not STS: its response (HTTP status 403, server squid/5.7) is a web page." in doctor.out


def test_thumbprint_names_the_certificate_and_not_the_token(pod: Pod) -> None:
    pod.sts.script(*[faults.THUMBPRINT] * 20)
    message = last_message(pod)
    assert "doesn't match configured thumbprint" in message
    assert "which prints the thumbprint of the certificate" in message


@pytest.mark.parametrize(
    ("refusal", "remedy"),
    [
        ("407 Proxy Authentication Required", "The proxy requires a user: set HTTPS_PROXY=http://USER:PASSWORD@HOST"),
        ("403 Forbidden", f"Let the proxy allow CONNECT to {STS_HOST} at port 443"),
    ],
)
def test_log_and_doctor_name_the_proxys_refusal_alike(pod: Pod, refusal: str, remedy: str) -> None:
    with RoutingProxy({}) as proxy:
        proxy.refusal = refusal
        path = {"AWS_ENDPOINT_URL_STS": "", "HTTPS_PROXY": proxy.url.replace("//", "//me:hunter2@")}
        found = (
            f"Cannot call https://{STS_HOST} by the proxy 127.0.0.1:{proxy.port} (HTTPS_PROXY): "
            f"Tunnel connection failed: {refusal}."
        )
        message = last_message(pod, **path)
        doctor = pod.run("doctor", **path)
    assert found in message
    assert remedy in message
    assert found in doctor.out
    assert remedy in doctor.out
    assert "hunter2" not in doctor.out + doctor.err


def test_variable_that_is_no_proxy_is_reported_at_the_start_and_by_the_call(pod: Pod) -> None:
    path = {"AWS_ENDPOINT_URL_STS": "", "HTTPS_PROXY": "socks5://me:hunter2@proxy.example:1080"}
    ended = pod.run("once", "--timeout", "2", **path)
    warnings = [line["message"] for line in ended.lines if line["event"] == "warning"]
    assert any("HTTPS_PROXY is not an http:// URL" in warning for warning in warnings)
    assert "HTTPS_PROXY is not an http:// URL. Set HTTPS_PROXY=http://HOST:PORT" in str(ended.lines[-1]["message"])
    assert "hunter2" not in ended.out + ended.err


def test_endpoint_for_all_services_is_named_where_it_may_be_the_cause(pod: Pod) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}"
    path = {"AWS_ENDPOINT_URL_STS": "", "AWS_ENDPOINT_URL": pod.sts.url, "HTTPS_PROXY": nowhere}
    message = last_message(pod, **path)
    assert f"{IGNORED} To call a custom STS endpoint, set sts.endpoint_url (AWS_ENDPOINT_URL_STS)." in message
    assert pod.sts.calls == []
    doctor = pod.run("doctor", **path)
    assert IGNORED in doctor.out


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")
def test_sticky_directory_names_the_owner_of_the_file(pod: Pod) -> None:
    pod.published.mkdir()
    pod.published.chmod(0o1777)
    file = pod.published / "credentials"
    file.write_text("earlier")
    os.chown(file, 4242, 4242)
    without_override = ("setpriv", "--bounding-set=-fowner", "--inh-caps=-fowner")
    os.chown(pod.published, 4243, 4243)
    ended = pod.run("once", "--timeout", "2", wrapper=without_override)
    assert ended.code == 5
    assert "user 4242 owns credentials, and the directory is sticky (mode 1777)" in str(ended.lines[-1]["message"])
    assert file.read_text() == "earlier"
