"""Judge the structure of a key document (JWKS): which keys STS can use, and what has to change.

A key that is not meant for STS (another type, algorithm, use or operation, or too few bits) is passed over with a
warning as long as the document has a key that STS can use (RFC 7517 section 5). A key that is malformed is a failure. A
private key is always a failure; it is reported by the names of its members, never quoted. Whether a key's numbers are
sound is left to the caller's `describe`. Pure.
Sources: RFC 7517 sections 4 and 5; RFC 7518 sections 3.3, 3.4 and 6; on the number of keys, the IAM User Guide, "Create
an OpenID Connect (OIDC) identity provider in IAM": at least one key, at most 100 RSA keys and 100 EC keys.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from broker.core.findings import failed, is_accepted, ok, quoted, warning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from broker.core.findings import Finding

ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")
"""STS's API model, WebIdentityToken."""
CURVE_ALGORITHMS = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
KEYS_MAXIMUM = 100
"""For each type of key."""
_PRIVATE_MEMBERS = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")
_PUBLISH = "Publish the output of `kubectl get --raw /openid/v1/jwks`, or of `sts-broker issuer render`."
_PASSED_OVER = "STS passes it over: a token for STS must not be signed with it."


class WeakKeyError(ValueError):
    """The key is sound, but too small for STS. The message is a phrase that begins with "it"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedKey:
    """A public key of the document that STS can use. `algorithm` is its `alg`, or what its type implies.

    `members` are those of the JWK.
    """

    kid: str
    algorithm: str
    members: Mapping[str, Any] = field(repr=False)

    @property
    def is_rsa(self) -> bool:
        """Whether it is an RSA key; otherwise it is an EC key."""
        return self.members.get("kty") == "RSA"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyDocument:
    """What a key document holds. `passed_over` has the kid of each key that STS cannot use, and the reason."""

    keys: tuple[PublishedKey, ...]
    passed_over: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judgement:
    """What was found about one member of `keys`. `unusable` says why STS cannot use it, "" if it can."""

    name: str
    kid: str = ""
    key: PublishedKey | None = None
    description: str = ""
    unusable: str = ""
    findings: tuple[Finding, ...] = ()


def parse(content: bytes) -> dict[str, Any]:
    """Return the JSON object in the bytes. Raises ValueError with a short phrase, and nothing else."""
    try:
        document = json.loads(content.decode("utf-8"), parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not valid JSON ({error.msg} at line {error.lineno}, column {error.colno})") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError:  # NaN, or a number of thousands of digits
        raise ValueError("it has a number that JSON does not allow") from None
    if not isinstance(document, dict):
        raise ValueError("it is JSON, but not an object")  # noqa: TRY004 - the content is wrong, not a type
    return document


def describe_algorithm(key: PublishedKey) -> str:
    """Return the key's algorithm, as the description of a key of which nothing else is known."""
    return key.algorithm


def examine(document: Mapping[str, Any], describe: Callable[[PublishedKey], str] = describe_algorithm) -> KeyDocument:
    """Judge a key document.

    `describe` returns a short description of a key. It raises ValueError with a phrase if its numbers are not sound,
    and WeakKeyError if they are, but the key is too small.
    """
    given = document.get("keys")
    if not isinstance(given, list):
        return _empty(failed("keys", "The key document has no list `keys`.", _PUBLISH))
    if not given:
        return _empty(failed("keys", "The key document has no keys.", _PUBLISH))
    judgements = [_judge(each, number, describe) for number, each in enumerate(given, start=1)]
    keys = tuple(each.key for each in judgements if each.key is not None)
    findings = [finding for each in judgements for finding in _report(each, has_usable=bool(keys))]
    findings += _examine_together(keys, given)
    if is_accepted(findings):
        shown = "; ".join(f"{quoted(each.kid)} ({each.description})" for each in judgements if each.key is not None)
        findings.insert(0, ok("keys", f"{len(keys)} {'key' if len(keys) == 1 else 'keys'}: {shown}"))
    passed_over = tuple((each.kid, each.unusable) for each in judgements if each.unusable and keys)
    return KeyDocument(keys=keys, passed_over=passed_over, findings=tuple(findings))


def _empty(finding: Finding) -> KeyDocument:
    return KeyDocument(keys=(), passed_over=(), findings=(finding,))


def _report(judgement: _Judgement, *, has_usable: bool) -> list[Finding]:
    """Return a judgement's findings. A key that STS cannot use is a failure only if there is no other."""
    if not judgement.unusable:
        return list(judgement.findings)
    found = f"{judgement.name} {judgement.unusable}."
    if has_usable:
        return [warning("key", f"{found} {_PASSED_OVER}", "Leave it out if nothing else needs it.")]
    return [failed("key", found, "Publish a key that signs with RS256 or ES256, with use sig.")]


