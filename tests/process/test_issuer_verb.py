"""`sts-broker issuer` as a user runs it: what `render` writes, and what `check` reports for each misconfiguration."""

from __future__ import annotations

import hashlib
import json
import os
import socketserver
import threading
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

import botocore.exceptions
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.core.findings import is_accepted
from broker.discovery.fetching import document_fetcher
from broker.issuer.check import IssuerCheck
from broker.net.https_client import fetch
from broker.net.routes import Route
from sandbox import Sandbox
from sandbox.http.loopback import LoopbackServer
from tests.process.issuer_faults import MISCONFIGURATIONS, OTHER, PRIVATE, discovery, jwk, keys, token
from tests.sandbox.sts_client import unsigned_client
from tests.support.issuer_site import DISCOVERY, HOST, ISSUER, KEYS, Authority, Proxy, Site, reply
from tests.support.program import run_to_end

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sandbox.http.loopback import Request, Wire
    from tests.process.issuer_faults import Misconfiguration
    from tests.support.issuer_site import Steps
    from tests.support.program import Ended

    Run = Callable[..., Ended]

pytestmark = pytest.mark.process


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def site(authority: Authority) -> Iterator[Site]:
    with Site(authority.server(), {}) as site:
        yield site


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run `sts-broker issuer` with an environment that has only PATH."""

    def start(*arguments: str, stdin: str = "", **environment: str) -> Ended:
        ended = run_to_end(
            "issuer",
            *arguments,
            environment={"PATH": os.environ["PATH"], **environment},
            directory=tmp_path,
            stdin=stdin,
        )
        assert "Traceback" not in ended.err
        return ended

    return start


def failures(ended: Ended) -> list[tuple[str, str]]:
    return [(each["check"], each["found"]) for each in findings(ended, "failed")]


def findings(ended: Ended, verdict: str) -> list[dict[str, Any]]:
    document = json.loads(ended.out)
    return [each for each in document["findings"] if each["verdict"] == verdict]


def pem(key: Any) -> str:  # noqa: ANN401 - any private key
    encoded: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return encoded.decode()


class TestCheck:
    """What is reported about an issuer."""

    @pytest.mark.parametrize("case", MISCONFIGURATIONS, ids=lambda case: case.name)
    def test_single_misconfiguration_is_reported_with_its_remedy(
        self, run: Run, authority: Authority, tmp_path: Path, case: Misconfiguration
    ) -> None:
        arguments = ["check", case.url, "--json", "--timeout", case.timeout, "--ca-bundle", str(authority.bundle)]
        if case.token:
            (tmp_path / "token").write_text(case.token)
            arguments += ["--token", str(tmp_path / "token")]
        with Site(authority.server(**case.server), {DISCOVERY: case.discovery, KEYS: case.keys}) as site:
            ended = run(*arguments, *site.arguments)
        assert ended.code == 1, ended.err
        ((check, message),) = failures(ended)
        assert check == case.check
        assert case.message in message
        assert findings(ended, "failed")[0]["remedy"]
        assert [each["check"] for each in findings(ended, "warning")] in ([], ["route"])
        assert ended.seconds < 8
        if case.token:
            assert case.token not in ended.out
        assert "c2VjcmV0" not in ended.out

    def test_good_issuer_is_accepted_and_described(self, run: Run, authority: Authority, tmp_path: Path) -> None:
        (tmp_path / "token").write_text(token())
        with Site(authority.server(), {DISCOVERY: discovery(), KEYS: keys(jwk())}) as site:
            ended = run(
                "check",
                ISSUER,
                "--ca-bundle",
                str(authority.bundle),
                "--token",
                str(tmp_path / "token"),
                *site.arguments,
            )
            assert [path for path, _ in site.requests] == [DISCOVERY, KEYS]
            assert f"\r\nHost: {HOST}\r\n" in site.requests[0][1]
        assert (ended.code, ended.err) == (0, "")
        thumbprint = hashlib.sha1(authority.intermediate_der).hexdigest()
        for part in (
            f"ok       url          {ISSUER} is an issuer that IAM accepts.",
            "ok       token        The token's iss is this issuer.",
            f"CN={HOST} < CN=Test Intermediate < CN=Test Root; valid until ",
            f"thumbprint for IAM {thumbprint}.",
            "ok       issuer       The document's issuer equals this URL, byte by byte.",
            "ok       keys         1 key: key-1 (RS256, 2048 bits)",
            "ok       token        The token is signed with the published key key-1.",
            "warning  route        ",
        ):
            assert part in ended.out
        assert "failed" not in ended.out

    def test_good_issuer_for_programs(self, run: Run, authority: Authority) -> None:
        with Site(authority.server(), {DISCOVERY: discovery(), KEYS: keys(jwk())}) as site:
            ended = run("check", ISSUER, "--json", *site.arguments, SSL_CERT_FILE=str(authority.bundle))
        document = json.loads(ended.out)
        assert (ended.code, document["accepted"], document["issuer"]) == (0, True, ISSUER)
        assert document["keys"] == [{"kid": "key-1", "algorithm": "RS256"}]
        assert document["thumbprints"] == {HOST: hashlib.sha1(authority.intermediate_der).hexdigest()}
        assert [each["subject"] for each in document["certificates"][HOST]] == [f"CN={HOST}", "CN=Test Intermediate"]

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"discovery": discovery(response_types_supported=None)}, "has no list response_types_supported"),
            (
                {"discovery": discovery(id_token_signing_alg_values_supported=["ES256"])},
                "lists ES256; the keys are RS256",
            ),
            ({"discovery": discovery(jwks_uri=f"https://{HOST}:6443/cluster/keys.json")}, "jwks_uri has port 6443"),
            ({"keys": keys(jwk(alg=None))}, "has no alg"),
            ({"keys": keys(jwk(use=None))}, "has no use"),
            (
                {"keys": reply({"keys": [jwk()]}, content_type="binary/octet-stream")},
                "content type is binary/octet-stream",
            ),
            ({"keys": reply({"keys": [jwk()]}, content_type="")}, "content type is missing"),
            ({"server": {"ends": timedelta(days=20)}}, "it expires in less than 30 days"),
            ({"server": {"is_modern": True}}, "accepts only TLS 1.3; AWS then goes by the provider's thumbprints"),
            ({"token": token(exp=1_700_000_000)}, "The token expired at 2023-11-14T22:13:20Z: STS refuses it"),
        ],
        ids=["types", "algorithms", "port", "alg", "use", "octets", "no-type", "expiry", "TLS-1.3", "expired-token"],
    )
    def test_undocumented_behavior_of_aws_is_a_warning(
        self, run: Run, authority: Authority, changes: dict[str, Any], message: str
    ) -> None:
        site = {"server": {}, "discovery": discovery(), "keys": keys(jwk()), "token": token(), **changes}
        with Site(authority.server(**site["server"]), {DISCOVERY: site["discovery"], KEYS: site["keys"]}) as served:
            arguments = ["check", ISSUER, "--json", "--token", "-", "--ca-bundle", str(authority.bundle)]
            ended = run(*arguments, *served.arguments, stdin=site["token"])
        warnings = [each for each in findings(ended, "warning") if each["check"] != "route"]
        assert (ended.code, failures(ended), len(warnings)) == (0, [], 1)
        assert message in f"{warnings[0]['found']} {warnings[0]['remedy']}"

    def test_several_faults_are_reported_at_once(self, run: Run, authority: Authority, tmp_path: Path) -> None:
        (tmp_path / "token").write_text(token(iss="https://a.example"))
        replies = {DISCOVERY: discovery(issuer="https://b.example"), KEYS: keys(jwk(kid="key-2"))}
        with Site(authority.server(is_self_signed=True), replies) as site:
            ended = run("check", ISSUER, "--json", "--token", str(tmp_path / "token"), *site.arguments)
        assert [check for check, _ in failures(ended)] == ["token", "certificate", "issuer", "token"]

    def test_text_from_a_server_cannot_move_the_cursor(self, run: Run, authority: Authority) -> None:
        replies = {DISCOVERY: discovery(issuer="\x1b[2J" + token()), KEYS: keys(jwk(kid="\x1b[31m" + "k" * 500))}
        with Site(authority.server(), replies) as site:
            ended = run("check", ISSUER, "--ca-bundle", str(authority.bundle), *site.arguments)
        assert ended.code == 1
        assert "\x1b" not in ended.out
        assert "eyJ" not in ended.out
        assert max(len(line) for line in ended.out.splitlines()) < 400

    def test_keys_for_other_uses_next_to_a_good_one_are_warnings(self, run: Run, authority: Authority) -> None:
        encryption = jwk(OTHER, kid="kc-enc", use="enc", alg="RSA-OAEP")
        published = keys(jwk(), encryption, {"kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": "AA"})
        with Site(authority.server(), {DISCOVERY: discovery(), KEYS: published}) as site:
            arguments = ["check", ISSUER, "--json", "--token", "-", "--ca-bundle", str(authority.bundle)]
            ended = run(*arguments, *site.arguments, stdin=token())
            signed_with_it = run(*arguments, *site.arguments, stdin=token(OTHER, kid="kc-enc"))
        assert (ended.code, failures(ended)) == (0, [])
        passed_over = [each["found"] for each in findings(ended, "warning") if each["check"] == "key"]
        ending = "STS passes it over: a token for STS must not be signed with it."
        assert passed_over == [
            "Key kc-enc has alg RSA-OAEP; STS accepts RS256, RS384, RS512, ES256, ES384, ES512. " + ending,
            "Key ed has kty OKP; STS accepts RSA and EC. " + ending,
        ]
        assert json.loads(ended.out)["keys"] == [{"kid": "key-1", "algorithm": "RS256"}]
        ((check, found),) = failures(signed_with_it)
        assert (signed_with_it.code, check) == (1, "token")
        assert "the published key kc-enc, which STS cannot use: it has alg RSA-OAEP" in found

    def test_private_key_next_to_a_good_one_fails(self, run: Run, authority: Authority) -> None:
        shared: dict[str, object] = {"kty": "oct", "kid": "b", "alg": "HS256", "k": "c2VjcmV0"}
        with Site(authority.server(), {DISCOVERY: discovery(), KEYS: keys(jwk(), shared)}) as site:
            ended = run("check", ISSUER, "--json", "--ca-bundle", str(authority.bundle), *site.arguments)
        assert failures(ended) == [("key", "PRIVATE KEY: Key b has k. Anyone who reads this document can sign tokens.")]

    def test_token_is_read_from_standard_input(self, run: Run, authority: Authority) -> None:
        with Site(authority.server(), {DISCOVERY: discovery(), KEYS: keys(jwk())}) as site:
            arguments = ["check", ISSUER, "--token", "-", "--ca-bundle", str(authority.bundle), *site.arguments]
            assert run(*arguments, stdin=token()).code == 0
            assert run(*arguments, stdin="no token").code == 3
            assert run(*arguments[:2], "--token", "/nowhere").code == 3

    def test_closed_port_is_reported(self, run: Run, authority: Authority) -> None:
        with Site(authority.server(), {}) as site:
            pass
        ended = run("check", ISSUER, "--json", *site.arguments)
        ((check, message),) = failures(ended)
        assert (ended.code, check) == (1, "discovery")
        assert "Connection refused" in message

    def test_server_without_tls_is_reported(self, run: Run) -> None:
        with socketserver.TCPServer(("127.0.0.1", 0), PlainServer) as server:
            port = server.server_address[1]
            serving = threading.Thread(target=server.serve_forever, args=(0.01,))
            serving.start()
            ended = run("check", ISSUER, "--json", "--connect-to", f"{HOST}:443:127.0.0.1:{port}")
            server.shutdown()
            serving.join()
        ((check, message),) = failures(ended)
        assert (ended.code, check) == (1, "discovery")
        assert f"by 127.0.0.1:{port} (--connect-to): TLS failed: " in message

    def test_unreachable_proxy_is_named(self, run: Run) -> None:
        with Proxy(0) as proxy:
            pass
        ended = run("check", ISSUER, "--json", HTTPS_PROXY=f"http://127.0.0.1:{proxy.port}")
        ((check, message),) = failures(ended)
        assert (ended.code, check) == (1, "discovery")
        assert f"by the proxy 127.0.0.1:{proxy.port} (HTTPS_PROXY): Connection refused" in message

    def test_proxy_is_used_and_reported(self, run: Run, authority: Authority) -> None:
        with Site(authority.server(), {DISCOVERY: discovery(), KEYS: keys(jwk())}) as site, Proxy(site.port) as proxy:
            ended = run(
                "check",
                ISSUER,
                "--json",
                "--ca-bundle",
                str(authority.bundle),
                HTTPS_PROXY=f"http://me:se%20cret@127.0.0.1:{proxy.port}",
            )
        assert ended.code == 0, ended.out
        assert proxy.asked == [(f"{HOST}:443", "Basic bWU6c2UgY3JldA==")] * 2
        (route,) = findings(ended, "warning")
        assert f"by the proxy 127.0.0.1:{proxy.port} (HTTPS_PROXY)" in route["found"]
        assert "cret" not in ended.out

    @pytest.mark.parametrize("value", [HOST, ".company.example", "a, company.example", "*"])
    def test_no_proxy_bypasses_the_proxy(self, run: Run, authority: Authority, value: str) -> None:
        with Site(authority.server(), {}) as site, Proxy(site.port) as proxy:
            run("check", ISSUER, HTTPS_PROXY=f"http://127.0.0.1:{proxy.port}", NO_PROXY=value)
        assert proxy.asked == []

    @pytest.mark.parametrize(
        ("file", "message"),
        [
            ("/nowhere", "No such file or directory"),
            (__file__, "it holds no CA certificates"),
            ("/dev/null", "it is a character device; expected a regular file"),
            ("/", "it is a directory; expected a regular file"),
        ],
    )
    def test_unusable_bundle_is_exit_code_2(self, run: Run, file: str, message: str) -> None:
        ended = run("check", ISSUER, "--ca-bundle", file)
        assert (ended.code, ended.out) == (2, "")
        assert f"--ca-bundle {file} cannot be used: {message}." in ended.err

    @pytest.mark.parametrize(
        "arguments",
        [
            [],
            ["check"],
            ["check", ISSUER, "--timeout", "0"],
            ["check", ISSUER, "--timeout", "soon"],
            ["check", ISSUER, "--timeout", "61"],
            ["check", ISSUER, "--connect-to", "127.0.0.1:8443"],
            ["check", ISSUER, "--connect-to", "::127.0.0.1:65536"],
            ["render"],
            ["render", "--issuer", ISSUER, "--output", "site"],
        ],
    )
    def test_wrong_arguments_are_exit_code_2(self, run: Run, arguments: list[str]) -> None:
        ended = run(*arguments)
        assert ended.code == 2
        assert ended.out == ""


class TestHostileServers:
    """Every answer of a server ends in a report."""

    @given(
        st.binary(max_size=300)
        | st.builds(
            lambda status, header, body: b"HTTP/1.1 " + status + b"\r\n" + header + b"\r\n\r\n" + body,
            st.sampled_from([b"200 OK", b"200", b"99 ?", b"100 Continue", b"304 Not Modified", b"302 Found", b"-1 a"]),
            st.sampled_from(
                [b"Transfer-Encoding: chunked", b"Content-Length: -5", b"Content-Length: 99999999999999999"]
            )
            | st.binary(max_size=60),
            st.binary(max_size=200) | st.text(alphabet='{}[]":,0\\ue', max_size=60).map(str.encode),
        )
    )
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_any_bytes_end_in_a_report(self, authority: Authority, site: Site, answer: bytes) -> None:
        site.replies[DISCOVERY] = [answer]
        route = Route(
            timeout_seconds=5, ca_bundle=str(authority.bundle), connect_to={("", 0): ("127.0.0.1", site.port)}
        )
        fetch_document = document_fetcher(fetch, route)
        check = IssuerCheck(ISSUER, token=None, fetch=fetch_document, trusted_by="it", now=datetime.now(UTC))
        report = check.run()
        assert not is_accepted(report.findings)
        assert all(finding.found.isprintable() for finding in report.findings)


class TestRender:
    """What is written, and that `check` and STS accept it."""

    def test_documents_equal_those_of_api_servers(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "a.pem").write_text(pem(PRIVATE))
        ended = run("render", "--issuer", ISSUER, "--output", "site/x", "--public-key", "a.pem")
        assert (ended.code, ended.err) == (0, "")
        document = json.loads((tmp_path / "site/x/.well-known/openid-configuration").read_text())
        assert document == {
            "issuer": ISSUER,
            "jwks_uri": f"{ISSUER}/keys.json",
            "authorization_endpoint": "urn:kubernetes:programmatic_authorization",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "claims_supported": ["aud", "exp", "iat", "iss", "sub"],
        }
        (key,) = json.loads((tmp_path / "site/x/keys.json").read_text())["keys"]
        assert key == jwk(kid=key["kid"])
        assert f"  {key['kid']} RS256, 2048 bits\n" in ended.out
        assert ended.out.endswith(f"sts-broker issuer check {ISSUER}\n")

    def test_same_keys_in_any_order_give_the_same_bytes(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "a.pem").write_text(pem(PRIVATE))
        (tmp_path / "b.pem").write_text(pem(OTHER) + pem(ec.generate_private_key(ec.SECP384R1())))
        run("render", "--issuer", ISSUER, "--output", "one", "--public-key", "a.pem", "--public-key", "b.pem")
        again = run(
            *("render", "--issuer", ISSUER, "--output", "two", "--public-key", "b.pem", "--public-key", "a.pem"),
            *("--jwks", "one/keys.json", "--jwks", "-"),
            stdin=(tmp_path / "one/keys.json").read_text(),
        )
        assert again.code == 0
        for name in ("keys.json", ".well-known/openid-configuration"):
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
        assert len(json.loads((tmp_path / "two/keys.json").read_text())["keys"]) == 3

    def test_every_fault_is_reported_and_nothing_is_written(self, run: Run, tmp_path: Path) -> None:
        private = PRIVATE.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (tmp_path / "private.pem").write_bytes(private)
        (tmp_path / "jwks.json").write_text(json.dumps({"keys": [jwk(d="c2VjcmV0"), jwk(kid="b", alg="HS256")]}))
        (tmp_path / "html.json").write_text("<html>")
        ended = run(
            *("render", "--issuer", "http://kubernetes.default.svc:6443/", "--output", "site", "--jwks", "jwks.json"),
            *("--jwks", "html.json", "--jwks", "none.json", "--public-key", "private.pem", "--public-key", "html.json"),
        )
        assert (ended.code, ended.out) == (2, "")
        for part in (
            "the configuration has 9 faults",
            "begins with http://",
            "has a port",
            "ends with a slash",
            "Write https://kubernetes.default.svc ",
            "jwks.json: PRIVATE KEY: Key key-1 has d.",
            "jwks.json: Key b has alg HS256",
            "html.json: it is not valid JSON",
            "none.json cannot be read: No such file or directory.",
            "private.pem holds a private key",
            "html.json has no PEM block",
        ):
            assert part in ended.err
        assert private.decode().splitlines()[1] not in ended.err
        assert "c2VjcmV0" not in ended.err
        assert not (tmp_path / "site").exists()

    def test_key_for_another_use_is_left_out_and_named(self, run: Run, tmp_path: Path) -> None:
        encryption = jwk(OTHER, kid="kc-enc", use="enc", alg="RSA-OAEP")
        (tmp_path / "keys.json").write_text(json.dumps({"keys": [jwk(), encryption]}))
        ended = run("render", "--issuer", ISSUER, "--output", "site", "--jwks", "keys.json")
        assert (ended.code, ended.err) == (0, "")
        assert "\n  left out: kc-enc has alg RSA-OAEP; STS accepts RS256, " in ended.out
        (published,) = json.loads((tmp_path / "site/keys.json").read_text())["keys"]
        assert published == jwk()

    def test_two_keys_of_one_kid_are_refused(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "a.json").write_text(json.dumps({"keys": [jwk()]}))
        (tmp_path / "b.json").write_text(json.dumps({"keys": [jwk(OTHER)]}))
        ended = run("render", "--issuer", ISSUER, "--output", "site", "--jwks", "a.json", "--jwks", "b.json")
        assert ended.code == 2
        assert "Two different keys have the kid key-1." in ended.err

    def test_withdrawn_key_is_reported(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "a.json").write_text(json.dumps({"keys": [jwk(), jwk(OTHER, kid="key-2")]}))
        (tmp_path / "b.json").write_text(json.dumps({"keys": [jwk(OTHER, kid="key-2")]}))
        render = ("render", "--issuer", ISSUER, "--output", "site", "--jwks")
        assert "withdrawn" not in run(*render, "b.json").out
        assert "withdrawn" not in run(*render, "a.json").out
        assert "  withdrawn: key-1; STS will refuse tokens signed with it\n" in run(*render, "b.json").out

    def test_key_ids_cannot_move_the_cursor(self, run: Run, tmp_path: Path) -> None:
        for name, kid in (("a.json", "\x1b[2Jone\n"), ("b.json", "two")):
            (tmp_path / name).write_text(json.dumps({"keys": [jwk(kid=kid)]}))
        render = ("render", "--issuer", ISSUER, "--output", "site", "--jwks")
        printed = run(*render, "a.json").out + run(*render, "b.json").out
        assert "\n  ?[2Jone? RS256, 2048 bits\n" in printed
        assert "\n  withdrawn: ?[2Jone?; STS" in printed

    def test_unwritable_directory_is_exit_code_5(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "a.pem").write_text(pem(PRIVATE))
        (tmp_path / "file").write_text("")
        ended = run("render", "--issuer", ISSUER, "--output", "file", "--public-key", "a.pem")
        assert ended.code == 5
        assert "Cannot write file/keys.json: " in ended.err

    @pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
    def test_elliptic_keys_are_accepted_by_check(
        self, run: Run, authority: Authority, tmp_path: Path, curve: ec.EllipticCurve
    ) -> None:
        key = ec.generate_private_key(curve)
        (tmp_path / "a.pem").write_text(pem(key))
        run("render", "--issuer", ISSUER, "--output", "site", "--public-key", "a.pem")
        (published,) = json.loads((tmp_path / "site/keys.json").read_text())["keys"]
        (tmp_path / "token").write_text(token(key, kid=published["kid"], algorithm=published["alg"]))
        with Site(authority.server(), served(tmp_path / "site")) as site:
            ended = run(
                "check", ISSUER, "--json", "--token", "token", "--ca-bundle", str(authority.bundle), *site.arguments
            )
        assert (ended.code, failures(ended)) == (0, [])
        assert f"signed with the published key {published['kid']}" in ended.out


class TestRotation:
    """render, check and STS agree on every step of a rotation of the signing key."""

    def test_overlap_keeps_every_token_accepted(self, run: Run, authority: Authority, tmp_path: Path) -> None:
        with Rotation(run, authority, tmp_path) as rotation:
            old, old_keys = rotation.mint(), rotation.cluster_keys("old.json")
            rotation.publish("--jwks", old_keys)
            assert rotation.verdicts(old) == (0, "accepted")

            rotation.box.issuer.add_key()  # which signs from now on
            new, both = rotation.mint(), rotation.cluster_keys("both.json")
            assert rotation.verdicts(new) == (1, "InvalidIdentityToken")  # published too late

            rotation.publish("--jwks", both, "--jwks", old_keys)
            assert rotation.verdicts(old) == (0, "accepted")
            assert rotation.verdicts(new) == (0, "accepted")

            rotation.box.issuer.retire_key(rotation.box.issuer.key_ids[0])
            rotation.publish("--jwks", rotation.cluster_keys("new.json"))
            assert rotation.verdicts(old) == (1, "InvalidIdentityToken")  # withdrawn too early
            assert rotation.verdicts(new) == (0, "accepted")

            rotation.publish("--jwks", both)  # going back
            assert rotation.verdicts(old) == (0, "accepted")


class PlainServer(socketserver.BaseRequestHandler):
    """Answers any bytes. It does not read lines, because a TLS greeting may contain no line break."""

    def handle(self) -> None:
        self.request.recv(65_536)
        self.request.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def served(directory: Path) -> dict[str, Steps]:
    """Return the rendered files as replies of a web server below the issuer's path."""
    return {
        DISCOVERY: reply((directory / ".well-known/openid-configuration").read_bytes()),
        KEYS: reply((directory / "keys.json").read_bytes()),
    }


