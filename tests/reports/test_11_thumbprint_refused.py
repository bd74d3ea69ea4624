"""STS refuses the issuer's certificate: the remedy names the thumbprint, not the token.

Seen by users of HCP Terraform, of GSP and of the AWS provider of Terraform (hashicorp/terraform-provider-aws#10104).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.core.errors import TokenRejected
from tests.unit.sts.conftest import exchanger, served, shared, sts
from tests.unit.sts.scripted_sts import fail_exchange, make_refusal

if TYPE_CHECKING:
    from broker.sts.exchange import StsExchanger
    from tests.unit.sts.scripted_sts import Sts

__all__ = ["exchanger", "served", "shared", "sts"]

ISSUER = "https://oidc.example/cluster"


@pytest.mark.parametrize(
    "message",
    [
        "OpenIDConnect provider's HTTPS certificate doesn't match configured thumbprint",
        "The HTTPS certificate of the OpenIDConnect provider does not match the configured thumbprint",
    ],
)
@pytest.mark.parametrize("status", [400, 403])
def test_refused_certificate_names_the_thumbprints(
    exchanger: StsExchanger, sts: Sts, message: str, status: int
) -> None:
    sts.status, sts.body = status, make_refusal("InvalidIdentityToken", message)
    sts.headers = {"x-amzn-RequestId": "00000000-0000-4000-8000-000000000000"}
    error = fail_exchange(exchanger)
    assert isinstance(error, TokenRejected)
    assert message in error.message
    assert f"Run `sts-broker issuer check {ISSUER}`, which prints the thumbprint of the certificate" in error.remedy
    assert "public CA" in error.remedy
    assert "sts-broker token" not in error.remedy
