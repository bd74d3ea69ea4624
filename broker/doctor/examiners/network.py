"""`sts-broker doctor` on the network path to STS, step by step: Region, proxy, DNS, connection, TLS, and STS's clock.

The path is the one that the broker's own client takes, as botocore reports it. Each step is bounded in time. The first
step that fails is the cause, and later ones are not tried. A proxy's password is never printed. If the certificate
cannot be verified, only the Date header is used, to tell a wrong clock from a bad certificate.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urlsplit

from broker.core.findings import quoted
from broker.doctor.checks import Outcome
from broker.doctor.examiners.connection_steps import STEP_SECONDS, connect, describe_error, run_bounded
from broker.doctor.examiners.node_clock import SKEW_MAXIMUM, skew_of
from broker.net.http_messages import Failure, NoAnswer, Request
from broker.net.https_client import fetch
from broker.net.routes import Route
from broker.sts.connection_faults import PROXY_URL_REMEDY, explain_certificate, explain_failure

if TYPE_CHECKING:
    from datetime import timedelta

    from broker.core.clock import Clock
    from broker.core.model import StsSpec
    from broker.doctor.checks import Report
    from broker.doctor.environment import Resolve
    from broker.net.http_messages import Answer, CertificateFault, TlsSession
    from broker.sts.network_path import NetworkPath

STEPS: Final = ("region", "sts-proxy", "sts-name", "sts-connection", "sts-tls")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """The result for one Region. `is_reached`: STS answers. `skew`: its clock minus this node's; None if unknown."""

    is_reached: bool
    skew: timedelta | None = None