class Rotation:
    """A sandbox that serves what `sts-broker issuer render` last wrote as the issuer's documents."""

    def __init__(self, run: Run, authority: Authority, directory: Path) -> None:
        self._run, self._authority, self._directory = run, authority, directory
        self.box = Sandbox(issuer=ISSUER)
        self._static = LoopbackServer(answer=self._answer)
        self.box.addresses[ISSUER] = self._static.url
        self._client = unsigned_client(self.box)
        self._role = self.box.create_role("rotation-app")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        self._static.stop()
        self.box.stop()

    def mint(self) -> str:
        """Return a token signed with the current key."""
        return self.box.issuer.mint()

    def cluster_keys(self, name: str) -> str:
        """Save what `kubectl get --raw /openid/v1/jwks` would print."""
        with urllib.request.urlopen(self.box.issuer.jwks_url) as response:
            (self._directory / name).write_bytes(response.read())
        return name

    def publish(self, *arguments: str) -> None:
        """Render the documents again; both servers serve them at once."""
        ended = self._run("render", "--issuer", ISSUER, "--output", "site", *arguments)
        assert ended.code == 0, ended.err

    def verdicts(self, token: str) -> tuple[int, str]:
        """Return the exit code of `issuer check` and STS's error code, or "accepted"."""
        (self._directory / "token").write_text(token)
        with Site(self._authority.server(), served(self._directory / "site")) as site:
            checked = self._run(
                *("check", ISSUER, "--token", "token", "--ca-bundle", str(self._authority.bundle), *site.arguments)
            )
        try:
            self._client.assume_role_with_web_identity(
                RoleArn=self._role, RoleSessionName="rotation", WebIdentityToken=token
            )
        except botocore.exceptions.ClientError as error:
            return checked.code, str(error.response["Error"]["Code"])
        return checked.code, "accepted"

    def _answer(self, request: Request, wire: Wire) -> None:
        file = self._directory / "site" / request.path.lstrip("/")
        wire.send(200, {"Content-Type": "application/json"}, file.read_bytes())
