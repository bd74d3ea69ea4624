"""`sts-broker doctor` on the role's trust policy: one that was handed in, or the one that IAM has.

Rules: what a policy says is the evaluator's word. IAM is asked with the shell's credentials, else with those that STS
gave for the role just now; that it does not answer, or not to these, is no fault of the pod. A role that IAM does not
have is one, if it was asked in the role's own account. Knows nothing of what STS said; `doctor_causes` does.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from broker.core.model import session_name_for
from broker.doctor.checks import Outcome
from broker.doctor.examiners.connection_steps import describe_error, run_bounded
from broker.policy.document import PolicyMalformedError
from broker.trust.explain import Asker, explain
from broker.trust.sources import find_sources

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.core.model import BoundToken, ProfileSpec, SourceSession, StsSpec
    from broker.doctor.checks import Sheet
    from broker.sts.exchange import StsExchanger
    from broker.trust.explain import Explained, Explanation, Obstacle
    from broker.trust.iam_role import Refused

_CHECK: Final = "trust-policy"
_FORBIDDEN: Final = ("AccessDenied", "AccessDeniedException")
_ABSENT: Final = "NoSuchEntity"
_SHELLS: Final = "the shell's credentials"
_ROLES: Final = "the role's own credentials"


def examine_trust(policy: str, token: BoundToken, profile: ProfileSpec, sheet: Sheet, *, of: str) -> None:
    """Ask the policy in this file, or on standard input for "-", whether it lets the token in."""
    sources = find_sources([policy])
    if sources.faults or len(sources.policies) != 1:
        said = " ".join(sources.faults) or f"{policy} holds {len(sources.policies)} policies; expected one."
        remedy = "aws iam get-role --role-name NAME --query Role.AssumeRolePolicyDocument > FILE"
        sheet.warning(_CHECK, said, remedy, of=of)
        return
    _judge(sources.policies[0].text, token, profile, sheet, of)


class RolesInIam:
    """Asks IAM for roles; an IAM that did not answer once is not asked again."""

    def __init__(self, exchanger: StsExchanger, spec: StsSpec, environ: Mapping[str, str], sheet: Sheet) -> None:
        self._exchanger = exchanger
        self._spec = spec
        self._environ = environ
        self._sheet = sheet
        self._silences: dict[str, str] = {}

    def examine(self, token: BoundToken, profile: ProfileSpec, session: SourceSession | None, *, of: str) -> None:
        """Ask the policy that IAM has whether it lets the token in; `session` is what STS gave, if it did."""
        from broker.trust.iam_role import Refused, get_role, iam_of  # noqa: PLC0415 - botocore, not to be had everywhere

        role_arn, sheet = profile.role_arn, self._sheet
        keys, whose = self._keys(session)
        if keys is None:
            self._not_read(f"There are no credentials to ask IAM with: {whose}.", profile, of)
            return
        sheet.tell(f"the trust policy of {role_arn} in IAM")
        partition = role_arn.split(":")[1]
        try:
            if partition in self._silences:
                raise ConnectionError(self._silences[partition])
            iam = iam_of(role_arn, profile.region, self._spec, self._environ)
            role = run_bounded(lambda: get_role(role_arn, keys, iam, self._spec))
            owner = self._account(role, role_arn, keys, profile.region) if whose == _SHELLS else _account(role_arn)
        except OSError as error:
            self._silences[partition] = describe_error(error)
            self._not_read(f"IAM does not tell: {describe_error(error)}.", profile, of)
            return
        if owner != _account(role_arn):
            other = f"account {owner}" if owner else "an account that STS does not tell"
            self._not_read(f"{whose.capitalize()} are of {other}, not of the role's.", profile, of)
        elif isinstance(role, Refused):
            self._refused(role, whose, profile, of)
        elif role.arn != role_arn:
            remedy = "Write role_arn (AWS_ROLE_ARN) as IAM has it, with its path."
            sheet.failed(_CHECK, f"IAM has this role as {role.arn}; asked for is {role_arn}.", remedy, of=of)
        else:
            _judge(role.trust_policy, token, profile, sheet, of)

    @cached_property
    def _shell(self) -> tuple[Any, str]:
        """The shell's keys, or None and why there are none."""
        from broker.trust.iam_role import shell_keys  # noqa: PLC0415 - likewise

        self._sheet.tell("the shell's credentials")
        try:
            return run_bounded(shell_keys), "this shell has none (AWS_ACCESS_KEY_ID, AWS_PROFILE)"
        except OSError as error:
            return None, describe_error(error)

    def _keys(self, session: SourceSession | None) -> tuple[Any, str]:
        """Return keys and whose they are; without any, None and why."""
        keys, fault = self._shell
        if keys is not None:
            return keys, _SHELLS
        if session is None:
            return None, f"{fault}, and STS gave none"
        with self._exchanger.signer.using(session.generation.credentials):
            return self._exchanger.signer.get_frozen_credentials(), _ROLES

    def _account(self, role: Any, role_arn: str, keys: Any, region: str) -> str:  # noqa: ANN401 - keys are botocore's
        """Return the account that IAM was asked in: a role's name is looked up in that of the keys."""
        from broker.trust.iam_role import Endpoint, Refused, account_of  # noqa: PLC0415 - likewise

        if not isinstance(role, Refused):
            return _account(role.arn)
        if role.code != _ABSENT:
            return _account(role_arn)  # it makes no difference
        url = str(self._exchanger.client(region, signed=True).meta.endpoint_url)
        return run_bounded(lambda: account_of(keys, Endpoint(service="sts", url=url, region=region), self._spec))

    def _refused(self, refused: Refused, whose: str, profile: ProfileSpec, of: str) -> None:
        role_arn, sheet = profile.role_arn, self._sheet
        clock = sheet.find("clock", "", Outcome.FAILED)
        if refused.code == _ABSENT:
            said = f"IAM has no role {role_arn.rpartition('/')[2]} in account {_account(role_arn)}."
            sheet.failed(_CHECK, said, "Create it, or mend role_arn (AWS_ROLE_ARN).", of=of)
        elif refused.code in _FORBIDDEN:
            said = f"IAM does not let {refused.caller or whose} read the role: allow iam:GetRole on {role_arn}."
            self._not_read(said, profile, of)
        elif clock is not None:
            sheet.not_checked((_CHECK,), f"IAM answers {refused.code}.", because=clock.label, of=of)
        else:
            self._not_read(f"IAM answers {refused.code} to {whose}.", profile, of)

    def _not_read(self, found: str, profile: ProfileSpec, of: str) -> None:
        name = profile.role_arn.rpartition("/")[2]
        how = (
            f"aws iam get-role --role-name {name} --query Role.AssumeRolePolicyDocument | sts-broker doctor --policy -"
        )
        self._sheet.not_checked((_CHECK,), f"{found} By hand: {how}", of=of)


