"""What STS takes of a key document (JWKS), and what it would not: one finding for each thing to change.

Rules: `render` writes nothing that `check` would refuse, so both look here; a private key is told loudly, by the names
of its members alone. Knows no file and no network.
Sources: RFC 7517 sections 4 and 5; RFC 7518 section 6; AWS on the number of keys, IAM User Guide, "Create an OpenID
Connect (OIDC) identity provider in IAM": at least one key, at most 100 RSA keys and 100 EC keys.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from broker.core.findings import failed, is_accepted, ok, quoted, warning
from broker.issuer import public_keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from broker.core.findings import Finding
    from broker.issuer.public_keys import PublicKey

ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")
KEYS_MAXIMUM = 100
"""Of each kind."""
_PRIVATE_MEMBERS = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")
_PUBLISH = "Publish the output of `kubectl get --raw /openid/v1/jwks`, or of `sts-broker issuer render`."


def parse(content: bytes) -> dict[str, Any]:
    """Return the JSON object that the bytes are. Raises ValueError with a short sentence."""
    try:
        document = json.loads(content.decode("utf-8"), parse_constant=_refuse)
    except UnicodeDecodeError:
        raise ValueError("it is no UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON ({error.msg} at line {error.lineno}, column {error.colno})") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError:  # numbers of thousands of digits, NaN
        raise ValueError("it has a number that JSON has not") from None
    if not isinstance(document, dict):
        raise ValueError("it is JSON, and no object")  # noqa: TRY004 - it is the content that is wrong
    return document


def examine(document: Mapping[str, Any]) -> tuple[list[PublicKey], list[Finding]]:
    """Return the keys of the document that STS could use, and what there is to say of the document."""
    given = document.get("keys")
    if not isinstance(given, list):
        return [], [failed("keys", "The key document has no list `keys`.", _PUBLISH)]
    if not given:
        return [], [failed("keys", "The key document has no key at all.", _PUBLISH)]
    keys: list[PublicKey] = []
    findings: list[Finding] = []
    for number, each in enumerate(given, start=1):
        key, said = _examine_key(each, number)
        findings += said
        if key is not None:
            keys.append(key)
    findings += _examine_together(keys, given)
    if is_accepted(findings):
        told = "; ".join(f"{quoted(key.kid)} ({key.description})" for key in keys)
        findings.insert(0, ok("keys", f"{len(keys)} {'key' if len(keys) == 1 else 'keys'}: {told}"))
    return keys, findings


def _examine_key(given: object, number: int) -> tuple[PublicKey | None, list[Finding]]:
    if not isinstance(given, dict):
        return None, [failed("key", f"Key no. {number} is no JSON object.", _PUBLISH)]
    kid = given.get("kid")
    name = f"Key {quoted(kid)}" if isinstance(kid, str) and kid else f"Key no. {number}"
    private = [member for member in _PRIVATE_MEMBERS if member in given]
    if private:
        return None, [
            failed(
                "key",
                f"PRIVATE KEY: {name} has {', '.join(private)}. Whoever reads this document can sign tokens.",
                "Publish public halves only. If this was published, take it away now, and make a new signing key.",
            )
        ]
    if given.get("kty") not in ("RSA", "EC"):
        kind = quoted(str(given.get("kty")))
        return None, [failed("key", f"{name} has kty {kind}; STS takes RSA and EC.", "Sign with RS256 or ES256.")]
    findings = [*_examine_names(given, name), *_examine_use(given, name)]
    return _read(given, name, findings)


def _examine_names(given: Mapping[str, Any], name: str) -> Iterable[Finding]:
    kid, algorithm = given.get("kid"), given.get("alg")
    if not isinstance(kid, str) or not kid:
        yield failed("key", f"{name} has no kid, by which STS finds the key of a token.", _PUBLISH)
    if algorithm is None:
        yield warning("key", f"{name} has no alg. No AWS page says that STS does without.", _PUBLISH)
    elif algorithm not in ALGORITHMS:
        took = ", ".join(ALGORITHMS)
        yield failed("key", f"{name} has alg {quoted(str(algorithm))}; STS takes {took}.", "Sign with one of these.")
    elif (algorithm[:2] == "RS") != (given["kty"] == "RSA"):
        yield failed("key", f"{name} has kty {given['kty']} and alg {algorithm}.", "Write the alg of its kind of key.")


def _examine_use(given: Mapping[str, Any], name: str) -> Iterable[Finding]:
    use = given.get("use")
    if use is None:
        yield warning("key", f"{name} has no use. No AWS page says that STS does without.", 'Write "use": "sig".')
    elif use != "sig":
        yield failed("key", f"{name} has use {quoted(str(use))}; expected sig.", 'Write "use": "sig".')


def _read(given: Mapping[str, Any], name: str, findings: list[Finding]) -> tuple[PublicKey | None, list[Finding]]:
    kid, algorithm = str(given.get("kid") or ""), str(given.get("alg") or "")
    try:
        key = public_keys.from_numbers(str(given["kty"]), dict(given), kid=kid, algorithm=algorithm)
    except ValueError as error:
        return None, [*findings, failed("key", f"{name}: {error}.", _PUBLISH)]
    if is_accepted(findings) and algorithm and key.algorithm != algorithm:
        said = f"{name} is on {key.curve.name if key.curve else ''} and has alg {algorithm}; expected {key.algorithm}."
        findings = [*findings, failed("key", said, "Write the alg of its curve (RFC 7518 section 3.4).")]
    return (key if is_accepted(findings) else None), findings


def _examine_together(keys: list[PublicKey], given: list[Any]) -> Iterable[Finding]:
    kids = [each.get("kid") for each in given if isinstance(each, dict) and isinstance(each.get("kid"), str)]
    for kid in sorted({kid for kid in kids if kid and kids.count(kid) > 1}):
        yield failed("key", f"{kids.count(kid)} keys have the kid {quoted(kid)}.", "Keep one of each kid.")
    for kind, members in (
        ("RSA", [key for key in keys if key.curve is None]),
        ("EC", [key for key in keys if key.curve]),
    ):
        if len(members) > KEYS_MAXIMUM:
            said = f"The key document has {len(members)} {kind} keys; AWS takes {KEYS_MAXIMUM}."
            yield failed("keys", said, "Take out keys whose tokens have all expired.")


def _refuse(name: str) -> float:
    raise ValueError(name)
