"""Render the results of `sts-broker doctor` as text for people, and as JSON.

Both end with, or contain, every cause in full: what failed, what was found, what to change. Text from tokens, servers
and files is made safe for a terminal, and anything that looks like a token is removed. Checks that did not run for the
same reason share a line of the text.
"""

from __future__ import annotations

import json
from itertools import groupby
from typing import TYPE_CHECKING, Final

from broker.core.model import printable, redacted
from broker.doctor.checks import Outcome, find_causes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from broker.doctor.checks import CheckResult

_OUTCOME_WIDTH = len(Outcome.NOT_CHECKED.value) + 1
_INCOMPLETE: Final = "incomplete"
_REASONS: Final = {
    "settings": "configuration",
    "token-file": "token_unavailable",
    "token-mount": "token_expired",
    "audience": "token_audience_mismatch",
    "token-life": "token_expired",
    "issuer": "token_rejected",
    "issuer-documents": "token_rejected",
    "issuer-keys": "token_rejected",
    "signature": "token_rejected",
    "trust-policy": "role_denied",
    "region": "exchange_unavailable",
    "sts-proxy": "exchange_unavailable",
    "sts-name": "exchange_unavailable",
    "sts-connection": "exchange_unavailable",
    "sts-tls": "exchange_unavailable",
    "publish-directory": "publish_failed",
}
"""The `reason` that the broker logs for the same failure, for checks that name none themselves."""
_HEADLINES: Final = {
    "settings": "The settings are not valid",
    "memory": "The container's memory is in use by another doctor",
    "token-file": "The broker has no usable token",
    "token-mount": "The token file is never replaced",
    "token-secrecy": "The app can read the token",
    "audience": "The token has the wrong audience",
    "clock": "The node's clock is wrong",
    "token-life": "The token is not valid now",
    "issuer": "AWS does not accept the token's issuer URL",
    "issuer-documents": "STS cannot use the issuer's documents",
    "issuer-keys": "STS cannot use the issuer's published keys",
    "signature": "The token's signing key is not among the published keys",
    "trust-policy": "The role does not trust this token",
    "region": "The Region does not exist",
    "sts-proxy": "The proxy does not lead to STS",
    "sts-name": "The name of the STS endpoint does not resolve",
    "sts-connection": "The pod cannot connect to STS",
    "sts-tls": "TLS with STS failed",
    "identity": "STS does not confirm the new credentials",
    "publish-directory": "The broker cannot publish files",
}
_EXCHANGE_HEADLINES: Final = {
    "exchange_unavailable": "STS is not available",
    "exchange_throttled": "STS throttled the request",
    "token_rejected": "STS rejected the token",
    "role_denied": "STS denied the role",
    "request_invalid": "STS rejected the request",
    "response_invalid": "The answer is not a valid STS response",
    "source_rejected": "STS rejected the source profile's credentials",
}
_ISSUER_UNREACHABLE: Final = "IDPCommunicationError"


def as_text(results: Sequence[CheckResult]) -> str:
    """Return the report for people: a line for each check, then each cause with what was found and the fix."""
    return "".join(f"{_safe(line)}\n" for line in _text(results))


def as_json(results: Sequence[CheckResult]) -> str:
    """Return the report as one JSON object."""
    checks = [
        {
            "check": result.check,
            "of": result.of or None,
            "verdict": result.outcome.value,
            "found": _safe(result.found),
            "fix": _safe(result.remedy) or None,
            "because": result.because or None,
            "link": result.link,
        }
        for result in results
    ]
    causes = [
        {
            "check": result.check,
            "of": result.of or None,
            "cause": _headline(result),
            "reason": _reason(result),
            "error_code": _safe(result.error_code) or None,
            "found": _safe(result.found),
            "fix": _safe(result.remedy),
        }
        for result in find_causes(results)
    ]
    return json.dumps({"verdict": verdict(results), "causes": causes, "checks": checks}, indent=2) + "\n"


