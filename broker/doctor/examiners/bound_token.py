"""`sts-broker doctor` on the bound token: the file, how it is mounted, who may read it, its claims and its times.

Rules: what makes the token unfit is told in the words of `token_source`; times are judged by STS's clock where that is
known, so that a clock that is off is not told as a token that is. Whether another container mounts the same volume
cannot be seen from this one. Never quotes the token.
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
from broker.doctor.checks import Outcome
from broker.doctor.examiners.mounts import is_mounted_alone
from broker.tokens.token_file import find_unfitness, read_token_text
from broker.tokens.token_report import read_token, rotates_at

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from broker.core.model import BoundToken
    from broker.doctor.checks import Sheet

STANDARD_INPUT: Final = "-"
OF_TOKEN: Final = ("token-mount", "token-secrecy", "audience", "subject", "token-life")
_API_TOKENS: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
_API_AUDIENCES: Final = re.compile(r"https://kubernetes\.default\.svc|.*\.eks\.amazonaws\.com/id/|openshift$")
_SUBJECT: Final = re.compile(r"system:serviceaccount:([a-z0-9-]+):([a-z0-9.-]+)")
_OWN_VOLUME: Final = (
    "Mount a volume of its own: projected, source serviceAccountToken, as a directory, into the broker only."
)
_HAND_IT_IN: Final = "Give --token a file with a token of the pod's volume, or - and the token on standard input."
_CLOCK_MARGIN: Final = timedelta(seconds=60)
_KUBELET_MARGIN: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPlace:
    """Where a token is. `is_copy`: somebody brought it along, so how it is mounted says nothing.

    `ask`, where there is one, gives a token of the Kubernetes API, and the path says nothing.
    """

    path: str
    audience: str
    publish_directory: str
    is_copy: bool = False
    of: str = ""
    ask: Callable[[str], BoundToken] | None = None

    @property
    def origin(self) -> str:
        """What names it in a sentence."""
        if self.ask is not None:
            return "the Kubernetes API"
        return "standard input" if self.path == STANDARD_INPUT else self.path


def examine_file(place: TokenPlace, sheet: Sheet, proc: str) -> BoundToken | None:
    """Look at the file and its mount. Return the token in it, fit or not; None where there is none."""
    try:
        token = read_token(place.path) if place.ask is None else place.ask(place.audience)
    except TokenError as error:
        remedy = (
            _HAND_IT_IN if place.is_copy else ("" if place.ask else _special_remedy(place.path, error)) or error.remedy
        )
        sheet.failed("token-file", error.message, remedy, of=place.of)
        sheet.not_checked(OF_TOKEN, "", because=_label("token-file", place), of=place.of)
        return None
    sheet.ok("token-file", f"Token {token.fingerprint}, from {place.origin}.", of=place.of)
    if place.ask is not None:
        found = "There is no file: tokens are asked of the Kubernetes API."
        sheet.not_checked(("token-mount", "token-secrecy"), found, of=place.of)
    elif place.is_copy:
        found = "The token was handed in: how the pod mounts its own is not seen here."
        sheet.not_checked(("token-mount", "token-secrecy"), found, of=place.of)
    else:
        _examine_mount(place, sheet, proc)
        _examine_secrecy(place, sheet, proc)
    return token


def _special_remedy(path: str, error: TokenError) -> str:
    """Return what to do where more can be told than the error knows."""
    if os.path.isdir(path):  # noqa: PTH112 - paths are text here
        return f"That is a directory: set AWS_WEB_IDENTITY_TOKEN_FILE to the file in it, {path.rstrip('/')}/token."
    if isinstance(error, TokenMalformed) and path != STANDARD_INPUT:
        try:
            claims = jwt.decode(read_token_text(path), options={"verify_signature": False})
        except (TokenError, jwt.PyJWTError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
            return ""
        if isinstance(claims, dict) and "exp" not in claims:
            return f"It has no exp: a token of a Secret, which STS takes for none. {_OWN_VOLUME}"
    return ""


def _examine_mount(place: TokenPlace, sheet: Sheet, proc: str) -> None:
    path, remedy = place.path, f"{_OWN_VOLUME} Never by subPath."
    if is_mounted_alone(path, proc):
        said = f"{path} is mounted by itself (subPath): the kubelet never replaces it there."
        sheet.failed("token-mount", said, remedy, of=place.of)
    elif _is_kept_by_kubelet(path):
        sheet.ok("token-mount", f"{os.path.dirname(path)} is a volume that the kubelet keeps.", of=place.of)  # noqa: PTH120 - likewise
    else:
        said = f"{path} is a plain file, in no volume that the kubelet keeps: who replaces it before it expires?"
        sheet.warning("token-mount", said, remedy, of=place.of)


def _is_kept_by_kubelet(path: str) -> bool:
    """Say whether the file is where AtomicWriter puts it (k8s atomic_writer.go): a link into `..data`, itself one."""
    data = os.path.join(os.path.dirname(path), "..data")  # noqa: PTH118, PTH120 - likewise
    return os.path.islink(path) and os.path.islink(data)  # noqa: PTH114 - likewise


def _examine_secrecy(place: TokenPlace, sheet: Sheet, proc: str) -> None:
    path, directory = place.path, os.path.realpath(place.publish_directory)
    if os.path.realpath(path).startswith(f"{directory}/") or path.startswith(f"{place.publish_directory}/"):
        said = f"The token is in the publish directory {place.publish_directory}, which the app mounts."
        sheet.failed("token-secrecy", said, _OWN_VOLUME, of=place.of)
    elif path.startswith(EKS_TOKEN_DIRECTORY):
        said = f"{path} is the mount of EKS's webhook, which every container of the pod gets."
        remedy = "Annotate the pod with eks.amazonaws.com/skip-containers, and mount a token into the broker by hand."
        sheet.warning("token-secrecy", said, remedy, of=place.of)
    elif _first_process(proc) == "pause":
        said = "The pod shares its processes: whoever runs as the broker's user reads its files through /proc."
        sheet.warning("token-secrecy", said, "Set shareProcessNamespace: false, or another runAsUser.", of=place.of)
    else:
        said = "Nothing here gives it away; no other container may mount its volume, which cannot be seen from here."
        sheet.ok("token-secrecy", said, of=place.of)


def _first_process(proc: str) -> str:
    try:
        with open(f"{proc}/1/comm", encoding="utf-8") as file:  # noqa: PTH123 - one way to read in this package
            return file.read().strip()
    except OSError:
        return ""


def examine_claims(token: BoundToken, place: TokenPlace, sheet: Sheet, now: datetime) -> bool:
    """Look at audience, subject and times; `now` by STS's clock. Return whether the token may be sent."""
    _examine_audience(token, place, sheet, now)
    _examine_subject(token, place, sheet)
    _examine_life(token, place, sheet, now)
    return find_unfitness(token, audience=place.audience, now=now, origin="") is None and not _is_early(token, now)


