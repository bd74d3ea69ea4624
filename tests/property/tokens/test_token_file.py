"""Whatever a file holds, the token source raises only TokenError, and quotes nothing of it."""

from __future__ import annotations

import base64
import json
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from broker.core.errors import TokenError
from broker.tokens.decoding import parse_token
from broker.tokens.token_file import FileTokenSource
from tests.support.fakes import AUDIENCE, FakeClock, decode_at_once, make_jwt

if TYPE_CHECKING:
    from pathlib import Path

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
claim_names = st.sampled_from(["iss", "sub", "aud", "exp", "iat", "nbf", "kubernetes.io", "cnf"])
payloads = json_values | st.dictionaries(claim_names, json_values, max_size=8)


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300) | st.binary(max_size=40).map(lambda noise: make_jwt().encode() + noise))
@example(content=b"eyJhbGciOiJSUzI1NiJ9.\xff.")
@example(content=b"..")
@example(content=b"\0")
def test_arbitrary_bytes_raise_only_token_errors_and_are_never_quoted(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    try:
        token = FileTokenSource(str(tmp_path / "token"), FakeClock(), decode=decode_at_once).read(AUDIENCE)
    except TokenError as error:
        shown = "".join(traceback.format_exception(error))
        words = [word for word in content.decode("latin-1").replace(".", " ").split() if len(word) > 8]
        assert not any(word in shown for word in words)
    else:
        assert token is not None
        assert token.raw.reveal() == content.decode().strip()


@given(header=json_values | st.fixed_dictionaries({"alg": json_values, "kid": json_values}), payload=payloads)
def test_arbitrary_claims_raise_only_token_errors(header: object, payload: object) -> None:
    with suppress(TokenError):
        parse_token(f"{part(header)}.{part(payload)}.c2ln", origin="x")


@given(text=st.text(max_size=100))
def test_arbitrary_text_from_standard_input_is_not_a_token(text: str) -> None:
    with pytest.raises(TokenError):
        parse_token(text, origin="standard input")


@given(issued=st.integers(0, 4_000_000_000), lifetime=st.integers(0, 100_000_000))
def test_times_survive_parsing(issued: int, lifetime: int) -> None:
    text = make_jwt(iat=issued, exp=issued + lifetime, nbf=issued)
    claims = parse_token(text, origin="x").claims
    assert claims.issued_at is not None
    assert claims.not_before == claims.issued_at
    assert claims.issued_at.timestamp() == issued
    assert claims.expires_at.timestamp() == issued + lifetime