def _account(arn: str) -> str:
    return arn.split(":")[4]


def _judge(policy: str, token: BoundToken, profile: ProfileSpec, sheet: Sheet, of: str) -> None:
    """Say what this policy says to the token."""
    _, partition, _, _, account, _ = profile.role_arn.split(":", 5)
    asker = Asker(
        issuer=token.claims.issuer,
        subject=token.claims.subject,
        audiences=(profile.audience,),
        session_name=profile.session_name or session_name_for(token.claims),
        role=(partition, account),
    )
    try:
        explanation = explain(policy, asker)
    except PolicyMalformedError as error:
        sheet.warning(_CHECK, f"The policy cannot be read: {error}.", "IAM would refuse it too.", of=of)
        return
    if explanation.allowed:
        sheet.ok(_CHECK, f"{explanation.reason}.", of=of)
        return
    nearest = _nearest(explanation)
    if nearest is None:
        remedy = "Add a statement for this token: sts-broker trust render."
        sheet.failed(_CHECK, f"{explanation.reason}.", remedy, of=of)
        return
    reasons = "; ".join(obstacle.reason for obstacle in nearest.obstacles)
    changes = "; ".join(_change(obstacle) for obstacle in nearest.obstacles if obstacle.change)
    remedy = f"In {nearest.name} (line {nearest.line}): {changes or 'take it away, or narrow it'}."
    sheet.failed(_CHECK, f"{explanation.reason}: {reasons}.", remedy, of=of)


def _nearest(explanation: Explanation) -> Explained | None:
    """Return the statement that denies, else the one that needs the fewest changes to let the token in."""
    denying = [one for one in explanation.statements if one.outcome == "denies"]
    mendable = [one for one in explanation.statements if any(obstacle.change for obstacle in one.obstacles)]
    return min(denying or mendable, key=lambda one: len(one.obstacles), default=None)


def _change(obstacle: Obstacle) -> str:
    sentence = obstacle.change.sentence if obstacle.change else ""
    return f"{obstacle.operator} {obstacle.key}: {sentence}" if obstacle.key else sentence
