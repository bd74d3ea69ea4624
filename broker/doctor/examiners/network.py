"""`sts-broker doctor` on the way to STS, step by step: Region, proxy, name, connection, TLS, and STS's clock.

Rules: the way is the one that the broker's own client takes, asked of it; each step has a few seconds; the first that
fails is the cause, and those after it are not tried. A proxy's password is never told. What answers over TLS that
cannot be verified is believed in nothing but its Date, to tell a clock that is off from a certificate that is bad.
"""

from __future__ import annotations

import http.client
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urlsplit

from broker.core.findings import quoted
from broker.doctor.checks import Outcome
from broker.doctor.examiners.connection_steps import STEP_SECONDS, connect, told, within
from broker.doctor.examiners.node_clock import SKEW_MAXIMUM, skew_of
from broker.issuer import certificates
from broker.net.https_client import Answer, Route, Silence, get

if TYPE_CHECKING:
    from datetime import timedelta

    from broker.core.clock import Clock
    from broker.core.model import StsSpec
    from broker.doctor.checks import Report
    from broker.doctor.environment import Resolve
    from broker.issuer.certificates import Certificate
    from broker.sts.network_path import NetworkPath

STEPS: Final = ("region", "sts-proxy", "sts-name", "sts-connection", "sts-tls")
_CERTIFICATE_DATES: Final = (9, 10)
"""X509_V_ERR_CERT_NOT_YET_VALID and …_HAS_EXPIRED of OpenSSL's x509_vfy.h."""
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """How far it went. `is_reached`: STS, or what stands in for it, can be asked; `skew`: its clock less ours."""

    is_reached: bool
    skew: timedelta | None = None


