"""What an operator reads when STS says no."""

from __future__ import annotations

import pytest

from broker.denials import explain
from tests.support.fakes import make_profile, make_token


@pytest.mark.parametrize("message", ["Rate exceeded", "Rate exceeded."])
def test_quote_and_remedy_are_two_sentences(message: str) -> None:
    response = {"Error": {"Code": "Throttling", "Message": message}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    error = explain(response, make_profile(), make_token())
    assert ": Rate exceeded. The quota is per account" in str(error)
