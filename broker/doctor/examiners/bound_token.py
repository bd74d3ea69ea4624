"""Examine the bound token: the file, its mount, who can read it, its claims and its times.

A token that is unfit is described in the words of `broker.tokens.token_file`. Its times are judged by the clock of STS
if that is known, so that a wrong node clock is not mistaken for a bad token. Whether another container mounts the same
volume can't be seen from here. The token itself is never printed.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import jwt

from broker.core.errors import TokenError, TokenMalformed
from broker.core.findings import quoted
from broker.core.rival_variables import EKS_TOKEN_DIRECTORY
from broker.core.schedule import RefreshPolicy
from broker.core.timestamps import timestamp
from broker.core.token_issuers import IssuerKind, describe_renewal, find_kind, is_rotated_by_kubelet
from broker.doctor.checks import Outcome, label
from broker.doctor.examiners.mounts import is_mounted_alone
from broker.tokens.token_file import CLOCK_TOLERANCE, find_unfitness, is_not_yet_valid, read_token_text
from broker.tokens.token_report import read_token, rotates_at

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from broker.core.model import BoundToken, ProfileSpec
    from broker.doctor.checks import Report

STANDARD_INPUT: Final = "-"
TOKEN_CHECKS: Final = ("token-mount", "token-secrecy", "audience", "subject", "token-life")
_API_TOKENS: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
_API_AUDIENCES: Final = re.compile(r"https://kubernetes\.default\.svc|.*\.eks\.amazonaws\.com/id/|openshift$")
_SUBJECT: Final = re.compile(r"system:serviceaccount:([a-z0-9-]+):([a-z0-9.-]+)")
_OWN_VOLUME: Final = (
    "Mount a projected volume with a serviceAccountToken source, as a directory, into the broker's container only."
)
_OWNERS: Final = {
    IssuerKind.GITHUB: "a job of GitHub Actions",
    IssuerKind.GITLAB: "a job of GitLab CI/CD",
    IssuerKind.SPIFFE: "a SPIFFE ID",
}
_WRITERS: Final = {
    IssuerKind.GITHUB: "A step of the job has to do that (docs/other-issuers.md).",
    IssuerKind.GITLAB: "GitLab doesn't do that: the token lasts as long as the job's timeout.",
    IssuerKind.SPIFFE: "spiffe-helper does that if daemon_mode is true.",
    IssuerKind.OTHER: "Whatever wrote the file has to do that.",
}
_COPY_REMEDY: Final = "Give --token a file that holds a token of the pod, or - and the token on standard input."
_KUBELET_MARGIN: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLocation:
    """Where a token comes from.

    `is_copy`: it was given with --token, so nothing is known about its mount. `of` identifies the token's results.
    `request_token`, if set, requests a token for an audience from the Kubernetes API, and `path` is ignored.
    """

    path: str
    audience: str
    publish_directory: str
    is_copy: bool = False
    of: str = ""
    request_token: Callable[[str], BoundToken] | None = None

    @property
    def origin(self) -> str:
        """The name of this location in a sentence."""
        if self.request_token is not None:
            return "the Kubernetes API"
        return "standard input" if self.path == STANDARD_INPUT else self.path


@dataclass(slots=True, kw_only=True)
class SharedToken:
    """A token and the profiles that send it.

    `value` None: there is no token. `blocked_by`: the label of the result that explains why it can't be sent, or "".
    """

    location: TokenLocation
    profiles: list[ProfileSpec]
    value: BoundToken | None = None
    blocked_by: str = ""


def examine_file(location: TokenLocation, report: Report, proc: str) -> BoundToken | None:
    """Examine the file and its mount. Return the token in it, fit or not; None if there is none."""
    try:
        if location.request_token is None:
            token = read_token(location.path, is_given=location.is_copy)
        else:
            token = location.request_token(location.audience)
    except TokenError as error:
        report.failed("token-file", error.message, _find_remedy(location, error), of=location.of, reason=error.reason)
        report.not_checked(TOKEN_CHECKS, "", because=label("token-file", location.of), of=location.of)
        return None
    report.ok("token-file", f"Token {token.fingerprint}, from {location.origin}.", of=location.of)
    if location.request_token is not None:
        found = "There is no token file: the broker requests tokens from the Kubernetes API."
        report.not_checked(("token-mount", "token-secrecy"), found, of=location.of)
    elif location.is_copy:
        found = "The token was given with --token, so the pod's own mount is not known."
        report.not_checked(("token-mount", "token-secrecy"), found, of=location.of)
    else:
        _examine_mount(token, location, report, proc)
        _examine_secrecy(location, report, proc)
    return token


def _find_remedy(location: TokenLocation, error: TokenError) -> str:
    """Return what to do, more specific than the error's own remedy where the doctor knows more."""
    if location.is_copy:
        return _COPY_REMEDY
    path = location.path
    if location.request_token is not None or path == STANDARD_INPUT:
        return error.remedy
    if os.path.isdir(path):  # noqa: PTH112 - paths are text here
        return f"That is a directory: set AWS_WEB_IDENTITY_TOKEN_FILE to the file in it, {path.rstrip('/')}/token."
    if isinstance(error, TokenMalformed) and _lacks_expiry(path):
        return f"The token has no exp claim: it is a token of a Secret, which STS does not accept. {_OWN_VOLUME}"
    return error.remedy


