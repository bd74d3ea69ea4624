"""`sts-broker issuer check`: judges an issuer as STS does, with everything that cryptography can find out.

broker.discovery fetches and judges the documents. This module adds whether the keys are sound, the signature of the
token, the chain of certificates, and how the token relates to the issuer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.core.findings import failed, ok, quoted, warning
from broker.core.timestamps import timestamp
from broker.discovery import issuer_url
from broker.discovery.documents import DocumentCheck
from broker.issuer import certificates, public_keys, token_signature

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from broker.core.findings import Finding
    from broker.core.model import BoundToken
    from broker.discovery.key_documents import PublishedKey
    from broker.issuer.certificates import Certificate
    from broker.net.http_messages import Answer, NoAnswer, TlsSession


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All findings, in the order of the checks. `chains` has the certificates of each host, as it sent them."""

    findings: tuple[Finding, ...]
    chains: Mapping[str, tuple[Certificate, ...]]
    keys: tuple[PublishedKey, ...]


class CryptographicExaminer:
    """The `broker.discovery.examiners.Examiner` that looks into keys, signatures and certificates."""

    def describe_key(self, key: PublishedKey) -> str:
        """Return the key's algorithm and size. Raises ValueError, with a phrase, if its numbers are not sound."""
        return public_keys.from_published(key).description

    def describe_certificate(self, host: str, session: TlsSession) -> str:
        """Return the names in the chain, the expiry date and the thumbprint for IAM; "" if it cannot be read."""
        chain = certificates.read_all(session.chain)
        if not chain:
            return ""
        leaf = chain[0]
        issuers = " < ".join(quoted(each.issuer) for each in chain)
        dates = f"valid until {leaf.not_after:%Y-%m-%d}"
        return f"{host}: {quoted(leaf.subject)} < {issuers}; {dates}; thumbprint for IAM {chain[-1].sha1}."

    def check_signature(self, token: BoundToken, key: PublishedKey) -> Finding:
        """Return whether the key signed the token."""
        return token_signature.examine(token, public_keys.from_published(key))


class IssuerCheck:
    """Checks one issuer, once. The arguments are those of `DocumentCheck`."""

    def __init__(
        self,
        url: str,
        *,
        token: BoundToken | None,
        fetch: Callable[[str, str], Answer | NoAnswer],
        trusted_by: str,
        now: datetime,
    ) -> None:
        self._url = url
        self._token = token
        self._fetch = fetch
        self._trusted_by = trusted_by
        self._now = now

    def run(self) -> Report:
        """Fetch the documents and judge them. Nothing that a server sends makes it raise."""
        refused = issuer_url.examine(self._url)
        if refused:
            return Report(findings=tuple(refused), chains={}, keys=())
        documents = DocumentCheck(
            self._url,
            token=self._token,
            fetch=self._fetch,
            examiner=CryptographicExaminer(),
            trusted_by=self._trusted_by,
            now=self._now,
        ).run()
        findings = [ok("url", f"{self._url} is an issuer that IAM accepts."), *self._compare_issuers()]
        findings += [*documents.findings, *self._check_expiry()]
        chains = {host: tuple(certificates.read_all(each.chain)) for host, each in documents.sessions.items()}
        return Report(findings=tuple(findings), chains=chains, keys=documents.keys)

    def _compare_issuers(self) -> list[Finding]:
        if self._token is None:
            return []
        issuer = self._token.claims.issuer
        if issuer == self._url:
            return [ok("token", "The token's iss is this issuer.")]
        found = f"The token's iss is {quoted(issuer)}: {issuer_url.difference(self._url, issuer)}."
        remedy = "Check the issuer that the token names. After a change of issuer, a restarted pod gets a new token."
        return [failed("token", found, remedy)]

    def _check_expiry(self) -> list[Finding]:
        if self._token is None or self._token.claims.expires_at > self._now:
            return []
        found = f"The token expired at {timestamp(self._token.claims.expires_at)}: STS refuses it in any case."
        return [warning("token", found, "Check with the token that the pod has now.")]