def verdict(results: Sequence[CheckResult]) -> str:
    """Return one word for the whole report: failed, incomplete, warning or ok."""
    outcomes = {result.outcome for result in results}
    if Outcome.FAILED in outcomes:
        return Outcome.FAILED.value
    if _unchecked_exchanges(results):
        return _INCOMPLETE
    return Outcome.WARNING.value if Outcome.WARNING in outcomes else Outcome.OK.value


def is_passed(results: Sequence[CheckResult]) -> bool:
    """Return whether nothing failed, and the exchange of every profile was judged."""
    return verdict(results) in (Outcome.WARNING.value, Outcome.OK.value)


def _safe(text: str) -> str:
    return redacted(printable(text))


def _text(results: Sequence[CheckResult]) -> Iterator[str]:
    labels = (result.label for result in results if result.outcome is not Outcome.NOT_CHECKED)
    width = max((len(label) for label in labels), default=0) + 1
    indent = " " * (_OUTCOME_WIDTH + width)
    for (outcome, found, because), group in groupby(results, lambda each: (each.outcome, each.found, each.because)):
        if outcome is Outcome.NOT_CHECKED:
            skipped = [result.label for result in group]
            names = ", ".join(skipped) if len(skipped) < len(results) - 1 else "all other checks"
            yield f"{outcome.value:<{_OUTCOME_WIDTH}}{names}: {_explanation(found, because)}"
            continue
        for result in group:
            yield f"{outcome.value:<{_OUTCOME_WIDTH}}{result.label:<{width}}{_explanation(found, because)}"
            if result.remedy and outcome is not Outcome.FOLLOWS:
                yield f"{indent}-> {result.remedy}"
            if outcome in (Outcome.FAILED, Outcome.WARNING):
                yield f"{indent}   {result.link}"
    yield ""
    yield from _conclusion(results)


def _explanation(found: str, because: str) -> str:
    return f"{found} Because of {because}." if because and found else found or f"because of {because}."


def _conclusion(results: Sequence[CheckResult]) -> Iterator[str]:
    """Yield the last lines: each cause in full, or that there is none."""
    causes = find_causes(results)
    warned = [result.label for result in results if result.outcome is Outcome.WARNING]
    warnings = f"{len(warned)} warning{'s' if len(warned) > 1 else ''}: {', '.join(warned)}." if warned else ""
    if not causes:
        yield " ".join(part for part in (_all_clear(results), warnings) if part)
        return
    if warnings:
        yield warnings
    for number, cause in enumerate(causes):
        if number or warnings:
            yield ""
        yield f"Cause: {_headline(cause)} ({cause.error_code or _reason(cause)})"
        yield f"Found: {cause.found}"
        yield f"Fix: {cause.remedy}"


def _all_clear(results: Sequence[CheckResult]) -> str:
    skipped = [result.label for result in results if result.outcome is Outcome.NOT_CHECKED]
    unknown = _unchecked_exchanges(results)
    if unknown:
        return f"No cause found, but not everything was checked: {', '.join(unknown)}. See the lines above."
    return f"No problems found. Not checked: {', '.join(skipped)}." if skipped else "No problems found."


def _unchecked_exchanges(results: Sequence[CheckResult]) -> list[str]:
    return [result.label for result in results if result.check == "exchange" and result.outcome is Outcome.NOT_CHECKED]


def _reason(result: CheckResult) -> str:
    return result.reason or _REASONS.get(result.check, result.check)


def _headline(result: CheckResult) -> str:
    """Return what failed, in plain words, after the profile, token or Region that it concerns."""
    if result.error_code == _ISSUER_UNREACHABLE:
        headline = "STS cannot reach the issuer"
    else:
        headline = _HEADLINES.get(result.check) or _EXCHANGE_HEADLINES.get(_reason(result), "STS gave no credentials")
    return f"{result.of}: {headline}" if result.of else headline