def _lacks_expiry(path: str) -> bool:
    try:
        claims = jwt.decode(read_token_text(path), options={"verify_signature": False})
    except (TokenError, jwt.PyJWTError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return False
    return isinstance(claims, dict) and "exp" not in claims


def _examine_mount(token: BoundToken, location: TokenLocation, report: Report, proc: str) -> None:
    path, remedy = location.path, f"{_OWN_VOLUME} Don't use subPath."
    is_alone = is_mounted_alone(path, proc)
    if not is_rotated_by_kubelet(token.claims):
        if is_alone:
            found = f"{path} is mounted by itself: a token that replaces it is never seen here."
            remedy = "Mount the directory of the token's file, not the file."
            report.failed("token-mount", found, remedy, of=location.of)
        else:
            found = f"{path} must be replaced before its token expires. {_WRITERS[find_kind(token.claims)]}"
            report.ok("token-mount", found, of=location.of)
    elif is_alone:
        found = f"{path} is mounted by itself (subPath): the kubelet never replaces it there."
        report.failed("token-mount", found, remedy, of=location.of)
    elif _is_kept_by_kubelet(path):
        found = f"The kubelet keeps the volume at {os.path.dirname(path)} up to date."  # noqa: PTH120 - likewise
        report.ok("token-mount", found, of=location.of)
    else:
        found = f"{path} is a plain file, not in a volume that the kubelet updates: it may expire without a successor."
        report.warning("token-mount", found, remedy, of=location.of)


def _is_kept_by_kubelet(path: str) -> bool:
    """Return whether the kubelet's AtomicWriter wrote the file: a link into `..data`, itself a link."""
    data = os.path.join(os.path.dirname(path), "..data")  # noqa: PTH118, PTH120 - likewise
    return os.path.islink(path) and os.path.islink(data)  # noqa: PTH114 - likewise


def _examine_secrecy(location: TokenLocation, report: Report, proc: str) -> None:
    path, directory = location.path, os.path.realpath(location.publish_directory)
    if os.path.realpath(path).startswith(f"{directory}/") or path.startswith(f"{location.publish_directory}/"):
        found = f"The token is in the publish directory {location.publish_directory}, which the app mounts."
        report.failed("token-secrecy", found, _OWN_VOLUME, of=location.of)
    elif path.startswith(EKS_TOKEN_DIRECTORY):
        found = f"{path} is on the volume of the EKS webhook, which every container of the pod gets."
        remedy = (
            "Annotate the pod with eks.amazonaws.com/skip-containers, and add a projected token volume to the manifest "
            "for the broker's container."
        )
        report.warning("token-secrecy", found, remedy, of=location.of)
    elif _read_first_process_name(proc) == "pause":
        found = (
            "The pod shares its process namespace: while the broker starts, its user's processes can read its token."
        )
        remedy = (
            "Set shareProcessNamespace: false, or give the app another runAsUser. If notify sends a signal, use url "
            "instead."
        )
        report.warning("token-secrecy", found, remedy, of=location.of)
    else:
        found = "Only the broker's container should mount the token's volume, which can't be seen from here."
        report.ok("token-secrecy", f"Nothing here exposes the token. {found}", of=location.of)


def _read_first_process_name(proc: str) -> str:
    try:
        with open(f"{proc}/1/comm", encoding="utf-8") as file:  # noqa: PTH123 - one way to read in this package
            return file.read().strip()
    except OSError:
        return ""


def examine_claims(token: BoundToken, location: TokenLocation, report: Report, now: datetime) -> bool:
    """Examine audience, subject and times; `now` is by the clock of STS. Return whether the token may be sent."""
    _examine_audience(token, location, report, now)
    _examine_subject(token, location, report)
    _examine_life(token, location, report, now)
    return find_unfitness(token, audience=location.audience, now=now, origin="") is None and not is_not_yet_valid(
        token, now
    )


def _examine_audience(token: BoundToken, location: TokenLocation, report: Report, now: datetime) -> None:
    audiences = token.claims.audiences
    if location.audience in audiences:
        report.ok("audience", quoted(", ".join(audiences)), of=location.of)
        return
    error = find_unfitness(token, audience=location.audience, now=now, origin=location.origin)
    assert error is not None
    remedy = error.remedy
    if location.path.startswith(_API_TOKENS) or any(_API_AUDIENCES.match(audience) for audience in audiences):
        remedy = f"This is the token for the Kubernetes API. {_OWN_VOLUME} Set its audience: {location.audience}."
    report.failed("audience", error.message, remedy, of=location.of, reason=error.reason)


def _examine_subject(token: BoundToken, location: TokenLocation, report: Report) -> None:
    claims = token.claims
    named, kind = _SUBJECT.fullmatch(claims.subject), find_kind(claims)
    if kind in _OWNERS:
        report.ok("subject", f"{quoted(claims.subject)}, {_OWNERS[kind]}.", of=location.of)
    elif named is None:
        found = f"The subject {quoted(claims.subject)} is not a Kubernetes service account."
        remedy = "Check that this is the pod's token: trust policies for pods expect a service account."
        report.warning("subject", found, remedy, of=location.of)
    elif (named[1], named[2]) != (claims.namespace or named[1], claims.service_account or named[2]):
        account = quoted(f"{claims.namespace}/{claims.service_account}")
        found = f"The subject is {claims.subject}, but the kubernetes.io claim names {account}."
        remedy = "Check what issued this token: Kubernetes writes the same service account into both."
        report.warning("subject", found, remedy, of=location.of)
    else:
        report.ok("subject", claims.subject, of=location.of)


def _examine_life(token: BoundToken, location: TokenLocation, report: Report, now: datetime) -> None:
    claims, mount = token.claims, report.find("token-mount", location.of, Outcome.WARNING, Outcome.FAILED)
    expiry = f"The token expires at {timestamp(claims.expires_at)}"
    if claims.expires_at <= now:
        found = f"The token expired at {timestamp(claims.expires_at)}, {_span(now - claims.expires_at)} ago."
        if mount is not None:
            report.change(mount, Outcome.FAILED, found=f"{mount.found} It has expired.")
            report.follows("token-life", found, mount.label, of=location.of)
            return
        remedy = "Give --token the token that the pod has now."
        if not location.is_copy:
            remedy = "Find out why the kubelet didn't rotate it: check the kubelet's log, and the API server's."
            if not is_rotated_by_kubelet(claims):
                remedy = describe_renewal(claims)
        report.failed("token-life", found, remedy, of=location.of)
    elif is_not_yet_valid(token, now) and claims.not_before is not None:
        start = f"{timestamp(claims.not_before)}, in {_span(claims.not_before - now)}"
        remedy = "Check the clock of the API server, or of whatever signs the tokens."
        found = f"The token is not valid before {start}."
        report.failed("token-life", found, remedy, of=location.of, reason="token_rejected")
    elif claims.issued_at is not None and claims.issued_at > now + CLOCK_TOLERANCE:
        found = f"The token's iat claim is {_span(claims.issued_at - now)} in the future."
        report.warning("token-life", found, "Check the clock of the API server.", of=location.of)
    elif _is_overdue(token, now) and not (location.is_copy or location.request_token):
        found = f"{expiry}, and should have been rotated at {timestamp(rotates_at(token) or now)}."
        if mount is not None:
            report.follows("token-life", found, mount.label, of=location.of)
            return
        remedy = "Check the kubelet's log: the kubelet requests new tokens from the API server."
        report.warning("token-life", found, remedy, of=location.of)
    else:
        report.ok("token-life", f"{expiry}, in {_span(claims.expires_at - now)}.", of=location.of)


def _is_overdue(token: BoundToken, now: datetime) -> bool:
    """Return whether the rotation is overdue: by the share of `RefreshPolicy`, or by an hour."""
    claims = token.claims
    due = rotates_at(token)
    if claims.issued_at is None or due is None:
        return False
    share = (claims.expires_at - claims.issued_at) * RefreshPolicy().rotation_overdue_share
    return now > min(claims.issued_at + share, due + _KUBELET_MARGIN)


def _span(duration: timedelta) -> str:
    seconds = int(duration.total_seconds())
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"  # noqa: PLR2004 - two minutes
