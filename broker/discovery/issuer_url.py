"""What the URL of an issuer must look like for IAM and STS, and where STS can reach it at all.

Rules: every refusal says what to write instead. The URL is compared by the byte: nothing is normalised.
Sources: IAM's model of CreateOpenIDConnectProvider (https, no port, no query, at most 255 characters) and OpenID
Connect Discovery 1.0 section 3 (no query, no fragment). A slash at the end is refused here: no AWS page says how STS
compares it. Knows no network.
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
_INNER_ENDINGS = (".svc", ".local", ".internal", ".localhost", ".localdomain", ".lan", ".home.arpa")
_HOST_SOMEWHERE_PUBLIC = (
    "Serve the issuer's two documents at a public address (docs/issuers.md) and set the cluster's issuer to its URL."
)


def examine(url: str) -> list[Finding]:
    """Return why IAM or STS would refuse this issuer; nothing where they would not."""
    parts = split(url)
    if parts is None:
        return [
            failed(
                "url", f"{quoted(url)!r} is no URL.", "Write https://HOST or https://HOST/PATH, with no white space."
            )
        ]
    instead = f"Write {quoted(_mended(parts))} (in the cluster's settings, the provider and the documents alike)."
    found = [sentence for sentence, is_so in _faults(url, parts) if is_so]
    if found:
        return [failed("url", sentence, instead) for sentence in found]
    reason = unreachable_reason(parts.hostname or "")
    return [failed("url", f"STS cannot reach {quoted(url)}: {reason}.", _HOST_SOMEWHERE_PUBLIC)] if reason else []


def unreachable_reason(host: str) -> str:
    """Return why STS, which comes from the internet, cannot reach this host; "" where it may."""
    address = host_address(host)
    name = host.rstrip(".").lower()
    if address is not None:
        return "" if address.is_global else f"{host} is no public address"
    if name.endswith((".svc", ".cluster.local")):
        return f"{host} exists inside the cluster only"
    if name == "localhost" or name.endswith(_INNER_ENDINGS):
        return f"{host} is no public name"
    return "" if "." in name else f"{host} is no public name: it has no domain"


def difference(expected: str, found: str) -> str:
    """Return in what two URLs differ, in a few words."""
    if found.rstrip("/") == expected.rstrip("/"):
        return "they differ by a slash at the end"
    if found.lower() == expected.lower():
        return "they differ by capital letters"
    if found.strip() == expected:
        return "they differ by white space"
    ours, theirs = split(expected), split(found)
    if ours is None or theirs is None:
        return "it is no such URL"
    for name, mine, other in (
        ("scheme", ours.scheme, theirs.scheme),
        ("host", ours.netloc, theirs.netloc),
        ("path", ours.path, theirs.path),
    ):
        if mine != other:
            return f"they differ by their {name}"
    return "they are not the same"


def _faults(url: str, parts: SplitResult) -> list[tuple[str, bool]]:
    return [
        (f"The issuer begins with {parts.scheme}://; STS fetches by https only.", parts.scheme != "https"),
        ("The issuer must begin with https:// in small letters.", parts.scheme == "https" and url[:8] != "https://"),
        ("The issuer has a user or password before its host.", "@" in parts.netloc),
        ("The issuer has a port; IAM takes none.", re.search(r":\d*$", parts.netloc) is not None),
        ("The issuer has a query; IAM takes none.", "?" in url),
        ("The issuer has a fragment (#); IAM takes none.", "#" in url),
        ("The issuer ends in the path of its discovery document.", parts.path.endswith(DISCOVERY_PATH)),
        ("The issuer ends in a slash, which the token's iss must then have too.", parts.path.endswith("/")),
        ("The issuer's path has empty or dotted steps.", re.search(r"/(\.{0,2})/|/\.{1,2}$", parts.path) is not None),
        (f"The issuer has {len(url)} characters; IAM takes {MAXIMUM_LENGTH} at most.", len(url) > MAXIMUM_LENGTH),
    ]


def _mended(parts: SplitResult) -> str:
    host = parts.netloc.rsplit("@", 1)[-1]
    host = re.sub(r":\d*$", "", host)
    steps = [step for step in parts.path.removesuffix(DISCOVERY_PATH).split("/") if step.strip(".")]
    mended = "/".join([f"https://{host}", *steps])
    return mended if len(mended) <= MAXIMUM_LENGTH else f"https://{host}"
