"""Where IAM is asked: as botocore's own rules for IAM say, in every partition that is known here."""

from __future__ import annotations

from itertools import product
from urllib.parse import urlsplit

import botocore.session
import pytest
from botocore.config import Config

from broker.core.model import StsSpec
from broker.trust.iam_role import iam_of

_REGIONS = {"aws": "eu-west-1", "aws-cn": "cn-northwest-1", "aws-us-gov": "us-gov-east-1"}


@pytest.mark.parametrize(("partition", "fips", "dualstack"), list(product(_REGIONS, [False, True], [False, True])))
def test_endpoint_and_signing_region_are_botocores(partition: str, fips: bool, dualstack: bool) -> None:
    region = _REGIONS[partition]
    spec = StsSpec(use_fips=fips, use_dualstack=dualstack)
    found = iam_of(f"arn:{partition}:iam::123456789012:role/app", region, spec, {})
    asked: list[tuple[str, str]] = []

    def note(request: object, **_: object) -> object:
        scope = request.headers["Authorization"].decode().partition("Credential=")[2].split("/")[2]  # type: ignore[attr-defined]
        asked.append((str(urlsplit(request.url).hostname), scope))  # type: ignore[attr-defined]
        raise LookupError

    client = botocore.session.Session().create_client(
        "iam",
        region_name=region,
        aws_access_key_id="AKIDOFNOBODY",
        aws_secret_access_key="none",
        config=Config(use_fips_endpoint=fips, use_dualstack_endpoint=dualstack),
    )
    client.meta.events.register("before-send.iam", note)
    with pytest.raises(LookupError):
        client.get_role(RoleName="app")
    client.close()
    assert [(urlsplit(found.url).hostname, found.region)] == asked


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({"AWS_ENDPOINT_URL_IAM": "http://a", "AWS_ENDPOINT_URL": "http://b"}, "http://a"),
        ({"AWS_ENDPOINT_URL": "http://b"}, "http://b"),
        (
            {"AWS_ENDPOINT_URL_IAM": "http://a", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
            "https://iam.amazonaws.com",
        ),
    ],
)
def test_endpoint_of_the_environment_is_taken_as_aws_tools_do(variables: dict[str, str], url: str) -> None:
    found = iam_of("arn:aws:iam::123456789012:role/app", "eu-west-1", StsSpec(), variables)
    assert (found.url, found.region) == (url, "us-east-1")
