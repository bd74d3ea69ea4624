"""Reads and validates the parameters of AssumeRole calls, with the constraints and messages of STS.

A violated constraint of the service model is a ValidationError. A session policy that isn't JSON is a
MalformedPolicyDocument. This module does not know whether the role exists and whether the token is valid.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from sandbox.aws.constraints import check_pattern, invalid, members, optional_text, required_text
from sandbox.aws.refusal import Refusal
from sandbox.aws.session_tags import SessionTags, read_tags

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_DURATION = timedelta(hours=1)
_ROLE_ARN = re.compile(r"arn:aws(-[a-z]+)*:iam::\d{12}:role/[\u0021-\u007e]+")
_NAME = r"[\w+=,.@-]*"
_EXTERNAL_ID = r"[\w+=,.@:\/-]*"
_POLICY_TEXT = re.compile(r"[\u0009\u000A\u000D\u0020-\u00FF]+")
_POLICY_ARN = re.compile(r"arn:aws(-[a-z]+)*:iam::(\d{12}|aws):policy/[\u0021-\u007e]+")
_MAX_POLICY_CHARACTERS = 2048
_MAX_POLICY_ARNS = 10
_DURATION_SECONDS = (900, 43_200)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeRequest:
    """A validated call. `token` is empty for AssumeRole."""

    role_arn: str
    session_name: str
    duration: timedelta
    token: str = field(repr=False)
    policy: str | None = None
    policy_arns: tuple[str, ...] = ()
    external_id: str | None = None
    source_identity: str | None = None
    tags: SessionTags = field(default_factory=SessionTags)

    @property
    def account_id(self) -> str:
        """The account of the role."""
        return self.role_arn.split(":")[4]

    @property
    def partition(self) -> str:
        """The partition of the role: aws, aws-cn, …."""
        return self.role_arn.split(":")[1]

    @property
    def policy_characters(self) -> int:
        """The total length of the session policies, in characters."""
        return len(self.policy or "") + sum(map(len, self.policy_arns))


def parse_form(body: bytes) -> dict[str, str]:
    """Return the parameters of a form-encoded body. Unreadable parts are left out."""
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


def read_request(form: Mapping[str, str], *, needs_token: bool) -> ExchangeRequest:
    """Return the validated parameters of one call. Raises Refusal."""
    role_arn = required_text(form, "RoleArn", 20, 2048)
    session_name = required_text(form, "RoleSessionName", 2, 64)
    check_pattern("RoleSessionName", session_name, _NAME)
    token = required_text(form, "WebIdentityToken", 4, 20_000) if needs_token else ""
    if "ProviderId" in form:
        raise Refusal("ValidationError", "ProviderId is not used with OpenID Connect tokens")
    if not _ROLE_ARN.fullmatch(role_arn):
        raise Refusal("ValidationError", f"{role_arn} is invalid")
    request = ExchangeRequest(
        role_arn=role_arn,
        session_name=session_name,
        duration=_duration(form),
        token=token,
        policy=_policy(form),
        policy_arns=_policy_arns(form, role_arn.split(":")[4]),
    )
    return request if needs_token else _with_chain_parameters(request, form)


def _with_chain_parameters(request: ExchangeRequest, form: Mapping[str, str]) -> ExchangeRequest:
    """Return the request with the parameters that only AssumeRole has."""
    # STS also refuses a source identity that begins with aws:. The pattern has no colon, so it refuses that as well.
    return replace(
        request,
        external_id=optional_text(form, "ExternalId", 2, 1224, _EXTERNAL_ID),
        source_identity=optional_text(form, "SourceIdentity", 2, 64, _NAME),
        tags=read_tags(form),
    )


def _duration(form: Mapping[str, str]) -> timedelta:
    text = form.get("DurationSeconds")
    if text is None:
        return DEFAULT_DURATION
    if not re.fullmatch(r"-?\d{1,12}", text):
        raise Refusal("MalformedInput", "DurationSeconds is not an integer")
    shortest, longest = _DURATION_SECONDS
    if int(text) < shortest:
        raise invalid("DurationSeconds", text, f"Member must have value greater than or equal to {shortest}")
    if int(text) > longest:
        raise invalid("DurationSeconds", text, f"Member must have value less than or equal to {longest}")
    return timedelta(seconds=int(text))


def _policy(form: Mapping[str, str]) -> str | None:
    text = form.get("Policy")
    if text is None:
        return None
    if not 1 <= len(text) <= _MAX_POLICY_CHARACTERS:
        raise invalid("Policy", None, f"Member must have length less than or equal to {_MAX_POLICY_CHARACTERS}")
    try:
        document = json.loads(text)
    except ValueError as error:
        raise Refusal("MalformedPolicyDocument", "Syntax errors in policy.") from error
    if not _POLICY_TEXT.fullmatch(text) or not isinstance(document, dict) or "Statement" not in document:
        raise Refusal("MalformedPolicyDocument", "Syntax errors in policy.")
    return text


def _policy_arns(form: Mapping[str, str], account_id: str) -> tuple[str, ...]:
    arns = tuple(members(form, "PolicyArns", field="arn").values())
    if len(arns) > _MAX_POLICY_ARNS:
        raise invalid("PolicyArns", None, f"Member must have length less than or equal to {_MAX_POLICY_ARNS}")
    for arn in arns:
        match = _POLICY_ARN.fullmatch(arn)
        if not match or match[2] not in ("aws", account_id):
            raise Refusal("ValidationError", f"{arn} is invalid")
    return arns
