"""The error classes: complete, named and documented."""

from __future__ import annotations

from broker.core import errors
from broker.core.errors import BrokerError, ConfigurationError, ExchangeError, PublishError, TokenError
from tests.docs.tables import leaves


def test_every_error_has_reason_disposition_and_exit_code() -> None:
    for kind in leaves(BrokerError):
        assert kind.reason
        assert kind.disposition
        assert kind.exit_code in {2, 3, 4, 5}


def test_reasons_are_unique_and_listed_in_the_docstring() -> None:
    reasons = [kind.reason for kind in leaves(BrokerError)]
    assert len(reasons) == len(set(reasons))
    assert errors.__doc__ is not None
    for kind in leaves(BrokerError):
        line = next(line for line in errors.__doc__.splitlines() if kind.__name__ in line)
        assert kind.reason in line
        if kind is not ConfigurationError:
            assert kind.disposition.name in line.replace(",", " ").split()


def test_exit_codes_depend_on_the_class() -> None:
    assert {kind.exit_code for kind in leaves(TokenError)} == {3}
    assert {kind.exit_code for kind in leaves(ExchangeError)} == {4}
    assert ConfigurationError.exit_code == 2
    assert PublishError.exit_code == 5


def test_message_and_remedy_form_one_text() -> None:
    assert str(errors.TokenExpired("It expired.", "Wait.")) == "It expired. Wait."
    assert str(errors.TokenExpired("It expired.")) == "It expired."
    assert str(ConfigurationError(("one", "two"))) == "one\ntwo"