class WayToSts:
    """Walks the way to the STS of one Region."""

    def __init__(  # noqa: PLR0913 - where to, and from where
        self, way: NetworkPath, spec: StsSpec, region: str, sheet: Report, clock: Clock, *, resolve: Resolve, of: str
    ) -> None:
        self._way = way
        self._spec = spec
        self._region = region
        self._sheet = sheet
        self._clock = clock
        self._resolve = resolve
        self._of = of

    def walk(self) -> Reached:
        """Take each step, and tell of it."""
        self._sheet.announce(f"the way to STS in {self._region}")
        way, address, reached = self._way, urlsplit(self._way.url), Reached(is_reached=False)
        if self._is_known:
            self._ok("region", f"{self._region}: {way.url}")
        if self._proxy(way) if way.proxy else self._direct(way, address):
            reached = self._https(way) if address.scheme == "https" else self._http(way, address)
        if self._sheet.find("region", self._of) is None:
            self._ok("region", f"{self._region}, which this release does not know: {way.url}")
        self._rest_not_checked()
        return reached

    @property
    def _is_known(self) -> bool:
        """Whether there is no doubt about the Region: botocore knows it, or it has no say in where STS is."""
        return self._region in self._way.regions or bool(self._spec.endpoint_url)

    def _proxy(self, way: NetworkPath) -> bool:
        """Look at the proxy, which then resolves and connects. Return whether there is one to be asked."""
        proxy = urlsplit(way.proxy)
        try:
            host, port = proxy.hostname or "", proxy.port or 80
        except ValueError:
            host, port = "", 0
        variable = "HTTPS_PROXY" if way.url.startswith("https:") else "HTTP_PROXY"
        if proxy.scheme != "http" or not host:
            self._failed("sts-proxy", f"{variable} is no http:// URL.", f"Write {variable}=http://HOST:PORT.")
            return False
        name = f"{quoted(host)}:{port} ({variable})"
        remedy = f"Look at {variable}, and at the NetworkPolicy; NO_PROXY takes STS's host where none is needed."
        try:
            addresses = within(lambda: self._resolve(host, port))
            within(lambda: connect(addresses, port))
        except OSError as error:
            self._failed("sts-proxy", f"The proxy {name} cannot be reached: {told(error)}.", remedy)
            return False
        return True

    def _direct(self, way: NetworkPath, address: SplitResult) -> bool:
        """Resolve and connect without a proxy. Return whether there is a connection."""
        self._ok("sts-proxy", "No proxy on the way.")
        host = address.hostname or ""
        port = address.port or (443 if address.scheme == "https" else 80)
        try:
            addresses = within(lambda: self._resolve(host, port))
        except OSError as error:
            self._unresolved(host, error)
            return False
        self._ok("sts-name", f"{host} is {', '.join(addresses[:4])}.")
        try:
            within(lambda: connect(addresses, port))
        except OSError as error:
            remedy = "Allow the pod to reach it: NetworkPolicy, firewall, route, security group of a VPC endpoint."
            remedy = f"{remedy} Or set HTTPS_PROXY, where a proxy is the way out."
            if self._spec.endpoint_url:
                remedy = f"Look at AWS_ENDPOINT_URL_STS ({way.url}). {remedy}"
            self._failed("sts-connection", f"No connection to {host}, port {port}: {told(error)}.", remedy)
            return False
        self._ok("sts-connection", f"{host} answers at port {port}.")
        return True

    def _unresolved(self, host: str, error: OSError) -> None:
        silent = isinstance(error, TimeoutError) or error.args[:1] == (socket.EAI_AGAIN,)
        if silent:
            remedy = "No DNS server answers: allow port 53 (UDP, TCP) in the NetworkPolicy, look at /etc/resolv.conf."
            self._failed("sts-name", f"{host} cannot be looked up: {told(error)}.", remedy)
        elif self._spec.endpoint_url:
            self._failed("sts-name", f"There is no {host}: {told(error)}.", "Look at AWS_ENDPOINT_URL_STS.")
        elif not self._is_known:
            self._misspelled("sts-name", f"There is no {host}.")
        elif self._spec.use_fips or self._spec.use_dualstack:
            names = {
                "AWS_USE_FIPS_ENDPOINT": self._spec.use_fips,
                "AWS_USE_DUALSTACK_ENDPOINT": self._spec.use_dualstack,
            }
            set_ones = " and ".join(name for name, is_set in names.items() if is_set)
            remedy = f"Unset {set_ones}, or take a Region that has this endpoint."
            self._failed("sts-name", f"There is no {host}: not every Region has FIPS or dual-stack ones.", remedy)
        else:
            remedy = "Look at the pod's DNS (dnsPolicy, CoreDNS); of a VPC endpoint, at its private DNS."
            self._failed("sts-name", f"There is no {host}: {told(error)}.", remedy)

    def _misspelled(self, check: str, found: str) -> None:
        """Put a step that failed down to the Region, which nobody knows."""
        import difflib  # noqa: PLC0415 - for those who misspelled

        same_letters = [name for name in sorted(self._way.regions) if sorted(name) == sorted(self._region)]
        near = same_letters or difflib.get_close_matches(self._region, self._way.regions, n=1)
        did_you_mean = f" Did you mean {near[0]}?" if near else ""
        self._failed("region", f"There is no Region {self._region}.{did_you_mean}", "Mend AWS_REGION (region).")
        self._sheet.follows(check, found, self._label("region"), of=self._of)

    def _https(self, way: NetworkPath) -> Reached:
        route = Route(
            timeout_seconds=STEP_SECONDS,
            ca_bundle=way.ca_file,
            environ={"https_proxy": way.proxy} if way.proxy else {},
        )
        answer = get(f"{way.url}/", route)
        if isinstance(answer, Silence):
            self._unanswered(way, answer)
            return Reached(is_reached=False)
        if way.proxy:
            self._done_by_proxy(f"By {answer.via}.")
        skew = skew_of(answer.date, self._clock.read().now)
        if answer.distrust is not None:
            self._distrusted(way, answer, skew)
            return Reached(is_reached=False, skew=skew)
        chain = certificates.read_all(answer.chain)
        issuer = f", issued by {quoted(chain[0].issuer)}" if chain else ""
        self._ok("sts-tls", f"The certificate is trusted{issuer}.")
        return Reached(is_reached=True, skew=skew)

    def _unanswered(self, way: NetworkPath, silence: Silence) -> None:
        tls_remedy = "Look at what answers there: is it STS, and does it speak TLS 1.2 or 1.3?"
        if not way.proxy:
            self._failed("sts-tls", f"{way.url}: {silence.found}.", tls_remedy)
            return
        said = f"{way.url}: {silence.found}."
        if "Tunnel connection failed" not in silence.found:
            self._done_by_proxy("The proxy opens the way.")
            self._failed("sts-tls", said, tls_remedy)
        elif "407" in silence.found:
            remedy = "The proxy wants a user: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT, from a Secret."
            self._failed("sts-proxy", said, remedy)
        elif not self._is_known:
            self._misspelled("sts-proxy", said)
        else:
            remedy = "Let the proxy allow CONNECT to that host at port 443, or add the host to NO_PROXY."
            self._failed("sts-proxy", said, remedy)

    def _done_by_proxy(self, found: str) -> None:
        self._ok("sts-proxy", found)
        for check in ("sts-name", "sts-connection"):
            self._ok(check, "The proxy does that.")

    def _distrusted(self, way: NetworkPath, answer: Answer, skew: timedelta | None) -> None:
        assert answer.distrust is not None
        chain = certificates.read_all(answer.chain)
        shown = f"{quoted(chain[0].subject)}, issued by {quoted(chain[0].issuer)}" if chain else "what cannot be read"
        said = f"The certificate of {way.url} is not trusted ({quoted(answer.distrust.verify_message)}): {shown}."
        if answer.distrust.verify_code in _CERTIFICATE_DATES and self._is_valid_there(chain, skew):
            self._sheet.follows("sts-tls", said, "clock", of=self._of)
        elif self._spec.ca_bundle:
            remedy = f"Add the CA that issued it to {self._spec.ca_bundle} (AWS_CA_BUNDLE), or unset that."
            self._failed("sts-tls", said, remedy)
        else:
            remedy = "If that is a proxy or firewall of yours, put its CA into a file and set AWS_CA_BUNDLE to it."
            self._failed("sts-tls", said, f"{remedy} If not, somebody listens in.")

    def _is_valid_there(self, chain: list[Certificate], skew: timedelta | None) -> bool:
        """Say whether the certificates are valid by a server's clock that is far from ours."""
        if skew is None or abs(skew) <= SKEW_MAXIMUM:
            return False
        now = self._clock.read().now + skew
        return all(each.not_before <= now <= each.not_after for each in chain)

    def _http(self, way: NetworkPath, address: SplitResult) -> Reached:
        host = address.hostname or ""
        to = urlsplit(way.proxy) if way.proxy else address
        if way.proxy:
            self._done_by_proxy(f"By the proxy {to.hostname}:{to.port or 80} (HTTP_PROXY).")
        connection = http.client.HTTPConnection(to.hostname or "", to.port or 80, timeout=STEP_SECONDS)
        try:
            connection.request("GET", f"{way.url}/" if way.proxy else "/")
            date = connection.getresponse().headers.get("Date", "")
        except (OSError, http.client.HTTPException) as error:
            said = f"{host} gives no HTTP answer: {quoted(str(error) or type(error).__name__)}."
            self._failed("sts-tls", said, "AWS_ENDPOINT_URL_STS begins with http://: is it https?")
            return Reached(is_reached=False)
        finally:
            connection.close()
        if host in _LOOPBACK:
            self._ok("sts-tls", "No TLS, and none needed on loopback.")
        else:
            said = f"http://{host}: token and credentials go over the network for all to read."
            self._sheet.warning("sts-tls", said, "Write https:// in AWS_ENDPOINT_URL_STS.", of=self._of)
        return Reached(is_reached=True, skew=skew_of(date, self._clock.read().now))

    def _ok(self, check: str, found: str) -> None:
        self._sheet.ok(check, found, of=self._of)

    def _failed(self, check: str, found: str, remedy: str) -> None:
        self._sheet.failed(check, found, remedy, of=self._of)

    def _label(self, check: str) -> str:
        return f"{check} ({self._of})" if self._of else check

    def _rest_not_checked(self) -> None:
        rest = [check for check in STEPS if self._sheet.find(check, self._of) is None]
        cause = self._sheet.first_failed(STEPS, self._of)
        if cause is not None:
            self._sheet.not_checked(rest, "", because=cause.label, of=self._of)


def cause_in(sheet: Report, of: str) -> str:
    """Return the label of what is in the way, "" for nothing."""
    lines = (line for step in STEPS if (line := sheet.find(step, of, Outcome.FAILED, Outcome.FOLLOWS)))
    line = next(lines, None)
    return line.because or line.label if line else ""
