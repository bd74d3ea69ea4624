"""The values: secrets that are never printed, session names that STS accepts."""

from __future__ import annotations

import copy
import pickle
import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.core.model import Secret
from broker.core.session_names import session_name_for
from tests.support.fakes import EPOCH, make_credentials, make_token


def test_secret_is_never_printed() -> None:
    secret = Secret("swordfish")
    shown = f"{secret} {secret!r} {secret!s} {secret:>20} {[secret]} {make_credentials(secret_access_key=secret)}"
    assert "swordfish" not in shown
    assert "<redacted>" in shown


def test_secret_cannot_be_serialized() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Secret("swordfish"))
    with pytest.raises(TypeError):
        copy.copy(Secret("swordfish"))


def test_secrets_with_the_same_text_are_equal_and_never_equal_a_plain_text() -> None:
    assert Secret("a") == Secret("a")
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert Secret("a") != "a"


def test_credentials_are_usable_until_the_earlier_expiry_of_both_clocks() -> None:
    node_behind = make_credentials(expires_at=EPOCH + timedelta(hours=3))
    assert node_behind.usable_until == node_behind.lapses_at == EPOCH + timedelta(hours=1)
    node_ahead = make_credentials(expires_at=EPOCH - timedelta(hours=1))
    assert node_ahead.usable_until == EPOCH - timedelta(hours=1)


@pytest.mark.parametrize(
    ("namespace", "pod", "name"),
    [
        ("demo", "app-7d9c5b6f8-x2x7k", "demo.app-7d9c5b6f8-x2x7k"),
        ("n" * 63, "app-7d9c5b6f8-x2x7k", "n" * 44 + ".app-7d9c5b6f8-x2x7k"),
        ("demo", "long-" * 13 + "7d9c5b6f8-x2x7k", ("long-" * 13 + "7d9c5b6f8-x2x7k")[-59:]),
        ("n" * 63, "p" * 60 + "-x2x7k", "n" * 23 + "." + "p" * 34 + "-x2x7k"),
    ],
)
def test_session_name_keeps_the_unique_end_of_the_pod(namespace: str, pod: str, name: str) -> None:
    made = session_name_for(make_token(namespace=namespace, pod=pod).claims)
    assert made == name if len(name) == 64 else made.endswith(name)
    assert len(made) <= 64


def test_session_name_without_a_pod_has_the_service_account() -> None:
    assert session_name_for(make_token(pod="").claims) == "demo.app"


def test_session_name_without_kubernetes_claims_has_the_last_part_of_the_subject() -> None:
    claims = make_token(pod="", service_account="", namespace="", subject="repo:acme/shop").claims
    assert session_name_for(claims) == "acme-shop"


def test_session_name_of_a_one_letter_subject_is_valid() -> None:
    claims = make_token(pod="", service_account="", namespace="", subject="x").claims
    assert session_name_for(claims) == "sts-broker-x"


@given(st.text(max_size=300), st.text(max_size=300), st.text(max_size=300))
def test_any_claims_give_a_session_name_that_sts_accepts(namespace: str, pod: str, subject: str) -> None:
    claims = make_token(namespace=namespace, pod=pod, service_account="", subject=subject).claims
    assert re.fullmatch(r"[\w+=,.@-]{2,64}", session_name_for(claims), re.ASCII)
