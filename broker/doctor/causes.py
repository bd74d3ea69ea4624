"""Which of the things that `sts-broker doctor` found is the cause, once STS has had its say. Pure.

Rules: what STS took is not wrong, whatever it looked like from here: it becomes a warning. What STS refused is put down
to what was found to be wrong before it, where that explains the refusal; otherwise the refusal is the cause itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from broker.core.errors import ExchangeUnavailable, RoleDenied, SourceRejected, TokenRejected
from broker.doctor.checks import Outcome, causes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broker.doctor.checks import Line, Sheet

_OF_ISSUER: Final = ("issuer", "issuer-documents", "issuer-keys", "signature")
_NO_PROVIDER: Final = "No OpenIDConnect provider"
_OF_THE_PROVIDER: Final = (_NO_PROVIDER, "Incorrect token audience")
_OF_TIME: Final = ("ExpiredToken", "Token expired", "not valid yet")
_EXPOSED: Final = "PRIVATE KEY"
"""That is a fault whatever STS says."""
_DISTRUSTED: Final = ("certificate is not trusted", "certificate is self-signed")
"""`issuer_check`'s words for certificates of a CA that is not known."""
_UNREACHED: Final = "IDPCommunicationError"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why STS gave no credentials: the reason's word, and what was said."""

    reason: str
    said: str

    @property
    def is_of_issuer(self) -> bool:
        """Whether STS could not verify the token, for what the issuer publishes or fails to."""
        if self.reason == ExchangeUnavailable.reason:
            return _UNREACHED in self.said
        others = (*_OF_THE_PROVIDER, *_OF_TIME)
        return self.reason == TokenRejected.reason and not any(part in self.said for part in others)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenGroup:
    """Profiles that one token is sent for, by their labels: their roles' accounts, who was refused, who served.

    `of` is the label of the token's own lines.
    """

    of: str
    accounts: Mapping[str, str]
    refusals: Mapping[str, Refusal]
    served: frozenset[str]


def settle(sheet: Sheet, groups: Sequence[TokenGroup], refusals: Mapping[str, Refusal]) -> None:
    """Give each fault its place: a cause, or what follows from one. `refusals` are all, of chained roles too."""
    for group in groups:
        _settle_certificate(sheet, group)
        _settle_issuer(sheet, group)
        _settle_trust(sheet, group)
        _settle_repeated(sheet, group)
    clock = sheet.find("clock", "", Outcome.FAILED)
    if clock is not None:
        _settle_clock(sheet, clock, refusals)


def _settle_certificate(sheet: Sheet, group: TokenGroup) -> None:
    """Put an issuer's certificate that is not trusted here down to what is between us and STS as well."""
    line = sheet.find("issuer-documents", group.of, Outcome.FAILED)
    between = next((each for each in causes(sheet.lines) if each.check == "sts-tls"), None)
    if line is not None and between is not None and any(part in line.found for part in _DISTRUSTED):
        sheet.change(line, Outcome.FOLLOWS, because=between.label)


def _settle_issuer(sheet: Sheet, group: TokenGroup) -> None:
    failed = [line for check in _OF_ISSUER if (line := sheet.find(check, group.of, Outcome.FAILED))]
    if not failed:
        return
    if group.served or any(refusal.reason == RoleDenied.reason for refusal in group.refusals.values()):
        for line in failed:
            if _EXPOSED in line.found:
                continue
            found = f"{line.found} STS takes the token all the same; it keeps keys for a while after it fetched them."
            sheet.change(line, Outcome.WARNING, found=found)
        return
    for of, refusal in group.refusals.items():
        is_unknown = failed[0].check == "issuer" and _NO_PROVIDER in refusal.said
        if refusal.is_of_issuer or is_unknown:
            _follow(sheet, "exchange", of, failed[0])


def _settle_trust(sheet: Sheet, group: TokenGroup) -> None:
    for of in group.accounts:
        line = sheet.find("trust-policy", of, Outcome.FAILED)
        if line is None:
            continue
        refusal = group.refusals.get(of)
        if of in group.served:
            found = f"{line.found} STS lets it in all the same: it does not go by this now."
            sheet.change(line, Outcome.WARNING, found=found)
        elif refusal is not None and refusal.reason == RoleDenied.reason:
            _follow(sheet, "exchange", of, line)


def _settle_repeated(sheet: Sheet, group: TokenGroup) -> None:
    """Tell what is wrong between a token and an account once, however many roles of it are asked for."""
    first: dict[tuple[str, str], Line] = {}
    for of, refusal in group.refusals.items():
        line = sheet.find("exchange", of, Outcome.FAILED)
        if line is not None and refusal.reason == TokenRejected.reason:
            known = first.setdefault((group.accounts[of], refusal.reason), line)
            if known is not line:
                sheet.change(line, Outcome.FOLLOWS, because=known.label)


def _settle_clock(sheet: Sheet, clock: Line, refusals: Mapping[str, Refusal]) -> None:
    for of, refusal in refusals.items():
        if refusal.reason == SourceRejected.reason or any(part in refusal.said for part in _OF_TIME):
            _follow(sheet, "exchange", of, clock)
    for line in sheet.lines:
        if line.check == "identity" and line.outcome is Outcome.FAILED:
            sheet.change(line, Outcome.FOLLOWS, because=clock.label)


def _follow(sheet: Sheet, check: str, of: str, cause: Line) -> None:
    line = sheet.find(check, of, Outcome.FAILED)
    if line is not None:
        sheet.change(line, Outcome.FOLLOWS, because=cause.label)