def _judge(given: object, number: int, describe: Callable[[PublishedKey], str]) -> _Judgement:
    if not isinstance(given, dict):
        name = f"Key {number}"
        return _Judgement(name=name, findings=(failed("key", f"{name} is not a JSON object.", _PUBLISH),))
    kid = given.get("kid")
    kid = kid if isinstance(kid, str) else ""
    name = f"Key {quoted(kid)}" if kid else f"Key {number}"
    private = [member for member in _PRIVATE_MEMBERS if member in given]
    if private:
        found = f"PRIVATE KEY: {name} has {', '.join(private)}. Anyone who reads this document can sign tokens."
        remedy = "Publish public keys only. If this one was published, withdraw it now and make a new signing key."
        return _Judgement(name=name, kid=kid, findings=(failed("key", found, remedy),))
    unusable = _find_unusable(given)
    if unusable:
        return _Judgement(name=name, kid=kid, unusable=unusable)
    return _judge_usable(given, name, kid, describe)


def _find_unusable(given: Mapping[str, Any]) -> str:
    """Return why the key is not meant for STS, as a phrase; "" if it may be."""
    kty, algorithm, use = given.get("kty"), given.get("alg"), given.get("use")
    if kty not in ("RSA", "EC"):
        return f"has kty {quoted(str(kty))}; STS accepts RSA and EC"
    if algorithm is not None and algorithm not in ALGORITHMS:
        return f"has alg {quoted(str(algorithm))}; STS accepts {', '.join(ALGORITHMS)}"
    if use is not None and use != "sig":
        return f"has use {quoted(str(use))}; expected sig"
    operations = given.get("key_ops")
    if isinstance(operations, list) and "verify" not in operations:
        return f"has key_ops {quoted(', '.join(map(str, operations)))}; expected verify"
    curve = _curve(given)
    if kty == "EC" and curve and curve not in CURVE_ALGORITHMS:
        return f"has crv {quoted(curve)}; STS accepts {', '.join(CURVE_ALGORITHMS)}"
    return ""


def _judge_usable(given: Mapping[str, Any], name: str, kid: str, describe: Callable[[PublishedKey], str]) -> _Judgement:
    findings = list(_examine_members(given, name, kid))
    implied = "RS256" if given["kty"] == "RSA" else CURVE_ALGORITHMS.get(_curve(given), "")
    key = PublishedKey(kid=kid, algorithm=given.get("alg") or implied, members=given)
    description = ""
    if implied:
        try:
            description = describe(key)
        except WeakKeyError as error:
            return _Judgement(name=f"{name}: it", kid=kid, unusable=str(error).removeprefix("it "))
        except ValueError as error:
            findings.append(failed("key", f"{name}: {error}.", _PUBLISH))
    usable = key if is_accepted(findings) else None
    return _Judgement(name=name, kid=kid, key=usable, description=description, findings=tuple(findings))


def _curve(given: Mapping[str, Any]) -> str:
    curve = given.get("crv")
    return curve if isinstance(curve, str) else ""


def _examine_members(given: Mapping[str, Any], name: str, kid: str) -> Iterable[Finding]:
    kty, curve, algorithm = given["kty"], _curve(given), given.get("alg")
    if not kid:
        yield failed("key", f"{name} has no kid, by which STS finds a token's key.", _PUBLISH)
    if algorithm is None:
        yield warning("key", f"{name} has no alg. AWS does not document that STS does without it.", _PUBLISH)
    elif (algorithm[:2] == "RS") != (kty == "RSA"):
        yield failed("key", f"{name} has kty {kty} and alg {algorithm}.", "Write the alg of the key's type.")
    elif kty == "EC" and curve in CURVE_ALGORITHMS and CURVE_ALGORITHMS[curve] != algorithm:
        found = f"{name} has crv {curve} and alg {algorithm}; expected {CURVE_ALGORITHMS[curve]}."
        yield failed("key", found, "Write the alg of the key's curve (RFC 7518 section 3.4).")
    if kty == "EC" and curve not in CURVE_ALGORITHMS:
        yield failed("key", f"{name} has no crv; expected {', '.join(CURVE_ALGORITHMS)}.", _PUBLISH)
    if given.get("use") is None:
        found = f"{name} has no use. AWS does not document that STS does without it."
        yield warning("key", found, 'Write "use": "sig".')


def _examine_together(keys: Iterable[PublishedKey], given: Iterable[object]) -> Iterable[Finding]:
    keys = list(keys)
    kids = [each.get("kid") for each in given if isinstance(each, dict) and isinstance(each.get("kid"), str)]
    usable = [key.kid for key in keys]
    for kid in sorted({kid for kid in kids if kid and kids.count(kid) > 1}):
        found = f"{kids.count(kid)} keys have the kid {quoted(kid)}."
        if usable.count(kid) == 1:  # the others are passed over, or reported by themselves
            yield warning("key", f"{found} STS can use only one of them.", "Give each key a kid of its own.")
        else:
            yield failed("key", found, "Keep one key for each kid.")
    for kind, count in (("RSA", sum(key.is_rsa for key in keys)), ("EC", sum(not key.is_rsa for key in keys))):
        if count > KEYS_MAXIMUM:
            found = f"The key document has {count} {kind} keys; AWS accepts {KEYS_MAXIMUM}."
            yield failed("keys", found, "Remove keys whose tokens have all expired.")


def _refuse_constant(name: str) -> float:
    raise ValueError(name)
