"""Keys, certificates and URLs of issuers, compared with `cryptography` and with the RFCs' own examples."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from hypothesis import example, given
from hypothesis import strategies as st

from broker.core.errors import ConfigurationError
from broker.core.findings import Verdict, is_accepted, quoted
from broker.discovery import issuer_url
from broker.issuer import certificates, der, documents, key_sets, public_keys
from tests.support.issuer_site import HOST, Authority

if TYPE_CHECKING:
    from pathlib import Path

CURVES = [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()]
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
KEYS: list[Any] = [RSA_KEY, *(ec.generate_private_key(curve) for curve in CURVES)]
RFC_7638_N = (
    "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn6"
    "4tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91"
    "CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
)
RFC_7517_EC = {
    "kty": "EC",
    "crv": "P-256",
    "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
    "use": "sig",
    "kid": "1",
}


def make_certificate() -> bytes:
    parts = ((x509.NameOID.COMMON_NAME, "a"), (x509.NameOID.ORGANIZATION_NAME, "b"))
    name = x509.Name([x509.NameAttribute(kind, value) for kind, value in parts])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(KEYS[1].public_key())
    builder = builder.serial_number(5).not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
    builder = builder.not_valid_after(datetime(2060, 1, 1, tzinfo=UTC))
    return builder.sign(KEYS[1], hashes.SHA256()).public_bytes(serialization.Encoding.DER)


CERTIFICATE = make_certificate()
"""With a name of two parts, and a date after 2049, which is written another way."""


def encoded(key: Any, form: serialization.PublicFormat = serialization.PublicFormat.SubjectPublicKeyInfo) -> bytes:  # noqa: ANN401 - any private key
    content: bytes = key.public_key().public_bytes(serialization.Encoding.DER, form)
    return content


def pem(key: Any) -> str:  # noqa: ANN401 - likewise
    content: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return content.decode()


def refusals(document: dict[str, Any]) -> list[str]:
    return [each.found for each in key_sets.examine(document)[1] if each.verdict is Verdict.FAILED]


class TestKeysFromPem:
    """SubjectPublicKeyInfo, as far as STS takes it."""

    @pytest.mark.parametrize("key", KEYS, ids=["RSA", "P-256", "P-384", "P-521"])
    def test_same_numbers_as_cryptography(self, key: Any) -> None:  # noqa: ANN401 - any private key
        (found,) = public_keys.from_pem(f"a comment\n{pem(key)}", "file")
        again = jwt.PyJWK(found.document()).key
        assert again == key.public_key()
        assert found.document()["kid"] == found.kid

    @pytest.mark.parametrize("key", KEYS, ids=["RSA", "P-256", "P-384", "P-521"])
    def test_key_id_is_that_of_kubernetes(self, key: Any) -> None:  # noqa: ANN401 - any private key
        digest = hashlib.sha256(encoded(key)).digest()
        (found,) = public_keys.from_pem(pem(key), "file")
        assert found.kid == base64.urlsafe_b64encode(digest).decode().rstrip("=")

    def test_algorithm_follows_the_kind_of_key(self) -> None:
        found = public_keys.from_pem("".join(map(pem, KEYS)), "file")
        assert [key.algorithm for key in found] == ["RS256", "ES256", "ES384", "ES512"]
        assert [key.description for key in found][:2] == ["RS256, 2048 bits", "ES256, P-256"]

    @pytest.mark.parametrize(
        ("key", "said"),
        [
            (rsa.generate_private_key(public_exponent=65537, key_size=1024), "it has 1024 bits; expected 2048 or more"),
            (ed25519.Ed25519PrivateKey.generate(), "it is neither an RSA nor an EC key"),
            (dsa.generate_private_key(1024), "it is neither an RSA nor an EC key"),
            (ec.generate_private_key(ec.SECP256K1()), "its curve is none of P-256, P-384 and P-521"),
        ],
        ids=["small", "Ed25519", "DSA", "K-256"],
    )
    def test_kind_that_sts_does_not_take_is_refused(self, key: Any, said: str) -> None:  # noqa: ANN401 - any private key
        with pytest.raises(ValueError, match=f"file has a PUBLIC KEY that cannot be used: {said}"):
            public_keys.from_pem(pem(key), "file")

    def test_compressed_point_is_refused_as_by_go(self) -> None:
        key = KEYS[1].public_key()
        point = key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
        kind = encoded(KEYS[1])[2:23]  # the AlgorithmIdentifier of P-256
        content = b"\x30\x39" + kind + b"\x03\x22\x00" + point
        assert serialization.load_der_public_key(content) == key
        with pytest.raises(ValueError, match="its point is not written in full"):
            public_keys.from_subject_public_key_info(content)

    def test_point_off_its_curve_is_refused(self) -> None:
        content = bytearray(encoded(KEYS[1]))
        content[-1] ^= 1
        with pytest.raises(ValueError, match="its point is not on P-256"):
            public_keys.from_subject_public_key_info(bytes(content))

    @pytest.mark.parametrize(
        "form",
        [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL],
        ids=["PKCS8", "old"],
    )
    @pytest.mark.parametrize("password", [b"", b"word"], ids=["plain", "encrypted"])
    @pytest.mark.parametrize("key", KEYS[:2], ids=["RSA", "EC"])
    def test_private_key_is_refused_and_not_quoted(
        self,
        key: Any,  # noqa: ANN401 - any private key
        form: serialization.PrivateFormat,
        password: bytes,
    ) -> None:
        protection = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        text = key.private_bytes(serialization.Encoding.PEM, form, protection).decode()
        with pytest.raises(ValueError, match=r"^sa\.key holds a private key") as caught:
            public_keys.from_pem(pem(key) + text, "sa.key")
        for line in text.splitlines()[1:-1]:
            assert not line or line not in str(caught.value)

    @pytest.mark.parametrize(
        ("label", "said"),
        [
            ("RSA PUBLIC KEY", "openssl rsa -RSAPublicKey_in -in FILE -pubout"),
            ("CERTIFICATE", "openssl x509 -in FILE -noout -pubkey"),
            ("X509 CRL", r"expected PUBLIC KEY\.$"),
        ],
    )
    def test_other_blocks_are_told_with_the_command_that_converts_them(self, label: str, said: str) -> None:
        with pytest.raises(ValueError, match=said):
            public_keys.from_pem(f"-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n", "file")

    @pytest.mark.parametrize("text", ["", "-----BEGIN PUBLIC KEY-----", "ssh-rsa AAAA", "{}"])
    def test_no_block_is_told(self, text: str) -> None:
        with pytest.raises(ValueError, match="file has no PEM block"):
            public_keys.from_pem(text, "file")


class TestStrictness:
    """Whatever the bytes: a key, or ValueError; and what is a key here is the same one to cryptography."""

    @given(st.binary(max_size=400))
    @example(b"")
    @example(b"\x30\x80\x00\x00")
    @example(b"\x30\x84\xff\xff\xff\xff")
    @example(b"\x1f\x81\x00")
    def test_random_bytes_are_refused_with_value_error(self, content: bytes) -> None:
        with pytest.raises(ValueError, match=r"\w"):
            public_keys.from_subject_public_key_info(content)

    @given(st.sampled_from(KEYS), st.integers(0, 600), st.integers(0, 255), st.sampled_from("xid"))
    def test_mutated_key_is_refused_or_the_same_to_cryptography(
        self,
        key: Any,  # noqa: ANN401 - any private key
        place: int,
        value: int,
        kind: str,
    ) -> None:
        content = bytearray(encoded(key))
        place %= len(content)
        if kind == "x":
            content[place] = value
        elif kind == "i":
            content.insert(place, value)
        else:
            del content[place]
        try:
            found = public_keys.from_subject_public_key_info(bytes(content))
        except ValueError:
            return
        other = serialization.load_der_public_key(bytes(content))
        assert jwt.PyJWK(found.document()).key == other
        assert encoded_public(other) == bytes(content)  # so the key id is Kubernetes' too

    @given(st.binary(max_size=300))
    def test_random_bytes_are_no_certificate(self, content: bytes) -> None:
        with pytest.raises(ValueError, match=r"\w"):
            certificates.read(content)

    @given(st.integers(0, 2000), st.integers(0, 255), st.booleans())
    def test_mutated_certificate_is_read_or_a_value_error(self, place: int, value: int, is_inserted: bool) -> None:
        content = bytearray(CERTIFICATE)
        place %= len(content)
        content[place : place + (not is_inserted)] = bytes([value])
        assert len(certificates.read_all([bytes(content)])) <= 1

    @given(st.binary(max_size=200))
    def test_random_bytes_are_a_json_object_or_a_value_error(self, content: bytes) -> None:
        said, document = "", {}
        try:
            document = key_sets.parse(content)
        except ValueError as error:
            said = str(error)
        assert isinstance(document, dict)
        assert len(said) < 120

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=8),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["keys", "kty", "kid"]), inner),
        )
    )
    def test_any_key_document_is_examined_without_a_fault_of_ours(self, given_keys: object) -> None:
        for document in ({"keys": given_keys}, {"keys": [given_keys, {"kty": "RSA", "kid": given_keys}]}):
            found, findings = key_sets.examine(document)
            assert found == []
            assert not is_accepted(findings)

    @given(st.text(max_size=80))
    @example("https://")
    @example("https://[::1")
    @example("https://a:99999")
    @example("https://a:b")
    @example("https://٣.example")
    @example("https://a\u2100.example")
    def test_any_text_is_examined_as_a_url(self, text: str) -> None:
        findings = issuer_url.examine(text)
        assert is_accepted(findings) == (not findings)
        issuer_url.difference("https://a.example", text)

    def test_needless_zero_is_refused(self) -> None:
        for content in (b"\x02\x02\x00\x01", b"\x02\x00", b"\x02\x01\xff", b"\x02\x81\x01\x01", b"\x02\x82\x00\x81"):
            with pytest.raises(ValueError, match=r"\w"):
                der.DerReader(content).natural()
        assert der.DerReader(b"\x02\x02\x00\x80").natural() == 128

    def test_tags_and_ends_are_looked_at(self) -> None:
        for content in (b"\x1f\x01\x00", b"\x30", b"\x30\x82\x01", b"\x30\x81\x80", b"\x02\x01\x00"):
            with pytest.raises(ValueError, match=r"\w"):
                der.DerReader(content).reader(der.SEQUENCE).finish()
        with pytest.raises(ValueError, match="several bytes"):
            der.DerReader(b"\x1f\x01\x00").take_any()

    def test_bits_that_are_no_whole_bytes_are_refused(self) -> None:
        for content in (b"\x03\x00", b"\x03\x02\x01\x80"):
            with pytest.raises(ValueError, match="whole bytes"):
                der.DerReader(content).bits()


def encoded_public(key: Any) -> bytes:  # noqa: ANN401 - any public key
    content: bytes = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return content


class TestKeySets:
    """What STS takes of a key document, with the examples of RFC 7517 (appendix A.1) and RFC 7638 (section 3.1)."""

    def test_examples_of_the_rfcs_are_read(self) -> None:
        rsa_key = {"kty": "RSA", "n": RFC_7638_N, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}
        keys, findings = key_sets.examine({"keys": [{**RFC_7517_EC, "alg": "ES256"}, {**rsa_key, "use": "sig"}]})
        assert [each.verdict for each in findings] == [Verdict.OK]
        assert findings[0].found == "2 keys: 1 (ES256, P-256); 2011-04-29 (RS256, 2048 bits)"
        assert keys[1].document() == {**rsa_key, "use": "sig"}
        assert keys[0].document() == {**RFC_7517_EC, "alg": "ES256"}

    def test_encryption_key_of_the_rfc_is_refused(self) -> None:
        said = refusals({"keys": [{**RFC_7517_EC, "use": "enc"}]})
        assert said == ["Key 1 has use enc; expected sig."]

    def test_short_coordinate_is_refused(self) -> None:
        said = refusals({"keys": [{**RFC_7517_EC, "x": "AQAB"}]})
        assert said == ["Key 1: x and y must have 32 bytes each (RFC 7518 section 6.2.1)."]

    def test_algorithm_of_another_curve_is_refused(self) -> None:
        said = refusals({"keys": [{**RFC_7517_EC, "alg": "ES384"}]})
        assert said == ["Key 1 is on P-256 and has alg ES384; expected ES256."]

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"e": "AQ"}, "its numbers are no RSA key's"),
            ({"e": "AQAC"}, "its numbers are no RSA key's"),
            ({"e": "gAAAAAE"}, "its numbers are no RSA key's"),
            ({"n": RFC_7638_N[:-1] + "Q"}, ""),
            ({"n": RFC_7638_N[:-2] + "AA"}, "its numbers are no RSA key's"),
            ({"n": "A"}, "n is no base64url without padding"),
            ({"n": RFC_7638_N[:100]}, "it has 600 bits; expected 2048 or more"),
        ],
    )
    def test_numbers_that_are_no_key_are_told(self, changes: dict[str, str], said: str) -> None:
        key = {"kty": "RSA", "n": RFC_7638_N, "e": "AQAB", "alg": "RS256", "kid": "a", "use": "sig", **changes}
        assert refusals({"keys": [key]}) == ([f"Key a: {said}."] if said else [])

    @pytest.mark.parametrize("changes", [{"crv": "P-192"}, {"crv": None}, {"x": None}, {"y": 5}, {"x": "é"}])
    def test_member_that_is_none_is_told(self, changes: dict[str, Any]) -> None:
        assert len(refusals({"keys": [{**RFC_7517_EC, **changes}]})) == 1

    def test_more_than_100_keys_of_a_kind_are_refused(self) -> None:
        keys = [{**RFC_7517_EC, "kid": str(number)} for number in range(101)]
        assert refusals({"keys": keys}) == ["The key document has 101 EC keys; AWS takes 100."]
        assert refusals({"keys": keys[1:]}) == []

    @pytest.mark.parametrize("member", ["d", "p", "q", "dp", "dq", "qi", "oth", "k"])
    def test_private_member_is_told_by_its_name_alone(self, member: str) -> None:
        (said,) = refusals({"keys": [{**RFC_7517_EC, member: "c2VjcmV0"}]})
        assert said.startswith(f"PRIVATE KEY: Key 1 has {member}.")
        assert "c2VjcmV0" not in said


class TestDocuments:
    """What `render` writes, beyond what its process tests see."""

    def test_render_without_keys_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="There is no key to publish"):
            documents.render("https://oidc.example.com", [])

    def test_too_many_keys_together_are_refused(self) -> None:
        (key,) = public_keys.from_pem(pem(RSA_KEY), "file")
        keys = [public_keys.PublicKey(kid=str(number), algorithm="RS256", numbers=key.numbers) for number in range(101)]
        with pytest.raises(ConfigurationError, match="101 RSA keys"):
            documents.render("https://oidc.example.com", keys)

    def test_huge_file_is_refused(self) -> None:
        _, faults = documents.gather(["-"], ["-"], io.BytesIO(b" " * 600_000))
        assert [fault.split(";")[0] for fault in faults] == ["- has over 262,144 bytes"] * 2

    def test_writing_again_replaces_whole_files(self, tmp_path: Path) -> None:
        keys = [public_keys.from_pem(pem(key), "file")[0] for key in KEYS]
        for published in (keys, keys[:1]):
            rendered = documents.render("https://oidc.example.com", published)
            paths = documents.write(str(tmp_path), rendered)
            assert [json.loads((tmp_path / path).read_text()) for path in paths]
        assert len(json.loads((tmp_path / "keys.json").read_text())["keys"]) == 1
        names = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
        assert names == ["keys.json", "openid-configuration"]
        assert {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_file()} == {0o644}


class TestCertificates:
    """What is shown of a chain."""

    def test_same_names_and_dates_as_cryptography(self, tmp_path: Path) -> None:
        authority = Authority(tmp_path)
        authority.server()
        content = next(path for path in tmp_path.iterdir() if path.name.startswith(HOST)).read_bytes()
        for each in x509.load_pem_x509_certificates(content):
            found = certificates.read(each.public_bytes(serialization.Encoding.DER))
            assert found.subject == each.subject.rfc4514_string()
            assert found.issuer == each.issuer.rfc4514_string()
            assert (found.not_before, found.not_after) == (each.not_valid_before_utc, each.not_valid_after_utc)

    def test_dates_after_2049_and_names_of_several_parts_are_read(self) -> None:
        (found,) = certificates.read_all([CERTIFICATE])
        assert found.not_before == datetime(2026, 1, 1, tzinfo=UTC)
        assert found.not_after == datetime(2060, 1, 1, tzinfo=UTC)
        assert found.subject == found.issuer == "CN=a, O=b"
        assert found.sha1 == hashlib.sha1(CERTIFICATE).hexdigest()

    def test_unreadable_certificate_is_left_out(self) -> None:
        assert certificates.read_all([b"", b"\x30\x00"]) == []


class TestUrls:
    """What an issuer's URL must look like, and what to write instead."""

    @pytest.mark.parametrize(
        "url",
        [
            "https://oidc.eks.eu-west-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF",
            "https://company-oidc.s3.eu-west-1.amazonaws.com",
            "https://d111111abcdef8.cloudfront.net",
            "https://oidc.example.com/a/b-c_d~e.f",
        ],
    )
    def test_issuers_in_use_are_taken(self, url: str) -> None:
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
    def test_refused_issuer_is_told_with_what_to_write(self, url: str, instead: str) -> None:
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
    def test_inner_host_is_unreachable(self, host: str) -> None:
        assert issuer_url.unreachable_reason(host)

    @pytest.mark.parametrize("host", ["oidc.example.com", "8.8.8.8", "2001:4860:4860::8888"])
    def test_public_host_is_not(self, host: str) -> None:
        assert issuer_url.unreachable_reason(host) == ""

    @pytest.mark.parametrize(
        ("found", "said"),
        [
            ("https://a.example/b/", "they differ by a slash at the end"),
            ("https://a.example/B", "they differ by capital letters"),
            (" https://a.example/b", "they differ by white space"),
            ("http://a.example/b", "they differ by their scheme"),
            ("https://b.example/b", "they differ by their host"),
            ("https://a.example/c", "they differ by their path"),
            ("https://a.example/b?c", "they are not the same"),
            ("nonsense", "it is no such URL"),
        ],
    )
    def test_difference_is_named(self, found: str, said: str) -> None:
        assert issuer_url.difference("https://a.example/b", found) == said


def test_quoted_text_is_short_and_harmless() -> None:
    assert quoted("\x1b[2J eyJhbGciOiJSUzI1NiJ9.e30.c2ln") == "?[2J <redacted>"
    assert quoted("a" * 900) == "a" * 200 + "…"