def _examine_audience(token: BoundToken, place: TokenPlace, sheet: Sheet, now: datetime) -> None:
    audiences = token.claims.audiences
    if place.audience in audiences:
        sheet.ok("audience", quoted(", ".join(audiences)), of=place.of)
        return
    fault = find_unfitness(token, audience=place.audience, now=now, origin=place.origin)
    assert fault is not None
    remedy = fault.remedy
    if place.path.startswith(_API_TOKENS) or any(_API_AUDIENCES.match(audience) for audience in audiences):
        remedy = f"That is the token for the Kubernetes API. {_OWN_VOLUME} With audience: {place.audience}."
    sheet.failed("audience", quoted(fault.message), remedy, of=place.of)


def _examine_subject(token: BoundToken, place: TokenPlace, sheet: Sheet) -> None:
    claims = token.claims
    named = _SUBJECT.fullmatch(claims.subject)
    if named is None:
        said = f"{quoted(claims.subject)} is no service account of Kubernetes."
        sheet.warning("subject", said, "Is this the token of the pod? Trust policies here expect one.", of=place.of)
    elif (named[1], named[2]) != (claims.namespace or named[1], claims.service_account or named[2]):
        said = f"{claims.subject}, and kubernetes.io says {quoted(f'{claims.namespace}/{claims.service_account}')}."
        sheet.warning("subject", said, "Look at what makes this token: Kubernetes writes both alike.", of=place.of)
    else:
        sheet.ok("subject", claims.subject, of=place.of)


def _examine_life(token: BoundToken, place: TokenPlace, sheet: Sheet, now: datetime) -> None:
    claims, mount = token.claims, sheet.find("token-mount", place.of, Outcome.WARNING, Outcome.FAILED)
    life = f"It runs to {timestamp(claims.expires_at)}"
    if claims.expires_at <= now:
        said = f"The token expired at {timestamp(claims.expires_at)}, {_span(now - claims.expires_at)} ago."
        if mount is not None:
            sheet.change(mount, Outcome.FAILED, found=f"{mount.found} It has expired.")
            sheet.follows("token-life", said, mount.label, of=place.of)
            return
        remedy = "The kubelet should have rotated it: look at its log, and at the API server's."
        remedy = "Take the one that the pod has now." if place.is_copy else remedy
        sheet.failed("token-life", said, remedy, of=place.of)
    elif _is_early(token, now) and claims.not_before is not None:
        said = f"The token is not valid before {timestamp(claims.not_before)}, in {_span(claims.not_before - now)}."
        remedy = "Look at the clock of the API server, or of who signs tokens in its place."
        sheet.failed("token-life", said, remedy, of=place.of)
    elif claims.issued_at is not None and claims.issued_at > now + _CLOCK_MARGIN:
        said = f"The token was issued {_span(claims.issued_at - now)} from now."
        sheet.warning("token-life", said, "Look at the clock of the API server.", of=place.of)
    elif _is_overdue(token, now) and not (place.is_copy or place.ask):
        said = f"{life}, and should have been rotated at {timestamp(rotates_at(token) or now)}."
        if mount is not None:
            sheet.follows("token-life", said, mount.label, of=place.of)
            return
        sheet.warning(
            "token-life", said, "Look at the kubelet's log: it asks the API server for new ones.", of=place.of
        )
    else:
        sheet.ok("token-life", f"{life}, in {_span(claims.expires_at - now)}.", of=place.of)


def _is_early(token: BoundToken, now: datetime) -> bool:
    return token.claims.not_before is not None and token.claims.not_before > now + _CLOCK_MARGIN


def _is_overdue(token: BoundToken, now: datetime) -> bool:
    """Say whether the kubelet is late: past the share of `RefreshPolicy`, or by an hour."""
    claims = token.claims
    due = rotates_at(token)
    if claims.issued_at is None or due is None:
        return False
    share = (claims.expires_at - claims.issued_at) * RefreshPolicy().rotation_overdue_share
    return now > min(claims.issued_at + share, due + _KUBELET_MARGIN)


def _span(duration: timedelta) -> str:
    seconds = int(duration.total_seconds())
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"  # noqa: PLR2004 - two minutes


def _label(check: str, place: TokenPlace) -> str:
    return f"{check} ({place.of})" if place.of else check
