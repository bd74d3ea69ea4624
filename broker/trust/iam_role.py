"""A role as IAM has it: one signed GetRole, for `sts-broker doctor --policy iam`.

Rules: no service model is loaded, for memory beside a running broker is short (docs/adr/0014-doctor.md): the call is
written out, signed and sent with botocore's own parts. Keys come from botocore's chain for the shell, without what asks
the network for a machine's or a container's role, or exchanges the pod's token once more. What is wrong leaves as an
OSError with a sentence; nothing of an answer is quoted but codes and ARNs. It refuses to judge policies.
"""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlencode
from xml.etree import ElementTree as ET  # what botocore parses answers with; DTDs are refused before

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.httpsession import URLLib3Session
from botocore.session import Session
from botocore.utils import get_environ_proxies

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.core.model import StsSpec

_TIMEOUT_SECONDS: Final = 4
"""For a connection, and for each part of an answer."""
_MAXIMUM_BYTES: Final = 262_144
_ENDPOINTS: Final = {  # signing Region; hosts: plain, FIPS, dual-stack, both (botocore, data/iam: endpoint-rule-set-1)
    "aws": (
        "us-east-1",
        ("iam.amazonaws.com", "iam-fips.amazonaws.com", "iam.global.api.aws", "iam-fips.global.api.aws"),
    ),
    "aws-cn": (
        "cn-north-1",
        (
            "iam.cn-north-1.amazonaws.com.cn",
            "iam-fips.amazonaws.com.cn",
            "iam.global.api.amazonwebservices.com.cn",
            "iam-fips.api.amazonwebservices.com.cn",
        ),
    ),
    "aws-us-gov": (
        "us-gov-west-1",
        ("iam.us-gov.amazonaws.com", "iam.us-gov.amazonaws.com", "iam.us-gov.api.aws", "iam.us-gov.api.aws"),
    ),
}
_NOT_THE_SHELLS: Final = ("assume-role-with-web-identity", "container-role", "iam-role")
_CODE: Final = re.compile(r"[A-Za-z.]{1,64}")
_ARN: Final = re.compile(r"arn:[a-z-]{1,20}:(?:iam|sts)::\d{12}:[\w+=,.@/-]{1,700}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a service is asked, and the Region that the call is signed for."""

    service: str
    url: str
    region: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What IAM has. `trust_policy` is its text."""

    arn: str
    trust_policy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """IAM's error code, and the ARN of who was refused where it tells."""

    code: str
    caller: str


def shell_keys() -> Any:  # noqa: ANN401 - botocore has no types
    """Return the keys of this shell, None where it has none. Raises OSError where they cannot be had."""
    try:
        chain = Session().get_component("credential_provider")
        for name in _NOT_THE_SHELLS:
            chain.remove(name)
        credentials = chain.load_credentials()
        return credentials and credentials.get_frozen_credentials()
    except Exception as error:  # noqa: BLE001 - the seam; its text may quote what a credential_process printed
        raise ConnectionError(f"the shell's credentials cannot be had ({type(error).__name__})") from None


def iam_of(role_arn: str, region: str, spec: StsSpec, environ: Mapping[str, str]) -> Endpoint:
    """Return where IAM is for this role. Raises OSError where that is not known here."""
    url = environ.get("AWS_ENDPOINT_URL_IAM") or environ.get("AWS_ENDPOINT_URL") or ""
    if environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        url = ""
    partition = role_arn.split(":")[1]
    signed_for, hosts = _ENDPOINTS.get(partition, (region, ()))
    if not url and not hosts:
        raise ConnectionError(f"where IAM is in partition {partition} is not known here: set AWS_ENDPOINT_URL_IAM")
    url = url or f"https://{hosts[spec.use_fips + 2 * spec.use_dualstack]}"
    return Endpoint(service="iam", url=url, region=signed_for)


def get_role(role_arn: str, keys: Any, iam: Endpoint, spec: StsSpec) -> Role | Refused:  # noqa: ANN401 - likewise
    """Return the role of this name in the account of the keys. Raises OSError where IAM cannot be asked."""
    name = role_arn.rpartition("/")[2]
    root = _ask(iam, keys, spec, Action="GetRole", Version="2010-05-08", RoleName=name)
    if isinstance(root, Refused):
        return root
    role = root.find("{*}GetRoleResult/{*}Role")
    arn, document = (
        (role.findtext(f"{{*}}{tag}") if role is not None else None) for tag in ("Arn", "AssumeRolePolicyDocument")
    )
    if not _ARN.fullmatch(arn or "") or not document:
        raise ConnectionError(f"what answers at {iam.url} is not IAM: it gives no role")
    return Role(arn=str(arn), trust_policy=unquote(document))


def account_of(keys: Any, sts: Endpoint, spec: StsSpec) -> str:  # noqa: ANN401 - likewise
    """Return the account of the keys, "" where STS does not tell. Raises OSError where it cannot be asked."""
    root = _ask(sts, keys, spec, Action="GetCallerIdentity", Version="2011-06-15")
    return "" if isinstance(root, Refused) else root.findtext("{*}GetCallerIdentityResult/{*}Account") or ""


def _ask(at: Endpoint, keys: Any, spec: StsSpec, **form: str) -> ET.Element | Refused:  # noqa: ANN401
    """Make a call of AWS's Query API. What botocore raises may quote the request, so only its kind is told."""
    try:
        headers = {"Content-Type": "application/x-www-form-urlencoded", "User-Agent": "sts-federation-broker"}
        url = f"{at.url.rstrip('/')}/"
        request = AWSRequest(method="POST", url=url, data=urlencode(form), headers=headers, stream_output=True)
        SigV4Auth(keys, at.service, at.region).add_auth(request)
        http = URLLib3Session(verify=spec.ca_bundle or True, proxies=get_environ_proxies(url), timeout=_TIMEOUT_SECONDS)
        with closing(http):
            response = http.send(request.prepare())
            with closing(response.raw):
                body = response.raw.read(_MAXIMUM_BYTES + 1)
    except Exception as error:  # noqa: BLE001 - the seam: what is foreign stays inside
        raise ConnectionError(
            f"{at.url} cannot be asked ({type(error).__name__}); a NetworkPolicy may allow STS alone"
        ) from None
    root = _parsed(body)
    if root is None:
        raise ConnectionError(f"what answers at {at.url} (HTTP status {response.status_code}) is not AWS")
    code = root.findtext("{*}Error/{*}Code")
    if code is None:
        return root
    caller = _ARN.search(root.findtext("{*}Error/{*}Message") or "")
    return Refused(code=code if _CODE.fullmatch(code) else "what is no code", caller=caller[0] if caller else "")


def _parsed(body: bytes) -> ET.Element | None:
    """Return what the XML has, None where it is none of AWS's, which has neither DTD nor comment."""
    try:
        text = body.decode()
        return None if len(body) > _MAXIMUM_BYTES or "<!" in text else ET.fromstring(text)  # noqa: S314 - likewise
    except (ValueError, ET.ParseError):
        return None
