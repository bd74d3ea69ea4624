"""Fetch an issuer's two documents as STS does, and judge what STS would refuse.

Every fault that can be seen is reported in one run, one finding each. After a fault that hides what follows, nothing
is guessed. What AWS does not document is a warning, unless docs/issuers.md says why it is not.
An `Examiner` adds what needs cryptography: whether keys are sound, the signature of a token, names of certificates.
Sources: docs/issuers.md lists what STS demands and where AWS says so.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from broker.core.findings import failed, ok, quoted, warning
from broker.discovery import issuer_url, key_documents
from broker.discovery.examiners import explain_distrust
from broker.discovery.fetching import MAXIMUM_SECONDS, describe_failure, find_http_fault
from broker.net.http_messages import NoAnswer
from broker.net.urls import HTTPS_PORT, split

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from broker.core.findings import Finding
    from broker.core.model import BoundToken
    from broker.discovery.examiners import Examiner
    from broker.discovery.key_documents import KeyDocument, PublishedKey
    from broker.net.http_messages import Answer, TlsSession

EXPIRY_WARNING = timedelta(days=30)
_REQUIRED = ("response_types_supported", "subject_types_supported", "id_token_signing_alg_values_supported")
_FROM_INTERNET = "Run this check from the internet as well."


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentReport:
    """All findings, in the order of the checks.

    `sessions` has what TLS disclosed about each host. `failures` has the requests that got no answer.
    """

    findings: tuple[Finding, ...]
    keys: tuple[PublishedKey, ...]
    sessions: Mapping[str, TlsSession]
    failures: tuple[NoAnswer, ...]


class DocumentCheck:
    """Checks one issuer, once.

    fetch: gets a URL, with the Accept header given.
    trusted_by: names the CAs that certificates are verified by.
    """

    def __init__(  # noqa: PLR0913 - what to check and how, by keyword
        self,
        url: str,
        *,
        token: BoundToken | None,
        fetch: Callable[[str, str], Answer | NoAnswer],
        examiner: Examiner,
        trusted_by: str,
        now: datetime,
    ) -> None:
        self._url = url
        self._token = token
        self._get = fetch
        self._examiner = examiner
        self._trusted_by = trusted_by
        self._now = now
        self._findings: list[Finding] = []
        self._keys: tuple[PublishedKey, ...] = ()
        self._sessions: dict[str, TlsSession] = {}
        self._failures: list[NoAnswer] = []

    def run(self) -> DocumentReport:
        """Fetch the documents and judge them. Nothing that a server sends makes it raise."""
        self._check_documents()
        return DocumentReport(
            findings=tuple(self._findings),
            keys=self._keys,
            sessions=self._sessions,
            failures=tuple(self._failures),
        )

    def _check_documents(self) -> None:
        discovery = self._fetch("discovery", issuer_url.locate_discovery(self._url))
        if discovery is None:
            return
        self._check_discovery(discovery)
        address = self._find_keys_address(discovery)
        document = self._fetch("jwks", address) if address else None
        if document is None:
            return
        keys = key_documents.examine(document, self._examiner.describe_key)
        self._keys = keys.keys
        self._findings += keys.findings
        self._check_algorithms(discovery)
        if self._token is not None:
            self._findings.append(self._check_key(self._token, keys))

    def _fetch(self, check: str, url: str) -> dict[str, Any] | None:
        """Return the JSON document at the URL, or None after adding the finding that says why there is none."""
        answer = self._get(check, url)
        if isinstance(answer, NoAnswer):
            self._failures.append(answer)
            found, remedy = describe_failure(answer)
            self._findings.append(failed(check, f"{quoted(url)}: {found}.", remedy))
            return None
        self._check_connection(url, answer)
        fault = find_http_fault(answer)
        if fault is not None:
            self._findings.append(failed(check, f"{quoted(url)} {fault[0]}.", fault[1]))
            return None
        try:
            document = key_documents.parse(answer.body)
        except ValueError as error:
            kind = quoted(answer.content_type) or "no content type"
            found = f"{quoted(url)} returns {kind}, and {error}."
            self._findings.append(failed(check, found, "Serve the JSON document itself at this address, to everyone."))
            return None
        self._check_delivery(check, url, answer)
        return document

    def _check_delivery(self, check: str, url: str, answer: Answer) -> None:
        """Add how long the document took, and a warning if its content type is not JSON."""
        found = f"{quoted(url)}: {len(answer.body):,} bytes in {answer.seconds:.2f} s"
        if answer.seconds > MAXIMUM_SECONDS:
            found = f"{found}; STS gives up after about {MAXIMUM_SECONDS:g} s."
            self._findings.append(failed(check, found, "Serve it faster, from a cache."))
        else:
            self._findings.append(ok(check, f"{found}."))
        kind = answer.content_type.split(";")[0].strip().lower()
        if kind != "application/json" and not kind.endswith("+json"):
            found = f"Its content type is {quoted(kind) or 'missing'}; expected application/json."
            self._findings.append(warning(check, found, "Upload it with --content-type application/json."))

    def _check_connection(self, url: str, answer: Answer) -> None:
        """Add the findings about the host: once about the route to it, and once about its certificate."""
        parts = split(url)
        host = (parts.hostname if parts else None) or ""
        found = ""
        if answer.via:
            found = f"{host} was reached by {answer.via}; STS uses public DNS and may reach another server."
        elif not ipaddress.ip_address(answer.address.split("%")[0]).is_global:
            found = f"{host} resolves to {answer.address} here, which is not a public address; STS may not find it."
        finding = warning("route", found, _FROM_INTERNET)
        if found and finding not in self._findings:
            self._findings.append(finding)
        if answer.tls is not None and host not in self._sessions:
            self._sessions[host] = answer.tls
            self._check_certificate(host, answer.tls)

    def _check_certificate(self, host: str, session: TlsSession) -> None:
        description = self._examiner.describe_certificate(host, session)
        if session.fault is not None:
            self._findings.append(explain_distrust(host, session.fault, description))
            return
        if not description:
            found = f"{host}'s certificate is trusted, but cannot be read here."
            self._findings.append(warning("certificate", found, "Look at it with openssl s_client."))
            return
        found = f"{description} Trusted by {quoted(self._trusted_by)}."
        certificate = session.certificate
        if certificate is not None and certificate.not_after - self._now < EXPIRY_WARNING:
            self._findings.append(warning("certificate", found, "Renew it; it expires in less than 30 days."))
        else:
            self._findings.append(ok("certificate", found))
        if session.needs_tls_13:
            found = f"{host} accepts only TLS 1.3; AWS then goes by the provider's thumbprints (IAM User Guide)."
            remedy = "Allow TLS 1.2 as well, or list the certificate's thumbprint in the IAM provider."
            self._findings.append(warning("certificate", found, remedy))

    def _check_discovery(self, document: Mapping[str, Any]) -> None:
        issuer = document.get("issuer")
        if issuer == self._url:
            self._findings.append(ok("issuer", "The document's issuer equals this URL, byte by byte."))
        else:
            shown = "is missing, or not a string"
            if isinstance(issuer, str):
                shown = f"is {quoted(issuer)}: {issuer_url.difference(self._url, issuer)}"
            remedy = (
                f"Write {self._url} there, in the cluster's settings and in the IAM provider, byte by byte the same."
            )
            self._findings.append(failed("issuer", f"The document's issuer {shown}.", remedy))
        missing = [name for name in _REQUIRED if not isinstance(document.get(name), list)]
        if missing:
            found = f"The discovery document has no list {', '.join(missing)} (OpenID Connect Discovery 1.0 section 3)."
            self._findings.append(warning("discovery", found, "Publish the output of `sts-broker issuer render`."))

    def _find_keys_address(self, document: Mapping[str, Any]) -> str:
        """Return the address of the keys, "" if STS would not fetch it."""
        address = document.get("jwks_uri")
        fault = "is missing, or not a string"
        if isinstance(address, str) and address:
            parts = split(address)
            fault = f"is {quoted(address)}"
            if parts is None or parts.scheme != "https" or "@" in parts.netloc:
                fault += ", which is not an https URL"
            else:
                unreachable = issuer_url.unreachable_reason(parts.hostname or "")
                if not unreachable:
                    self._check_port(parts.port)
                    return address.split("#")[0]
                fault += f", which STS cannot reach: {unreachable}"
        remedy = (
            f"Publish the keys, usually at {self._url}{issuer_url.KEYS_PATH}, and name that URL. On an API server: "
        )
        self._findings.append(failed("jwks_uri", f"jwks_uri {fault}.", f"{remedy}--service-account-jwks-uri."))
        return ""

    def _check_port(self, port: int | None) -> None:
        if port not in (None, HTTPS_PORT):
            found = f"jwks_uri has port {port}. AWS does not document that STS connects to it."
            self._findings.append(warning("jwks_uri", found, f"Serve the keys at port {HTTPS_PORT}."))

    def _check_algorithms(self, discovery: Mapping[str, Any]) -> None:
        listed = discovery.get("id_token_signing_alg_values_supported")
        used = sorted({key.algorithm for key in self._keys})
        if isinstance(listed, list) and not set(used) <= {each for each in listed if isinstance(each, str)}:
            shown = quoted(", ".join(map(str, listed)))
            found = f"The discovery document lists {shown}; the keys are {', '.join(used)}."
            self._findings.append(warning("discovery", found, "List the algorithms of the keys there."))

    def _check_key(self, token: BoundToken, keys: KeyDocument) -> Finding:
        """Return whether the key that the token names is published, and made for the token's algorithm."""
        claims = token.claims
        name = quoted(claims.key_id) or "(no kid)"
        key = next((each for each in keys.keys if each.kid == claims.key_id), None)
        if key is None:
            unusable = next((reason for kid, reason in keys.passed_over if kid and kid == claims.key_id), "")
            if unusable:
                found = f"The token is signed with the published key {name}, which STS cannot use: it {unusable}."
                return failed("token", found, "Sign tokens with a key of use sig and an algorithm that STS accepts.")
            found = f"The token's key {name} is not among the published keys."
            remedy = (
                "Add the cluster's current keys: run kubectl get --raw /openid/v1/jwks, then sts-broker issuer render "
                "with the keys that are published now as a second --jwks."
            )
            return failed("token", found, remedy)
        if key.algorithm != claims.algorithm:
            found = f"The token is signed with {quoted(claims.algorithm)}, but its key is for {key.algorithm}."
            return failed("token", found, "Publish the key with the algorithm that the cluster uses.")
        return self._examiner.check_signature(token, key)
