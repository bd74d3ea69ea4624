"""Misconfigurations of an issuer, one fault each, and what `sts-broker issuer check` must report."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.support.issuer_site import DISCOVERY, HOST, ISSUER, Steps, endless, reply

GOOD = {
    "issuer": ISSUER,
    "jwks_uri": f"{ISSUER}/keys.json",
    "response_types_supported": ["id_token"],
    "subject_types_supported": ["public"],
    "id_token_signing_alg_values_supported": ["RS256"],
}
PRIVATE = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SMALL = rsa.generate_private_key(public_exponent=65537, key_size=1024)


def base64url(number: int, length: int = 0) -> str:
    content = number.to_bytes(length or (number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def jwk(key: rsa.RSAPrivateKey = PRIVATE, **changes: object) -> dict[str, object]:
    """Return a published key. A member whose value is None is left out."""
    numbers = key.public_key().public_numbers()
    members: dict[str, object] = {
        "use": "sig",
        "kty": "RSA",
        "kid": "key-1",
        "alg": "RS256",
        "n": base64url(numbers.n),
        "e": base64url(numbers.e),
        **changes,
    }
    return {name: value for name, value in members.items() if value is not None}


def keys(*given: dict[str, object]) -> Steps:
    return reply({"keys": list(given)})


def discovery(**changes: object) -> Steps:
    document = {**GOOD, **changes}
    return reply({name: value for name, value in document.items() if value is not None})


def token(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey = PRIVATE,
    *,
    kid: str = "key-1",
    algorithm: str = "RS256",
    **changes: object,
) -> str:
    claims = {"iss": ISSUER, "sub": "system:serviceaccount:demo:app", "aud": ["sts.amazonaws.com"], "exp": 2**31}
    return jwt.encode({**claims, **changes}, key, algorithm=algorithm, headers={"kid": kid})


@dataclass(frozen=True, slots=True, kw_only=True)
class Misconfiguration:
    """One fault, the check that must report it, and a part of what it must say."""

    name: str
    check: str
    message: str
    discovery: Steps = field(default_factory=discovery)
    keys: Steps = field(default_factory=lambda: keys(jwk()))
    server: dict[str, Any] = field(default_factory=dict)
    url: str = ISSUER
    token: str = ""
    timeout: str = "10"


HTML = "<!doctype html><title>Sign in</title>"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
MISCONFIGURATIONS = [
    Misconfiguration(name="http", url=f"http://{HOST}/cluster", check="url", message="begins with http://"),
    Misconfiguration(
        name="port", url=f"https://{HOST}:8443/cluster", check="url", message="has a port; IAM accepts none"
    ),
    Misconfiguration(name="default-port", url=f"https://{HOST}:443/cluster", check="url", message="has a port"),
    Misconfiguration(name="slash", url=f"{ISSUER}/", check="url", message="ends with a slash"),
    Misconfiguration(name="query", url=f"{ISSUER}?a=b", check="url", message="has a query"),
    Misconfiguration(name="fragment", url=f"{ISSUER}#a", check="url", message="has a fragment"),
    Misconfiguration(name="userinfo", url=f"https://me@{HOST}/cluster", check="url", message="a user or password"),
    Misconfiguration(name="file", url="file:///etc/passwd", check="url", message="is not a valid URL"),
    Misconfiguration(name="ftp", url=f"ftp://{HOST}/x", check="url", message="begins with ftp://"),
    Misconfiguration(name="white-space", url=f"{ISSUER} ", check="url", message="is not a valid URL"),
    Misconfiguration(name="long", url=f"{ISSUER}/{'a' * 250}", check="url", message="IAM accepts at most 255"),
    Misconfiguration(name="document", url=f"https://{HOST}{DISCOVERY}", check="url", message="path of its discovery"),
    Misconfiguration(
        name="in-cluster", url="https://kubernetes.default.svc", check="url", message="exists only inside the cluster"
    ),
    Misconfiguration(
        name="cluster-local",
        url="https://kubernetes.default.svc.cluster.local",
        check="url",
        message="only inside the cluster",
    ),
    Misconfiguration(name="localhost", url="https://localhost", check="url", message="localhost is not a public name"),
    Misconfiguration(
        name="private-ip", url="https://10.0.0.1/x", check="url", message="10.0.0.1 is not a public address"
    ),
    Misconfiguration(
        name="issuer-slash", discovery=discovery(issuer=f"{ISSUER}/"), check="issuer", message="by a trailing slash"
    ),
    Misconfiguration(
        name="issuer-case",
        discovery=discovery(issuer=f"https://{HOST}/Cluster"),
        check="issuer",
        message="in upper and lower case",
    ),
    Misconfiguration(
        name="issuer-host",
        discovery=discovery(issuer="https://a.example/cluster"),
        check="issuer",
        message="in their host",
    ),
    Misconfiguration(
        name="issuer-path", discovery=discovery(issuer=f"https://{HOST}/other"), check="issuer", message="in their path"
    ),
    Misconfiguration(name="issuer-missing", discovery=discovery(issuer=None), check="issuer", message="is missing"),
    Misconfiguration(
        name="not-found", discovery=reply("no", status="404 Not Found"), check="discovery", message="answers 404"
    ),
    Misconfiguration(
        name="forbidden", discovery=reply("no", status="403 Forbidden"), check="discovery", message="answers 403"
    ),
    Misconfiguration(
        name="server-error",
        discovery=reply("no", status="503 No"),
        check="discovery",
        message="answers 503; expected 200",
    ),
    Misconfiguration(
        name="redirect",
        discovery=reply("", status="302 Found", headers=[f"Location: https://{HOST}/login"]),
        check="discovery",
        message=f"answers 302 and redirects to https://{HOST}/login",
    ),
    Misconfiguration(
        name="redirect-to-itself",
        discovery=reply("", status="301 Moved", headers=[f"Location: {ISSUER}/.well-known/openid-configuration"]),
        check="discovery",
        message="answers 301",
    ),
    Misconfiguration(
        name="redirect-to-file",
        keys=reply("", status="302 Found", headers=["Location: file:///etc/passwd"]),
        check="jwks",
        message="redirects to file:///etc/passwd",
    ),
    Misconfiguration(
        name="html",
        discovery=reply(HTML, content_type="text/html"),
        check="discovery",
        message="returns text/html, and it is not valid JSON",
    ),
    Misconfiguration(
        name="no-json", discovery=reply('{"issuer": '), check="discovery", message="it is not valid JSON (Expecting"
    ),
    Misconfiguration(name="list", discovery=reply("[]"), check="discovery", message="it is JSON, but not an object"),
    Misconfiguration(name="latin-1", discovery=reply(b'{"a": "\xe9"}'), check="discovery", message="it is not UTF-8"),
    Misconfiguration(
        name="nan", discovery=reply('{"a": NaN}'), check="discovery", message="a number that JSON does not allow"
    ),
    Misconfiguration(
        name="digits", discovery=reply('{"a": ' + "9" * 9000 + "}"), check="discovery", message="a number"
    ),
    Misconfiguration(
        name="nesting", discovery=reply('{"a": ' + "[" * 100_000), check="discovery", message="nested too deeply"
    ),
    Misconfiguration(name="huge", keys=reply(b" " * 262_145), check="jwks", message="has over 262,144 bytes"),
    Misconfiguration(name="endless", keys=endless(HEAD, b" " * 65_536), check="jwks", message="has over 262,144 bytes"),
    Misconfiguration(
        name="slow",
        discovery=[2.0, *discovery()],
        check="discovery",
        message="no complete answer within 0.5 s",
        timeout="0.5",
    ),
    Misconfiguration(
        name="drip",
        keys=endless(HEAD, b" ", pause=0.05),
        check="jwks",
        message="no complete answer within 0.7 s",
        timeout="0.7",
    ),
    Misconfiguration(
        name="dripping-headers",
        discovery=endless(b"HTTP/1.1 200 OK\r\nA: ", b"a", pause=0.05),
        check="discovery",
        message="no complete answer within 0.7 s",
        timeout="0.7",
    ),
    Misconfiguration(
        name="truncated",
        discovery=[b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{}"],
        check="discovery",
        message="no HTTP answer",
    ),
    Misconfiguration(
        name="many-headers",
        discovery=reply("{}", headers=["A: b"] * 200),
        check="discovery",
        message="no HTTP answer: got more than 100 headers",
    ),
    Misconfiguration(name="no-http", discovery=[b"SSH-2.0-x\r\n"], check="discovery", message="no HTTP answer"),
    Misconfiguration(
        name="long-headers",
        discovery=reply("{}", headers=[f"A{number}: {'b' * 8000}" for number in range(9)]),
        check="discovery",
        message="no HTTP answer: the headers have over 65,536 bytes",
    ),
    Misconfiguration(
        name="interim-answers",
        discovery=endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
        check="discovery",
        message="no complete answer within 0.7 s",
        timeout="0.7",
    ),
    Misconfiguration(name="hang-up", discovery=[], check="discovery", message="without response"),
    Misconfiguration(name="no-jwks-uri", discovery=discovery(jwks_uri=None), check="jwks_uri", message="is missing"),
    Misconfiguration(
        name="jwks-uri-http",
        discovery=discovery(jwks_uri=f"http://{HOST}/cluster/keys.json"),
        check="jwks_uri",
        message="which is not an https URL",
    ),
    Misconfiguration(
        name="jwks-uri-file",
        discovery=discovery(jwks_uri="file:///keys.json"),
        check="jwks_uri",
        message="is not an https URL",
    ),
    Misconfiguration(
        name="jwks-uri-relative",
        discovery=discovery(jwks_uri="/keys.json"),
        check="jwks_uri",
        message="is not an https URL",
    ),
    Misconfiguration(
        name="jwks-uri-internal",
        discovery=discovery(jwks_uri="https://10.1.2.3:6443/openid/v1/jwks"),
        check="jwks_uri",
        message="which STS cannot reach: 10.1.2.3 is not a public address",
    ),
    Misconfiguration(name="jwks-missing", keys=reply("", status="404 Not Found"), check="jwks", message="answers 404"),
    Misconfiguration(name="no-list", keys=reply({"kid": "a"}), check="keys", message="has no list `keys`"),
    Misconfiguration(name="no-keys", keys=keys(), check="keys", message="has no keys"),
    Misconfiguration(name="no-object", keys=reply({"keys": ["a"]}), check="key", message="Key 1 is not a JSON object"),
    Misconfiguration(name="no-kid", keys=keys(jwk(kid=None)), check="key", message="Key 1 has no kid"),
    Misconfiguration(name="same-kid", keys=keys(jwk(), jwk(OTHER)), check="key", message="2 keys"),
    Misconfiguration(
        name="hs256", keys=keys(jwk(alg="HS256")), check="key", message="has alg HS256; STS accepts RS256"
    ),
    Misconfiguration(name="ps256", keys=keys(jwk(alg="PS256")), check="key", message="has alg PS256"),
    Misconfiguration(
        name="shared-secret",
        keys=keys(jwk(), {"kty": "oct", "kid": "b", "alg": "HS256", "k": "c2VjcmV0"}),
        check="key",
        message="PRIVATE KEY: Key b has k",
    ),
    Misconfiguration(
        name="ed25519",
        keys=keys({"kty": "OKP", "kid": "b", "crv": "Ed25519", "x": "AA"}),
        check="key",
        message="has kty OKP; STS accepts RSA and EC",
    ),
    Misconfiguration(name="mixed-up", keys=keys(jwk(alg="ES256")), check="key", message="has kty RSA and alg ES256"),
    Misconfiguration(name="encryption", keys=keys(jwk(use="enc")), check="key", message="has use enc; expected sig"),
    Misconfiguration(
        name="small", keys=keys(jwk(SMALL)), check="key", message="it has 1024 bits; expected 2048 or more"
    ),
    Misconfiguration(name="padded", keys=keys(jwk(n="AQAB==")), check="key", message="n is not base64url"),
    Misconfiguration(
        name="private",
        keys=keys(jwk(d="c2VjcmV0LWtleQ", p="cA", q="cQ")),
        check="key",
        message="PRIVATE KEY: Key key-1 has d, p, q",
    ),
    Misconfiguration(
        name="wrong-host", server={"host": "other.company.example"}, check="certificate", message=f"is not for {HOST}"
    ),
    Misconfiguration(
        name="expired",
        server={"starts": timedelta(days=-9), "ends": timedelta(days=-1)},
        check="certificate",
        message="A certificate has expired",
    ),
    Misconfiguration(
        name="not-yet", server={"starts": timedelta(days=2)}, check="certificate", message="is not valid yet"
    ),
    Misconfiguration(
        name="self-signed", server={"is_self_signed": True}, check="certificate", message="is self-signed"
    ),
    Misconfiguration(
        name="no-intermediate",
        server={"sends_intermediate": False},
        check="certificate",
        message="is not trusted (unable to get local issuer certificate)",
    ),
    Misconfiguration(
        name="other-iss",
        token=token(iss="https://kubernetes.default.svc"),
        check="token",
        message="they differ in their host",
    ),
    Misconfiguration(
        name="unknown-kid",
        keys=keys(jwk(kid="key-2")),
        token=token(),
        check="token",
        message="is not among the published",
    ),
    Misconfiguration(
        name="other-algorithm",
        discovery=discovery(id_token_signing_alg_values_supported=["RS512"]),
        keys=keys(jwk(alg="RS512")),
        token=token(),
        check="token",
        message="its key is for RS512",
    ),
    Misconfiguration(
        name="other-key",
        keys=keys(jwk(OTHER)),
        token=token(),
        check="token",
        message="The token is not signed with the published key key-1",
    ),
]
