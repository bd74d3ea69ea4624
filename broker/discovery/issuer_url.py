"""Judge an issuer's URL: whether IAM accepts it, and whether STS can reach it.

URLs are compared byte by byte, never normalized. Every refusal says what to write instead. Uses no network.
Sources: IAM's API model of CreateOpenIDConnectProvider (https, no port, no query, at most 255 characters) and OpenID
Connect Discovery 1.0 section 3 (no query, no fragment). A trailing slash is refused: STS finds no provider if only one
side has it (aws/aws-sam-cli#7432), some tools add it on their own, and OpenID Connect Discovery section 4 removes it.
Only services whose issuers all end with a slash are exempt, because their users can't change that, and IAM accepts it
(docs/adr/0030-other-issuers.md).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from broker.core.findings import failed, quoted
from broker.net.urls import host_address, split

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from broker.core.findings import Finding

MAXIMUM_LENGTH = 255
DISCOVERY_PATH = "/.well-known/openid-configuration"
KEYS_PATH = "/keys.json"
TRAILING_SLASH = (
    "The issuer ends with a slash, which the provider, the documents and the token's iss would all need to have: STS "
    "compares them byte by byte."
)
"""The finding about such an issuer, the same wherever an issuer or a provider is judged."""
_ENDS_WITH_SLASH = re.compile(
    r"(?:https://)?(?:[a-z0-9-]+\.oic\.prod-aks\.azure\.com/[^/]+/[^/]+|sts\.windows\.net/[^/]+|[a-z0-9.-]+\.auth0\.com)/"
)
"""Issuers that end with a slash by design: of AKS (Azure/azure-workload-identity#1700), Entra ID and Auth0."""
_PRIVATE_SUFFIXES = (".svc", ".local", ".internal", ".localhost", ".localdomain", ".lan", ".home.arpa")
_MAKE_PUBLIC = (
    "Publish the issuer's two documents at a public address (docs/issuers.md) and set the cluster's issuer to its URL."
)


def examine(url: str) -> list[Finding]:
    """Return a finding for each reason why IAM or STS would refuse this issuer; an empty list if there is none."""
    parts = split(url)
    if parts is None:
        return [
            failed(
                "url",
                f"{quoted(url)!r} is not a valid URL.",
                "Write https://HOST or https://HOST/PATH, without white space.",
            )
        ]
    remedy = f"Write {quoted(_correct(parts))} (in the cluster's settings, the IAM provider and the documents alike)."
    found = [sentence for sentence, is_so in _faults(url, parts) if is_so]
    if found:
        return [failed("url", sentence, remedy) for sentence in found]
    reason = unreachable_reason(parts.hostname or "")
    return [failed("url", f"STS cannot reach {quoted(url)}: {reason}.", _MAKE_PUBLIC)] if reason else []


def has_trailing_slash(issuer: str) -> bool:
    """Return whether an issuer's URL, or the name of an IAM provider (without https://), ends with a slash by mistake.

    Every part of the program that judges issuers or providers uses this verdict, and the sentence `TRAILING_SLASH`.
    """
    return issuer.endswith("/") and _ENDS_WITH_SLASH.fullmatch(issuer) is None


def locate_discovery(issuer: str) -> str:
    """Return the address of an issuer's discovery document (OpenID Connect Discovery 1.0 section 4)."""
    return issuer.removesuffix("/") + DISCOVERY_PATH


def unreachable_reason(host: str) -> str:
    """Return why STS, which connects from the internet, cannot reach this host; "" if it may be able to."""
    address = host_address(host)
    name = host.rstrip(".").lower()
    if address is not None:
        return "" if address.is_global else f"{host} is not a public address"
    if name.endswith((".svc", ".cluster.local")):
        return f"{host} exists only inside the cluster"
    if name == "localhost" or name.endswith(_PRIVATE_SUFFIXES):
        return f"{host} is not a public name"
    return "" if "." in name else f"{host} is not a public name: it has no domain"


def difference(expected: str, found: str) -> str:
    """Return how two different URLs differ, as a phrase."""
    if found.rstrip("/") == expected.rstrip("/"):
        return "they differ by a trailing slash"
    if found.lower() == expected.lower():
        return "they differ in upper and lower case"
    if found.strip() == expected:
        return "they differ by white space"
    ours, theirs = split(expected), split(found)
    if ours is None or theirs is None:
        return "it is not a valid URL"
    for name, mine, other in (
        ("scheme", ours.scheme, theirs.scheme),
        ("host", ours.netloc, theirs.netloc),
        ("path", ours.path, theirs.path),
    ):
        if mine != other:
            return f"they differ in their {name}"
    return "they are not the same"


def _faults(url: str, parts: SplitResult) -> list[tuple[str, bool]]:
    """Return every possible fault of a URL, and whether this URL has it."""
    return [
        (f"The issuer begins with {parts.scheme}://; STS fetches only https:// URLs.", parts.scheme != "https"),
        ("The issuer must begin with https:// in lower case.", parts.scheme == "https" and url[:8] != "https://"),
        ("The issuer has a user or password before its host.", "@" in parts.netloc),
        ("The issuer has a port; IAM accepts none.", re.search(r":\d*$", parts.netloc) is not None),
        ("The issuer has a query; IAM accepts none.", "?" in url),
        ("The issuer has a fragment (#); IAM accepts none.", "#" in url),
        ("The issuer ends with the path of its discovery document.", parts.path.endswith(DISCOVERY_PATH)),
        (TRAILING_SLASH, has_trailing_slash(url)),
        (
            "The issuer's path has empty or dotted segments.",
            re.search(r"/(\.{0,2})/|/\.{1,2}$", parts.path) is not None,
        ),
        (
            f"The issuer has {len(url)} characters; IAM accepts at most {MAXIMUM_LENGTH}.",
            len(url) > MAXIMUM_LENGTH,
        ),
    ]


def _correct(parts: SplitResult) -> str:
    """Return the nearest URL without faults."""
    host = re.sub(r":\d*$", "", parts.netloc.rsplit("@", 1)[-1])
    segments = [each for each in parts.path.removesuffix(DISCOVERY_PATH).split("/") if each.strip(".")]
    corrected = "/".join([f"https://{host}", *segments])
    return corrected if len(corrected) <= MAXIMUM_LENGTH else f"https://{host}"
