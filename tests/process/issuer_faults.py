"""What can be wrong with an issuer: one thing each, and what `sts-broker issuer check` has to say of it."""

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
    """Return a published key; None takes a member away."""
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
    """One thing that is wrong, and what is told of it: the check's name and a part of the sentence."""

    name: str
    check: str
    said: str
    discovery: Steps = field(default_factory=discovery)
    keys: Steps = field(default_factory=lambda: keys(jwk()))
    server: dict[str, Any] = field(default_factory=dict)
    url: str = ISSUER
    token: str = ""
    timeout: str = "10"


HTML = "<!doctype html><title>Sign in</title>"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
MISCONFIGURATIONS = [
    Misconfiguration(name="http", url=f"http://{HOST}/cluster", check="url", said="begins with http://"),
    Misconfiguration(name="port", url=f"https://{HOST}:8443/cluster", check="url", said="has a port; IAM takes none"),
    Misconfiguration(name="default-port", url=f"https://{HOST}:443/cluster", check="url", said="has a port"),
    Misconfiguration(name="slash", url=f"{ISSUER}/", check="url", said="ends in a slash"),
    Misconfiguration(name="query", url=f"{ISSUER}?a=b", check="url", said="has a query"),
    Misconfiguration(name="fragment", url=f"{ISSUER}#a", check="url", said="has a fragment"),
    Misconfiguration(name="userinfo", url=f"https://me@{HOST}/cluster", check="url", said="a user or password"),
    Misconfiguration(name="file", url="file:///etc/passwd", check="url", said="is no URL"),
    Misconfiguration(name="ftp", url=f"ftp://{HOST}/x", check="url", said="begins with ftp://"),
    Misconfiguration(name="white-space", url=f"{ISSUER} ", check="url", said="is no URL"),
    Misconfiguration(name="long", url=f"{ISSUER}/{'a' * 250}", check="url", said="IAM takes 255 at most"),
    Misconfiguration(name="document", url=f"https://{HOST}{DISCOVERY}", check="url", said="path of its discovery"),
    Misconfiguration(
        name="in-cluster", url="https://kubernetes.default.svc", check="url", said="exists inside the cluster only"
    ),
    Misconfiguration(
        name="cluster-local", url="https://kubernetes.default.svc.cluster.local", check="url", said="inside the cluster"
    ),
    Misconfiguration(name="localhost", url="https://localhost", check="url", said="localhost is no public name"),
    Misconfiguration(name="private-ip", url="https://10.0.0.1/x", check="url", said="10.0.0.1 is no public address"),
    Misconfiguration(
        name="issuer-slash", discovery=discovery(issuer=f"{ISSUER}/"), check="issuer", said="by a slash at the end"
    ),
    Misconfiguration(
        name="issuer-case",
        discovery=discovery(issuer=f"https://{HOST}/Cluster"),
        check="issuer",
        said="capital letters",
    ),
    Misconfiguration(
        name="issuer-host",
        discovery=discovery(issuer="https://a.example/cluster"),
        check="issuer",
        said="by their host",
    ),
    Misconfiguration(
        name="issuer-path", discovery=discovery(issuer=f"https://{HOST}/other"), check="issuer", said="by their path"
    ),
    Misconfiguration(name="issuer-missing", discovery=discovery(issuer=None), check="issuer", said="is missing"),
    Misconfiguration(
        name="not-found", discovery=reply("no", status="404 Not Found"), check="discovery", said="answers 404"
    ),
    Misconfiguration(
        name="forbidden", discovery=reply("no", status="403 Forbidden"), check="discovery", said="answers 403"
    ),
    Misconfiguration(
        name="server-error", discovery=reply("no", status="503 No"), check="discovery", said="answers 503; expected 200"
    ),
    Misconfiguration(
        name="redirect",
        discovery=reply("", status="302 Found", headers=[f"Location: https://{HOST}/login"]),
        check="discovery",
        said=f"answers 302, to https://{HOST}/login",
    ),
    Misconfiguration(
        name="redirect-to-itself",
        discovery=reply("", status="301 Moved", headers=[f"Location: {ISSUER}/.well-known/openid-configuration"]),
        check="discovery",
        said="answers 301",
    ),
    Misconfiguration(
        name="redirect-to-file",
        keys=reply("", status="302 Found", headers=["Location: file:///etc/passwd"]),
        check="jwks",
        said="to file:///etc/passwd",
    ),
    Misconfiguration(
        name="html",
        discovery=reply(HTML, content_type="text/html"),
        check="discovery",
        said="gives text/html, and it is",
    ),
    Misconfiguration(
        name="no-json", discovery=reply('{"issuer": '), check="discovery", said="it is no JSON (Expecting"
    ),
    Misconfiguration(name="list", discovery=reply("[]"), check="discovery", said="it is JSON, and no object"),
    Misconfiguration(name="latin-1", discovery=reply(b'{"a": "\xe9"}'), check="discovery", said="it is no UTF-8"),
    Misconfiguration(name="nan", discovery=reply('{"a": NaN}'), check="discovery", said="a number that JSON has not"),
    Misconfiguration(name="digits", discovery=reply('{"a": ' + "9" * 9000 + "}"), check="discovery", said="a number"),
    Misconfiguration(
        name="nesting", discovery=reply('{"a": ' + "[" * 100_000), check="discovery", said="nested too deeply"
    ),
    Misconfiguration(name="huge", keys=reply(b" " * 262_145), check="jwks", said="has over 262,144 bytes"),
    Misconfiguration(name="endless", keys=endless(HEAD, b" " * 65_536), check="jwks", said="has over 262,144 bytes"),
    Misconfiguration(
        name="slow", discovery=[2.0, *discovery()], check="discovery", said="no whole answer in 0.5 s", timeout="0.5"
    ),
    Misconfiguration(
        name="drip", keys=endless(HEAD, b" ", pause=0.05), check="jwks", said="no whole answer in 0.7 s", timeout="0.7"
    ),
    Misconfiguration(
        name="dripping-headers",
        discovery=endless(b"HTTP/1.1 200 OK\r\nA: ", b"a", pause=0.05),
        check="discovery",
        said="no whole answer in 0.7 s",
        timeout="0.7",
    ),
    Misconfiguration(
        name="truncated",
        discovery=[b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{}"],
        check="discovery",
        said="no HTTP answer",
    ),
    Misconfiguration(
        name="many-headers",
        discovery=reply("{}", headers=["A: b"] * 200),
        check="discovery",
        said="no HTTP answer: got more than 100 headers",
    ),
    Misconfiguration(name="no-http", discovery=[b"SSH-2.0-x\r\n"], check="discovery", said="no HTTP answer"),
    Misconfiguration(name="hang-up", discovery=[], check="discovery", said="without response"),
    Misconfiguration(name="no-jwks-uri", discovery=discovery(jwks_uri=None), check="jwks_uri", said="is missing"),
    Misconfiguration(
        name="jwks-uri-http",
        discovery=discovery(jwks_uri=f"http://{HOST}/cluster/keys.json"),
        check="jwks_uri",
        said="which is no https URL",
    ),
    Misconfiguration(
        name="jwks-uri-file",
        discovery=discovery(jwks_uri="file:///keys.json"),
        check="jwks_uri",
        said="is no https URL",
    ),
    Misconfiguration(
        name="jwks-uri-relative", discovery=discovery(jwks_uri="/keys.json"), check="jwks_uri", said="is no https URL"
    ),
    Misconfiguration(
        name="jwks-uri-internal",
        discovery=discovery(jwks_uri="https://10.1.2.3:6443/openid/v1/jwks"),
        check="jwks_uri",
        said="which STS cannot reach: 10.1.2.3 is no public address",
    ),
    Misconfiguration(name="jwks-missing", keys=reply("", status="404 Not Found"), check="jwks", said="answers 404"),
    Misconfiguration(name="no-list", keys=reply({"kid": "a"}), check="keys", said="has no list `keys`"),
    Misconfiguration(name="no-keys", keys=keys(), check="keys", said="has no key at all"),
    Misconfiguration(name="no-object", keys=reply({"keys": ["a"]}), check="key", said="Key no. 1 is no JSON object"),
    Misconfiguration(name="no-kid", keys=keys(jwk(kid=None)), check="key", said="Key no. 1 has no kid"),
    Misconfiguration(name="same-kid", keys=keys(jwk(), jwk(OTHER)), check="key", said="2 keys"),
    Misconfiguration(name="hs256", keys=keys(jwk(alg="HS256")), check="key", said="has alg HS256; STS takes RS256"),
    Misconfiguration(name="ps256", keys=keys(jwk(alg="PS256")), check="key", said="has alg PS256"),
    Misconfiguration(
        name="shared-secret",
        keys=keys(jwk(), {"kty": "oct", "kid": "b", "alg": "HS256", "k": "c2VjcmV0"}),
        check="key",
        said="PRIVATE KEY: Key b has k",
    ),
    Misconfiguration(
        name="ed25519",
        keys=keys(jwk(), {"kty": "OKP", "kid": "b", "crv": "Ed25519", "x": "AA"}),
        check="key",
        said="has kty OKP; STS takes RSA and EC",
    ),
    Misconfiguration(name="mixed-up", keys=keys(jwk(alg="ES256")), check="key", said="has kty RSA and alg ES256"),
    Misconfiguration(name="encryption", keys=keys(jwk(use="enc")), check="key", said="has use enc; expected sig"),
    Misconfiguration(name="small", keys=keys(jwk(SMALL)), check="key", said="it has 1024 bits; expected 2048 or more"),
    Misconfiguration(name="padded", keys=keys(jwk(n="AQAB==")), check="key", said="n is no base64url"),
    Misconfiguration(
        name="private",
        keys=keys(jwk(d="c2VjcmV0LWtleQ", p="cA", q="cQ")),
        check="key",
        said="PRIVATE KEY: Key key-1 has d, p, q",
    ),
    Misconfiguration(
        name="wrong-host", server={"host": "other.company.example"}, check="certificate", said=f"is not {HOST}'s"
    ),
    Misconfiguration(
        name="expired",
        server={"starts": timedelta(days=-9), "ends": timedelta(days=-1)},
        check="certificate",
        said="A certificate has expired",
    ),
    Misconfiguration(
        name="not-yet", server={"starts": timedelta(days=2)}, check="certificate", said="is not valid yet"
    ),
    Misconfiguration(name="self-signed", server={"is_self_signed": True}, check="certificate", said="signs itself"),
    Misconfiguration(
        name="no-intermediate",
        server={"sends_intermediate": False},
        check="certificate",
        said="is not trusted (unable to get local issuer certificate)",
    ),
    Misconfiguration(
        name="other-iss",
        token=token(iss="https://kubernetes.default.svc"),
        check="token",
        said="they differ by their host",
    ),
    Misconfiguration(
        name="unknown-kid", keys=keys(jwk(kid="key-2")), token=token(), check="token", said="is not among the published"
    ),
    Misconfiguration(
        name="other-algorithm",
        discovery=discovery(id_token_signing_alg_values_supported=["RS512"]),
        keys=keys(jwk(alg="RS512")),
        token=token(),
        check="token",
        said="its key is for RS512",
    ),
    Misconfiguration(
        name="other-key",
        keys=keys(jwk(OTHER)),
        token=token(),
        check="token",
        said="The token's signature is not by the published key key-1",
    ),
]
