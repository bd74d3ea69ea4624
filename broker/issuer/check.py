"""`sts-broker issuer check`: fetches an issuer's documents as STS does, and says what STS would refuse.

Rules: every fault that can be seen is told in one run, each as one line; after a fault that hides what comes behind it
nothing is guessed; what AWS leaves open is a warning, unless docs/issuers.md says why not. The signature of a token is
checked by `token_signature`, which tells where it cannot.
Sources: docs/issuers.md has a table of what STS demands and where AWS says so.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from broker.core.findings import failed, ok, quoted, warning
from broker.core.timestamps import timestamp
from broker.discovery import issuer_url
from broker.issuer import certificates, key_sets, token_signature
from broker.net.https_client import MAXIMUM_BYTES, Answer, Silence
from broker.net.urls import HTTPS_PORT, split

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from broker.core.findings import Finding
    from broker.core.model import BoundToken
    from broker.issuer.certificates import Certificate
    from broker.issuer.public_keys import PublicKey

EXPIRY_WARNING = timedelta(days=30)
_STS_PATIENCE_SECONDS = 5.0
"""AWS re:Post on InvalidIdentityToken; --timeout may be longer, to see how slow a server is."""
_REQUIRED = ("response_types_supported", "subject_types_supported", "id_token_signing_alg_values_supported")
_EXPIRED, _NOT_YET, _HOST_MISMATCH = 10, 9, 62
"""X509_V_ERR_… of OpenSSL's x509_vfy.h."""
_SELF_SIGNED = (18, 19)
_PUBLIC_CERTIFICATE = (
    "Use a certificate of a public CA, sent with its intermediates. Of a private CA, the provider must list the "
    "thumbprint, and --ca-bundle lets this check know it."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that was found, in the order it was looked for. `chains` has the certificates of each host."""

    findings: tuple[Finding, ...]
    chains: Mapping[str, tuple[Certificate, ...]]
    keys: tuple[PublicKey, ...]


class IssuerCheck:
    """Looks at one issuer, once. `fetch` gets a URL; `trusted_by` names whose CAs it goes by."""

    def __init__(
        self,
        url: str,
        *,
        token: BoundToken | None,
        fetch: Callable[[str], Answer | Silence],
        trusted_by: str,
        now: datetime,
    ) -> None:
        self._url = url
        self._token = token
        self._get = fetch
        self._trusted_by = trusted_by
        self._now = now
        self._findings: list[Finding] = []
        self._chains: dict[str, tuple[Certificate, ...]] = {}
        self._keys: list[PublicKey] = []

    def run(self) -> Report:
        """Fetch and compare. Returns what was found; raises nothing that servers could cause."""
        refused = issuer_url.examine(self._url)
        self._findings += refused or [ok("url", f"{self._url} is an issuer that IAM takes.")]
        if not refused:
            self._check_documents()
        return Report(findings=tuple(self._findings), chains=self._chains, keys=tuple(self._keys))

    def _check_documents(self) -> None:
        self._compare_issuers()
        discovery = self._fetch("discovery", self._url + issuer_url.DISCOVERY_PATH)
        if discovery is None:
            return
        self._check_discovery(discovery)
        address = self._keys_address(discovery)
        document = self._fetch("jwks", address) if address else None
        if document is None:
            return
        self._keys, findings = key_sets.examine(document)
        self._findings += findings
        self._check_algorithms(discovery)
        if self._token is not None:
            self._check_token(self._token)
            self._check_expiry(self._token.claims.expires_at)

    def _compare_issuers(self) -> None:
        if self._token is None:
            return
        issuer = self._token.claims.issuer
        if issuer == self._url:
            self._findings.append(ok("token", "The token's iss is this issuer."))
            return
        self._findings.append(
            failed(
                "token",
                f"The token's iss is {quoted(issuer)}: {issuer_url.difference(self._url, issuer)}.",
                "Check the issuer that the token names; after a change of issuer, a restarted pod gets a new token.",
            )
        )

    def _fetch(self, check: str, url: str) -> dict[str, Any] | None:
        answer = self._get(url)
        if isinstance(answer, Silence):
            self._findings.append(failed(check, f"{quoted(url)}: {answer.found}.", answer.remedy))
            return None
        host = self._check_way(url, answer)
        self._check_certificates(host, answer)
        fault = _fault_of(answer)
        if fault is not None:
            self._findings.append(failed(check, f"{quoted(url)} {fault[0]}.", fault[1]))
            return None
        try:
            document = key_sets.parse(answer.body)
        except ValueError as error:
            kind = quoted(answer.content_type) or "no content type"
            said = f"{quoted(url)} gives {kind}, and {error}."
            self._findings.append(failed(check, said, "Serve the JSON document itself, to everybody, at this address."))
            return None
        told = f"{quoted(url)}: {len(answer.body):,} bytes in {answer.seconds:.2f} s"
        if answer.seconds > _STS_PATIENCE_SECONDS:
            self._findings.append(
                failed(check, f"{told}; STS gives up after about 5 s.", "Serve it faster, from a cache.")
            )
        else:
            self._findings.append(ok(check, f"{told}."))
        self._check_content_type(check, answer)
        return document

    def _check_content_type(self, check: str, answer: Answer) -> None:
        kind = answer.content_type.split(";")[0].strip().lower()
        if kind != "application/json" and not kind.endswith("+json"):
            said = f"Its content type is {quoted(kind) or 'missing'}; expected application/json."
            self._findings.append(warning(check, said, "Upload it with --content-type application/json."))

    def _check_way(self, url: str, answer: Answer) -> str:
        parts = split(url)
        host = (parts.hostname if parts else None) or ""
        if answer.via:
            said = f"{host} was reached by {answer.via}; STS goes by public DNS, and may find another server."
            self._add_once(warning("route", said, "Run this check from the internet as well."))
        elif not ipaddress.ip_address(answer.address.split("%")[0]).is_global:
            said = f"{host} is {answer.address} here, which is no public address; STS may not find it."
            self._add_once(warning("route", said, "Run this check from the internet as well."))
        return host

    def _check_certificates(self, host: str, answer: Answer) -> None:
        if host in self._chains:
            return
        chain = tuple(certificates.read_all(answer.chain))
        self._chains[host] = chain
        if answer.distrust is not None:
            self._findings.append(_distrusted(host, chain, answer.distrust))
            return
        if not chain:
            said = f"{host}'s certificate is trusted; it could not be read here."
            self._findings.append(warning("certificate", said, "Look at it with openssl s_client."))
            return
        told = f"{_described(host, chain)} Trusted by {quoted(self._trusted_by)}."
        if chain[0].not_after - self._now < EXPIRY_WARNING:
            self._findings.append(warning("certificate", told, "Renew it; it is over in less than 30 days."))
        else:
            self._findings.append(ok("certificate", told))
        if answer.needs_tls_13:
            said = f"{host} speaks TLS 1.3 only; AWS then goes by the provider's thumbprints (IAM User Guide)."
            self._findings.append(
                warning("certificate", said, f"Allow TLS 1.2 too, or list {chain[-1].sha1} in the provider.")
            )

    def _check_discovery(self, document: Mapping[str, Any]) -> None:
        issuer = document.get("issuer")
        if issuer == self._url:
            self._findings.append(ok("issuer", "The document's issuer is this URL, to the byte."))
        else:
            told = f"is {quoted(issuer)}: {issuer_url.difference(self._url, issuer)}" if isinstance(issuer, str) else ""
            said = f"The document's issuer {told or 'is missing, or no text'}."
            remedy = f"Write {self._url} there, in the cluster's settings and in the provider: the same to the byte."
            self._findings.append(failed("issuer", said, remedy))
        missing = [name for name in _REQUIRED if not isinstance(document.get(name), list)]
        if missing:
            said = f"The discovery document has no list {', '.join(missing)} (OpenID Connect Discovery 1.0 section 3)."
            self._findings.append(warning("discovery", said, "Publish the output of `sts-broker issuer render`."))

    def _keys_address(self, document: Mapping[str, Any]) -> str:
        """Return the address of the keys, "" where STS would not go there."""
        address = document.get("jwks_uri")
        fault = "is missing, or no text"
        if isinstance(address, str) and address:
            parts = split(address)
            fault = f"is {quoted(address)}"
            if parts is None or parts.scheme != "https" or "@" in parts.netloc:
                fault += ", which is no https URL"
            else:
                inner = issuer_url.unreachable_reason(parts.hostname or "")
                if not inner:
                    self._check_port(parts.port)
                    return address.split("#")[0]
                fault += f", which STS cannot reach: {inner}"
        remedy = f"Publish the keys and name them: {self._url}{issuer_url.KEYS_PATH} is usual. On an API server: "
        self._findings.append(failed("jwks_uri", f"jwks_uri {fault}.", f"{remedy}--service-account-jwks-uri."))
        return ""

    def _check_port(self, port: int | None) -> None:
        if port not in (None, HTTPS_PORT):
            said = f"jwks_uri has port {port}. No AWS page says that STS goes there."
            self._findings.append(warning("jwks_uri", said, "Serve the keys at port 443."))

    def _check_algorithms(self, discovery: Mapping[str, Any]) -> None:
        listed = discovery.get("id_token_signing_alg_values_supported")
        used = sorted({key.algorithm for key in self._keys})
        if isinstance(listed, list) and not set(used) <= {each for each in listed if isinstance(each, str)}:
            said = (
                f"The discovery document lists {quoted(', '.join(map(str, listed)))}; the keys are {', '.join(used)}."
            )
            self._findings.append(warning("discovery", said, "List the algorithms of the keys there."))

    def _check_token(self, token: BoundToken) -> None:
        claims = token.claims
        key = next((each for each in self._keys if each.kid == claims.key_id), None)
        if key is None:
            said = f"The token's key {quoted(claims.key_id) or '(no kid)'} is not among the published keys."
            remedy = (
                "Add the cluster's present keys: kubectl get --raw /openid/v1/jwks, then sts-broker issuer render with "
                "the keys that are published now as a second --jwks."
            )
            self._findings.append(failed("token", said, remedy))
        elif key.algorithm != claims.algorithm:
            said = f"The token is signed with {quoted(claims.algorithm)}, and its key is for {key.algorithm}."
            self._findings.append(failed("token", said, "Publish the key with the algorithm that the cluster uses."))
        else:
            self._findings.append(token_signature.examine(token, key))

    def _check_expiry(self, expires_at: datetime) -> None:
        if expires_at <= self._now:
            said = f"The token expired at {timestamp(expires_at)}: STS refuses it, whatever its issuer publishes."
            self._findings.append(warning("token", said, "Check with the token that the pod has now."))

    def _add_once(self, finding: Finding) -> None:
        if finding not in self._findings:
            self._findings.append(finding)


def _fault_of(answer: Answer) -> tuple[str, str] | None:
    """Return what is wrong with an answer whatever its content, and what to do."""
    if answer.location and 300 <= answer.status < 400:  # noqa: PLR2004 - HTTP's redirections
        said = f"answers {answer.status}, to {quoted(answer.location)}"
        return said, "Serve it at this very address: no AWS page says that STS follows redirects, so none is followed."
    if answer.status in (401, 403):
        return f"answers {answer.status}", "Let everybody read it: STS has no credentials for it."
    if answer.status != 200:  # noqa: PLR2004 - OK
        return f"answers {answer.status}; expected 200", "Upload it there: sts-broker issuer render writes it."
    if len(answer.body) > MAXIMUM_BYTES:
        return f"has over {MAXIMUM_BYTES:,} bytes", "Serve the document alone; such documents have a few thousand."
    return None


def _distrusted(host: str, chain: tuple[Certificate, ...], distrust: ssl.SSLCertVerificationError) -> Finding:
    code, told = distrust.verify_code, _described(host, chain) if chain else f"{host}'s certificate cannot be read."
    if code == _EXPIRED:
        return failed("certificate", f"A certificate has expired. {told}", "Renew it.")
    if code == _NOT_YET:
        return failed("certificate", f"A certificate is not valid yet. {told}", "Look at its dates and at this clock.")
    if code == _HOST_MISMATCH:
        return failed("certificate", f"The certificate is not {host}'s. {told}", f"Use one that names {host}.")
    reason = "signs itself" if code in _SELF_SIGNED else f"is not trusted ({quoted(distrust.verify_message)})"
    return failed("certificate", f"The certificate {reason}. {told}", _PUBLIC_CERTIFICATE)


def _described(host: str, chain: tuple[Certificate, ...]) -> str:
    leaf = chain[0]
    issuers = " < ".join(quoted(each.issuer) for each in chain)
    dates = f"valid to {leaf.not_after:%Y-%m-%d}"
    return f"{host}: {quoted(leaf.subject)} < {issuers}; {dates}; thumbprint for IAM {chain[-1].sha1}."
