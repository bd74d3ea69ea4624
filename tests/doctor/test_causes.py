"""Which failed check is the cause once STS has answered."""

from __future__ import annotations

import pytest

from broker.doctor.causes import Refusal, TokenGroup, assign_causes
from broker.doctor.checks import Outcome, Report


def report_with(*failed: str) -> Report:
    report = Report()
    for check in failed:
        report.failed(check, "It is wrong.", "Fix it.")
    return report


def outcomes_after(
    report: Report, reason: str, message: str, *, is_custom_endpoint: bool = False
) -> dict[str, Outcome]:
    """Return the outcome of each check, after STS has refused the only profile with this reason and message."""
    refusal = Refusal(reason=reason, message=message)
    group = TokenGroup(
        of="",
        accounts={"": "123456789012"},
        refusals={"": refusal},
        succeeded=frozenset(),
        is_custom_endpoint=is_custom_endpoint,
    )
    assign_causes(report, [group], {"": refusal})
    return {result.check: result.outcome for result in report.results}


@pytest.mark.parametrize(
    ("reason", "message", "follows"),
    [
        ("token_rejected", "Couldn't retrieve verification key", True),
        ("token_rejected", "The ID Token signature is invalid", True),
        ("exchange_unavailable", "STS answered IDPCommunicationError to a", True),
        ("exchange_unavailable", "Cannot connect", False),
        ("token_rejected", "No OpenIDConnect provider found", False),
        ("token_rejected", "Incorrect token audience", False),
        ("token_rejected", "Token expired: current date/time", False),
        ("request_invalid", "DurationSeconds", False),
    ],
)
def test_refusal_follows_from_the_issuer_only_if_the_issuer_explains_it(
    reason: str, message: str, *, follows: bool
) -> None:
    outcomes = outcomes_after(report_with("issuer-keys", "exchange"), reason, message)
    assert outcomes["issuer-keys"] is Outcome.FAILED
    assert (outcomes["exchange"] is Outcome.FOLLOWS) == follows


def test_missing_provider_follows_from_an_issuer_url_that_iam_does_not_accept() -> None:
    outcomes = outcomes_after(report_with("issuer", "exchange"), "token_rejected", "No OpenIDConnect provider found")
    assert outcomes == {"issuer": Outcome.FAILED, "exchange": Outcome.FOLLOWS}


def test_denied_role_shows_that_aws_did_not_reject_the_token() -> None:
    report = report_with("signature", "exchange")
    outcomes = outcomes_after(report, "role_denied", "AccessDenied")
    assert outcomes == {"signature": Outcome.WARNING, "exchange": Outcome.FAILED}
    (warned,) = (result for result in report.results if result.check == "signature")
    assert warned.found == "It is wrong. STS did not object to the token: it denied the role."


def test_denied_role_of_another_sts_shows_nothing_about_the_token() -> None:
    """Ceph answers AccessDenied to a token that it cannot verify."""
    report = report_with("signature", "exchange")
    outcomes = outcomes_after(report, "role_denied", "AccessDenied", is_custom_endpoint=True)
    assert outcomes == {"signature": Outcome.FAILED, "exchange": Outcome.FAILED}
    assert all("accepts the token" not in result.found for result in report.results)


@pytest.mark.parametrize(
    ("check", "found"),
    [
        ("issuer", "It is wrong. STS accepts the token anyway."),
        ("issuer-documents", "It is wrong. STS accepts the token anyway, because it caches keys for a while."),
    ],
)
def test_failed_check_of_the_issuer_is_a_warning_once_sts_has_accepted_the_token(check: str, found: str) -> None:
    report = report_with(check)
    assign_causes(report, [TokenGroup(of="", accounts={"": "1"}, refusals={}, succeeded=frozenset({""}))], {})
    (result,) = report.results
    assert (result.outcome, result.found) == (Outcome.WARNING, found)


def test_denial_that_names_another_policy_does_not_follow_from_the_trust_policy() -> None:
    message = "with an explicit deny in a resource control policy"
    outcomes = outcomes_after(report_with("trust-policy", "exchange"), "role_denied", message)
    assert outcomes == {"trust-policy": Outcome.FAILED, "exchange": Outcome.FAILED}


def test_published_private_key_fails_though_sts_accepts_the_token() -> None:
    report = Report()
    report.failed("issuer-keys", "PRIVATE KEY: Key key-1 has d.", "Remove it.")
    report.failed("signature", "The published key did not make it.", "Publish the key.")
    assign_causes(report, [TokenGroup(of="", accounts={"": "1"}, refusals={}, succeeded=frozenset({""}))], {})
    assert [result.outcome for result in report.results] == [Outcome.FAILED, Outcome.WARNING]


def test_trust_policy_explains_a_denied_role_and_nothing_else() -> None:
    assert outcomes_after(report_with("trust-policy", "exchange"), "role_denied", "AccessDenied") == {
        "trust-policy": Outcome.FAILED,
        "exchange": Outcome.FOLLOWS,
    }
    outcomes = outcomes_after(report_with("trust-policy", "exchange"), "exchange_throttled", "Rate exceeded")
    assert set(outcomes.values()) == {Outcome.FAILED}


def test_expired_token_follows_from_a_wrong_clock() -> None:
    outcomes = outcomes_after(
        report_with("clock", "exchange", "identity"), "token_rejected", "Token expired: current date/time"
    )
    assert outcomes == {"clock": Outcome.FAILED, "exchange": Outcome.FOLLOWS, "identity": Outcome.FOLLOWS}
