"""An issuer's keys and certificates, with the RFCs' examples, and the documents that `render` writes."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from hypothesis import example, given
from hypothesis import strategies as st

from broker.core.errors import ConfigurationError
from broker.core.findings import Verdict, is_accepted, quoted
from broker.discovery import key_documents
from broker.issuer import certificates, documents, public_keys

if TYPE_CHECKING:
    from pathlib import Path

    from broker.discovery.key_documents import KeyDocument

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
"""A certificate with a name of two parts, and a date after 2049, which DER encodes in another way."""


def encoded(key: Any, form: serialization.PublicFormat = serialization.PublicFormat.SubjectPublicKeyInfo) -> bytes:  # noqa: ANN401 - any private key
    content: bytes = key.public_key().public_bytes(serialization.Encoding.DER, form)
    return content


def pem(key: Any) -> str:  # noqa: ANN401 - likewise
    content: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return content.decode()


def examine(document: dict[str, Any]) -> KeyDocument:
    """Judge a key document as `issuer check` does."""
    return key_documents.examine(document, lambda key: public_keys.from_published(key).description)


def refusals(document: dict[str, Any]) -> list[str]:
    return [each.found for each in examine(document).findings if each.verdict is Verdict.FAILED]


class TestKeysFromPem:
    """Keys in PEM files, of the types that STS accepts."""

    @pytest.mark.parametrize("key", KEYS, ids=["RSA", "P-256", "P-384", "P-521"])
    def test_key_survives_being_published(self, key: Any) -> None:  # noqa: ANN401 - any private key
        (found,) = public_keys.from_pem(f"a comment\n{pem(key)}", "file")
        (again,) = examine({"keys": [found.document()]}).keys
        assert public_keys.from_published(again) == found
        assert found.key == key.public_key()
        assert found.document()["kid"] == found.kid

    @pytest.mark.parametrize("key", KEYS, ids=["RSA", "P-256", "P-384", "P-521"])
    def test_key_id_is_the_hash_that_kubernetes_computes(self, key: Any) -> None:  # noqa: ANN401 - any private key
        digest = hashlib.sha256(encoded(key)).digest()
        (found,) = public_keys.from_pem(pem(key), "file")
        assert found.kid == base64.urlsafe_b64encode(digest).decode().rstrip("=")

    def test_algorithm_follows_the_type_of_key(self) -> None:
        found = public_keys.from_pem("".join(map(pem, KEYS)), "file")
        assert [key.algorithm for key in found] == ["RS256", "ES256", "ES384", "ES512"]
        assert [key.description for key in found][:2] == ["RS256, 2048 bits", "ES256, P-256"]

    @pytest.mark.parametrize(
        ("key", "message"),
        [
            (rsa.generate_private_key(public_exponent=65537, key_size=1024), "it has 1024 bits; expected 2048 or more"),
            (ed25519.Ed25519PrivateKey.generate(), "it is neither an RSA nor an EC key"),
            (dsa.generate_private_key(1024), "it is neither an RSA nor an EC key"),
            (ec.generate_private_key(ec.SECP256K1()), "its curve is not P-256, P-384 or P-521"),
        ],
        ids=["small", "Ed25519", "DSA", "K-256"],
    )
    def test_type_that_sts_does_not_accept_is_refused(self, key: Any, message: str) -> None:  # noqa: ANN401 - any private key
        with pytest.raises(ValueError, match=f"file has a PUBLIC KEY that cannot be used: {message}"):
            public_keys.from_pem(pem(key), "file")

    def test_compressed_point_is_refused_as_by_go(self) -> None:
        key = KEYS[1].public_key()
        point = key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
        kind = encoded(KEYS[1])[2:23]  # the AlgorithmIdentifier of P-256
        content = b"\x30\x39" + kind + b"\x03\x22\x00" + point
        assert serialization.load_der_public_key(content) == key
        with pytest.raises(ValueError, match="its encoding is not the one that Kubernetes writes"):
            public_keys.from_subject_public_key_info(content)

    def test_point_off_its_curve_is_refused(self) -> None:
        content = bytearray(encoded(KEYS[1]))
        content[-1] ^= 1
        with pytest.raises(ValueError, match="it is not an RSA key or an EC key on P-256"):
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
        ("label", "message"),
        [
            ("RSA PUBLIC KEY", "openssl rsa -RSAPublicKey_in -in FILE -pubout"),
            ("CERTIFICATE", "openssl x509 -in FILE -noout -pubkey"),
            ("X509 CRL", r"expected PUBLIC KEY\.$"),
        ],
    )
    def test_other_blocks_are_reported_with_the_command_that_converts_them(self, label: str, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            public_keys.from_pem(f"-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n", "file")

    @pytest.mark.parametrize("text", ["", "-----BEGIN PUBLIC KEY-----", "ssh-rsa AAAA", "{}"])
    def test_text_without_a_block_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="file has no PEM block"):
            public_keys.from_pem(text, "file")


class TestStrictness:
    """Any bytes give a value or a ValueError, never another exception."""

    @given(st.binary(max_size=400))
    @example(b"")
    @example(b"\x30\x80\x00\x00")
    @example(b"\x30\x84\xff\xff\xff\xff")
    @example(b"\x1f\x81\x00")
    def test_random_bytes_are_refused_with_value_error(self, content: bytes) -> None:
        with pytest.raises(ValueError, match=r"\w"):
            public_keys.from_subject_public_key_info(content)

    @given(st.sampled_from(KEYS), st.integers(0, 600), st.integers(0, 255), st.sampled_from("xid"))
    def test_mutated_key_is_refused_or_keeps_its_encoding(
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
        assert encoded_public(found.key) == bytes(content)  # of which the key id is the hash
        (again,) = examine({"keys": [found.document()]}).keys
        assert public_keys.from_published(again) == found

    @given(st.binary(max_size=300))
    def test_random_bytes_are_not_a_certificate(self, content: bytes) -> None:
        with pytest.raises(ValueError, match=r"\w"):
            certificates.read(content)

    @given(st.integers(0, 2000), st.integers(0, 255), st.booleans())
    def test_mutated_certificate_is_read_or_left_out(self, place: int, value: int, is_inserted: bool) -> None:
        content = bytearray(CERTIFICATE)
        place %= len(content)
        content[place : place + (not is_inserted)] = bytes([value])
        assert len(certificates.read_all([bytes(content)])) <= 1

    @given(st.binary(max_size=200))
    def test_random_bytes_are_an_object_or_a_value_error(self, content: bytes) -> None:
        message, document = "", {}
        try:
            document = key_documents.parse(content)
        except ValueError as error:
            message = str(error)
        assert isinstance(document, dict)
        assert len(message) < 120

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=8),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["keys", "kty", "kid"]), inner),
        )
    )
    def test_any_key_document_is_judged_without_an_exception(self, given_keys: object) -> None:
        for document in ({"keys": given_keys}, {"keys": [given_keys, {"kty": "RSA", "kid": given_keys}]}):
            judged = examine(document)
            assert judged.keys == ()
            assert not is_accepted(judged.findings)


def encoded_public(key: Any) -> bytes:  # noqa: ANN401 - any public key
    content: bytes = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return content


class TestKeySets:
    """Which keys STS can use, with the examples of RFC 7517 (appendix A.1) and RFC 7638 (section 3.1)."""

    def test_examples_of_the_rfcs_are_read(self) -> None:
        rsa_key = {"kty": "RSA", "n": RFC_7638_N, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}
        judged = examine({"keys": [{**RFC_7517_EC, "alg": "ES256"}, {**rsa_key, "use": "sig"}]})
        assert [each.verdict for each in judged.findings] == [Verdict.OK]
        assert judged.findings[0].found == "2 keys: 1 (ES256, P-256); 2011-04-29 (RS256, 2048 bits)"
        keys = [public_keys.from_published(key) for key in judged.keys]
        assert keys[1].document() == {**rsa_key, "use": "sig"}
        assert keys[0].document() == {**RFC_7517_EC, "alg": "ES256"}

    def test_document_with_an_encryption_key_only_is_refused(self) -> None:
        message = refusals({"keys": [{**RFC_7517_EC, "use": "enc"}]})
        assert message == ["Key 1 has use enc; expected sig."]

    def test_short_coordinate_is_refused(self) -> None:
        message = refusals({"keys": [{**RFC_7517_EC, "x": "AQAB"}]})
        assert message == ["Key 1: x and y must have 32 bytes each (RFC 7518 section 6.2.1)."]

    def test_algorithm_of_another_curve_is_refused(self) -> None:
        message = refusals({"keys": [{**RFC_7517_EC, "alg": "ES384"}]})
        assert message == ["Key 1 has crv P-256 and alg ES384; expected ES256."]

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"e": "AQ"}, "its numbers are not those of an RSA key"),
            ({"e": "AQAC"}, "its numbers are not those of an RSA key"),
            ({"e": "gAAAAAE"}, "its numbers are not those of an RSA key"),
            ({"n": RFC_7638_N[:-1] + "Q"}, ""),
            ({"n": RFC_7638_N[:-2] + "AA"}, "its numbers are not those of an RSA key"),
            ({"n": "A"}, "n is not base64url without padding"),
            ({"n": RFC_7638_N[:100]}, "it has 600 bits; expected 2048 or more"),
        ],
    )
    def test_unsound_numbers_are_refused(self, changes: dict[str, str], message: str) -> None:
        key = {"kty": "RSA", "n": RFC_7638_N, "e": "AQAB", "alg": "RS256", "kid": "a", "use": "sig", **changes}
        assert refusals({"keys": [key]}) == ([f"Key a: {message}."] if message else [])

    @pytest.mark.parametrize("changes", [{"crv": "P-192"}, {"crv": None}, {"x": None}, {"y": 5}, {"x": "é"}])
    def test_invalid_member_is_refused_once(self, changes: dict[str, Any]) -> None:
        assert len(refusals({"keys": [{**RFC_7517_EC, **changes}]})) == 1

    def test_more_than_100_keys_of_a_kind_are_refused(self) -> None:
        keys = [{**RFC_7517_EC, "kid": str(number)} for number in range(101)]
        assert refusals({"keys": keys}) == ["The key document has 101 EC keys; AWS accepts 100."]
        assert refusals({"keys": keys[1:]}) == []

    @pytest.mark.parametrize("member", ["d", "p", "q", "dp", "dq", "qi", "oth", "k"])
    def test_private_member_is_reported_by_its_name_only(self, member: str) -> None:
        (message,) = refusals({"keys": [{**RFC_7517_EC, member: "c2VjcmV0"}]})
        assert message.startswith(f"PRIVATE KEY: Key 1 has {member}.")
        assert "c2VjcmV0" not in message


class TestDocuments:
    """What `render` writes, as far as its process tests do not cover it."""

    def test_render_without_keys_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="There is no key to publish"):
            documents.render("https://oidc.example.com", [])

    def test_too_many_keys_together_are_refused(self) -> None:
        (key,) = public_keys.from_pem(pem(RSA_KEY), "file")
        keys = [replace(key, kid=str(number)) for number in range(101)]
        with pytest.raises(ConfigurationError, match="101 RSA keys"):
            documents.render("https://oidc.example.com", keys)

    def test_huge_file_is_refused(self) -> None:
        faults = documents.gather(["-"], ["-"], io.BytesIO(b" " * 600_000)).faults
        assert [fault.split(".")[0] for fault in faults] == ["- has over 262,144 bytes"] * 2

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
    """What is shown of a chain of certificates."""

    def test_dates_after_2049_and_names_of_several_parts_are_read(self) -> None:
        (found,) = certificates.read_all([CERTIFICATE])
        assert found.not_before == datetime(2026, 1, 1, tzinfo=UTC)
        assert found.not_after == datetime(2060, 1, 1, tzinfo=UTC)
        assert found.subject == found.issuer == "CN=a, O=b"
        assert found.sha1 == hashlib.sha1(CERTIFICATE).hexdigest()

    def test_unreadable_certificate_is_left_out(self) -> None:
        assert certificates.read_all([b"", b"\x30\x00"]) == []


def test_quoted_text_is_short_and_harmless() -> None:
    assert quoted("\x1b[2J eyJhbGciOiJSUzI1NiJ9.e30.c2ln") == "?[2J <redacted>"
    assert quoted("a" * 900) == "a" * 200 + "…"