class PathToSts:
    """Checks the network path to the STS endpoint of one Region. `of` is the label of its results."""

    def __init__(  # noqa: PLR0913 - the path, and what it is checked with
        self, path: NetworkPath, spec: StsSpec, region: str, report: Report, clock: Clock, *, resolve: Resolve, of: str
    ) -> None:
        self._path = path
        self._spec = spec
        self._region = region
        self._report = report
        self._clock = clock
        self._resolve = resolve
        self._of = of

    def examine(self) -> Reached:
        """Check each step, and add its result to the report."""
        self._report.announce(f"the network path to STS in {self._region}")
        path, address, reached = self._path, urlsplit(self._path.url), Reached(is_reached=False)
        if self._is_region_certain:
            self._ok("region", f"{self._region}: {path.url}")
        if self._examine_proxy(path) if path.proxy else self._examine_connection(path, address):
            reached = self._examine_https(path) if address.scheme == "https" else self._examine_http(path, address)
        if self._report.find("region", self._of) is None:
            self._ok("region", f"{self._region}, which this release does not know: {path.url}")
        self._skip_remaining_steps()
        return reached

    @property
    def _is_region_certain(self) -> bool:
        """Whether botocore knows the Region, or the endpoint does not depend on it."""
        return self._region in self._path.regions or bool(self._spec.endpoint_url)

    def _examine_proxy(self, path: NetworkPath) -> bool:
        """Check the proxy, which does the later steps itself. Return whether a connection to it can be opened."""
        proxy = urlsplit(path.proxy)
        try:
            host, port = proxy.hostname or "", proxy.port or 80
        except ValueError:
            host, port = "", 0
        if proxy.scheme != "http" or not host:
            self._failed("sts-proxy", "HTTPS_PROXY is not an http:// URL.", PROXY_URL_REMEDY)
            return False
        name = f"{quoted(host)}:{port} (HTTPS_PROXY)"
        remedy = "Check HTTPS_PROXY and the NetworkPolicy. If no proxy is needed, add STS's host to NO_PROXY."
        try:
            addresses = run_bounded(lambda: self._resolve(host, port))
            run_bounded(lambda: connect(addresses, port))
        except OSError as error:
            self._failed("sts-proxy", f"The proxy {name} cannot be reached: {describe_error(error)}.", remedy)
            return False
        return True

    def _examine_connection(self, path: NetworkPath, address: SplitResult) -> bool:
        """Resolve the name and connect, without a proxy. Return whether a connection can be opened."""
        self._ok("sts-proxy", "No proxy is used.")
        host = address.hostname or ""
        port = address.port or (443 if address.scheme == "https" else 80)
        try:
            addresses = run_bounded(lambda: self._resolve(host, port))
        except OSError as error:
            self._explain_resolution(host, error)
            return False
        self._ok("sts-name", f"{host} resolves to {', '.join(addresses[:4])}.")
        try:
            run_bounded(lambda: connect(addresses, port))
        except OSError as error:
            remedy = "Allow the pod to reach it: NetworkPolicy, firewall, route, security group of a VPC endpoint."
            remedy = f"{remedy} If a proxy is required, set HTTPS_PROXY."
            if self._spec.endpoint_url:
                remedy = f"Check AWS_ENDPOINT_URL_STS ({path.url}). {remedy}"
            self._failed("sts-connection", f"No connection to {host}, port {port}: {describe_error(error)}.", remedy)
            return False
        self._ok("sts-connection", f"{host} accepts connections at port {port}.")
        return True

    def _explain_resolution(self, host: str, error: OSError) -> None:
        """Add the failure for a name that cannot be resolved."""
        if isinstance(error, TimeoutError) or error.args[:1] == (socket.EAI_AGAIN,):
            remedy = "No DNS server answers: allow port 53 (UDP, TCP) in the NetworkPolicy, and check /etc/resolv.conf."
            self._failed("sts-name", f"{host} cannot be resolved: {describe_error(error)}.", remedy)
        elif self._spec.endpoint_url:
            found = f"{host} does not exist: {describe_error(error)}."
            self._failed("sts-name", found, "Check AWS_ENDPOINT_URL_STS.")
        elif not self._is_region_certain:
            self._blame_region("sts-name", f"{host} does not exist.")
        elif self._spec.use_fips or self._spec.use_dualstack:
            names = {
                "AWS_USE_FIPS_ENDPOINT": self._spec.use_fips,
                "AWS_USE_DUALSTACK_ENDPOINT": self._spec.use_dualstack,
            }
            set_ones = " and ".join(name for name, is_set in names.items() if is_set)
            remedy = f"Unset {set_ones}, or use a Region that has this endpoint."
            found = f"{host} does not exist: not every Region has FIPS or dual-stack endpoints."
            self._failed("sts-name", found, remedy)
        else:
            remedy = "Check the pod's DNS (dnsPolicy, CoreDNS), and the private DNS of a VPC endpoint."
            self._failed("sts-name", f"{host} does not exist: {describe_error(error)}.", remedy)

    def _blame_region(self, check: str, found: str) -> None:
        """Add the unknown Region as the cause of a step that failed."""
        import difflib  # noqa: PLC0415 - only for a misspelled Region

        same_letters = [name for name in sorted(self._path.regions) if sorted(name) == sorted(self._region)]
        nearest = same_letters or difflib.get_close_matches(self._region, self._path.regions, n=1)
        did_you_mean = f" (did you mean {nearest[0]}?)" if nearest else ""
        self._failed("region", f"Region {self._region} does not exist{did_you_mean}.", "Set region (AWS_REGION).")
        self._report.follows(check, found, self._label("region"), of=self._of)

    def _fetch(self, path: NetworkPath) -> Answer | NoAnswer:
        route = Route(
            timeout_seconds=STEP_SECONDS,
            ca_bundle=path.ca_file,
            environ={"https_proxy": path.proxy} if path.proxy else {},
            allows_http=True,
            reads_unverified=True,
        )
        return fetch(Request(url=f"{path.url}/"), route)

    def _examine_https(self, path: NetworkPath) -> Reached:
        answer = self._fetch(path)
        if isinstance(answer, NoAnswer):
            self._explain_failure(path, answer)
            return Reached(is_reached=False)
        if path.proxy:
            self._pass_proxied_steps(f"STS was reached by {answer.via}.")
        assert answer.tls is not None
        skew = skew_of(answer.date, self._clock.read().now)
        if answer.tls.fault is not None:
            self._explain_distrust(path, answer.tls, answer.tls.fault, skew)
            return Reached(is_reached=False, skew=skew)
        certificate = answer.tls.certificate
        issuer = f", issued by {quoted(certificate.issuer)}" if certificate else ""
        self._ok("sts-tls", f"The certificate is trusted{issuer}.")
        return Reached(is_reached=True, skew=skew)

    def _explain_failure(self, path: NetworkPath, failure: NoAnswer) -> None:
        """Add the failure for an HTTPS request without an answer."""
        explanation = explain_failure(failure, path.url, self._spec)
        if failure.failure is not Failure.PROXY:
            if path.proxy:
                self._pass_proxied_steps("The proxy opened a tunnel.")
            self._failed("sts-tls", explanation.found, explanation.remedy)
        elif failure.status != HTTPStatus.PROXY_AUTHENTICATION_REQUIRED and not self._is_region_certain:
            self._blame_region("sts-proxy", explanation.found)
        else:
            self._failed("sts-proxy", explanation.found, explanation.remedy)

    def _pass_proxied_steps(self, found: str) -> None:
        """Add OK for the proxy and for the steps that it does itself."""
        self._ok("sts-proxy", found)
        for check in ("sts-name", "sts-connection"):
            self._ok(check, "The proxy does this step.")

    def _explain_distrust(
        self, path: NetworkPath, session: TlsSession, fault: CertificateFault, skew: timedelta | None
    ) -> None:
        """Add the failure for a certificate that could not be verified, or its consequence from a wrong clock.

        Its names are known only if its dates or its host alone are wrong: ssl decodes no certificate that it does not
        trust.
        """
        explanation = explain_certificate(fault, path.url, self._spec, session.certificate)
        is_clock_wrong = skew is not None and abs(skew) > SKEW_MAXIMUM
        if skew is not None and is_clock_wrong and session.is_valid_at(self._clock.read().now + skew):
            self._report.follows("sts-tls", explanation.found, "clock", of=self._of)
        else:
            self._failed("sts-tls", explanation.found, explanation.remedy)

    def _examine_http(self, path: NetworkPath, address: SplitResult) -> Reached:
        """Check the HTTP answer of an endpoint on loopback. The settings allow plain HTTP nowhere else."""
        answer = self._fetch(path)
        if isinstance(answer, NoAnswer):
            found = f"No HTTP answer from {address.hostname}: {answer.found}."
            self._failed(
                "sts-tls", found, "AWS_ENDPOINT_URL_STS begins with http://; check whether it must be https://."
            )
            return Reached(is_reached=False)
        self._ok("sts-tls", "No TLS, which is not needed on loopback.")
        return Reached(is_reached=True, skew=skew_of(answer.date, self._clock.read().now))

    def _ok(self, check: str, found: str) -> None:
        self._report.ok(check, found, of=self._of)

    def _failed(self, check: str, found: str, remedy: str) -> None:
        self._report.failed(check, found, remedy, of=self._of)

    def _label(self, check: str) -> str:
        return f"{check} ({self._of})" if self._of else check

    def _skip_remaining_steps(self) -> None:
        """Add the steps after a failure as not checked."""
        rest = [check for check in STEPS if self._report.find(check, self._of) is None]
        cause = self._report.first_failed(STEPS, self._of)
        if cause is not None:
            self._report.not_checked(rest, "", because=cause.label, of=self._of)


def find_cause(report: Report, of: str) -> str:
    """Return the label of what prevents calls to STS, "" if nothing does."""
    failed = (each for step in STEPS if (each := report.find(step, of, Outcome.FAILED, Outcome.FOLLOWS)))
    first = next(failed, None)
    return first.because or first.label if first else ""
