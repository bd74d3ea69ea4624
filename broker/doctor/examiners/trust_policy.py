"""Check the role's trust policy for `sts-broker doctor`: from a file, or from IAM.

The policy evaluator decides whether a policy admits the token. IAM is called with the shell's credentials or, where
there are none, with those that STS just issued for the role. An IAM that cannot be read is not a fault of the pod. A
role that IAM does not have is a fault, if the credentials belong to the role's account. This module does not use the
result of the exchange; `doctor.causes` combines the two.

`broker.trust` is an operator tool, which the sidecar image does not contain. It is imported here only, and only when a
policy is checked; the command line refuses `--policy` where it is missing.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final

from broker.core.role_arns import read_account, read_partition
from broker.doctor.checks import Outcome
from broker.doctor.examiners.connection_steps import describe_error, run_bounded
from broker.policy.document import PolicyMalformedError

if TYPE_CHECKING:
    from broker.core.model import BoundToken, ProfileSpec, SourceSession, StsSpec
    from broker.doctor.checks import Report
    from broker.trust.explain import Explanation, Obstacle, StatementExplanation
    from broker.trust.iam_role import AwsReader, Refusal, RoleAnswer

_CHECK: Final = "trust-policy"
_FORBIDDEN: Final = ("AccessDenied", "AccessDeniedException")
_ABSENT: Final = "NoSuchEntity"
_SHELL: Final = "The shell's credentials"
_ROLE: Final = "The role's own credentials"


def examine_trust(policy: str, token: BoundToken, profile: ProfileSpec, sheet: Report, *, of: str) -> None:
    """Check whether the policy in a file admits the token. `policy` is the file's name, or - for standard input."""
    from broker.trust.sources import find_sources  # noqa: PLC0415 - see the module's docstring

    sources = find_sources([policy])
    if sources.faults or len(sources.policies) != 1:
        found = " ".join(sources.faults) or f"{policy} has {len(sources.policies)} trust policies; expected one."
        remedy = "aws iam get-role --role-name NAME --query Role.AssumeRolePolicyDocument > FILE"
        sheet.warning(_CHECK, found, remedy, of=of)
        return
    _check_policy(sources.policies[0].text, token, profile, sheet, of)


class RolesInIam:
    """Checks the trust policies of roles as IAM has them.

    An IAM that could not be called once is not called again: every role of its partition gets the same report.
    """

    def __init__(self, spec: StsSpec, sheet: Report) -> None:
        self._spec = spec
        self._sheet = sheet
        self._unreachable: dict[str, str] = {}

    def examine(self, token: BoundToken, profile: ProfileSpec, session: SourceSession | None, *, of: str) -> None:
        """Check whether the policy in IAM admits the token. `session` is what STS issued for the role, or None."""
        role_arn, partition = profile.role_arn, read_partition(profile.role_arn)
        reader, owner = self._open_reader(session)
        if reader is None:
            self._report_unread(f"No credentials to call IAM with: {owner}.", profile, of)
            return
        self._sheet.announce(f"the trust policy of {role_arn} in IAM")
        try:
            if partition in self._unreachable:
                raise ConnectionError(self._unreachable[partition])
            role = run_bounded(lambda: reader.get_role(role_arn, profile.region))
            account = _find_account(role, profile, reader) if owner == _SHELL else read_account(role_arn)
        except OSError as error:
            self._unreachable[partition] = describe_error(error)
            self._report_unread(f"IAM can't be read: {describe_error(error)}.", profile, of)
            return
        if account != read_account(role_arn):
            found = f"account {account}" if account else "an account that STS doesn't report"
            self._report_unread(f"{owner} are of {found}, not of the role's account.", profile, of)
        elif role.refusal is not None:
            self._report_refusal(role.refusal, owner, profile, of)
        elif role.arn != role_arn:
            remedy = "Set role_arn (AWS_ROLE_ARN) to the ARN in IAM, including its path."
            self._sheet.failed(_CHECK, f"IAM has this role as {role.arn}; role_arn is {role_arn}.", remedy, of=of)
        else:
            _check_policy(role.trust_policy, token, profile, self._sheet, of)

    @cached_property
    def _shell(self) -> tuple[AwsReader | None, str]:
        """A reader with the shell's credentials, or None and why there are none."""
        from broker.trust.iam_role import open_as_shell  # noqa: PLC0415 - see the module's docstring

        self._sheet.announce("the shell's credentials")
        try:
            return run_bounded(
                lambda: open_as_shell(self._spec)
            ), "this shell has none (AWS_ACCESS_KEY_ID, AWS_PROFILE)"
        except OSError as error:
            return None, describe_error(error)

    def _open_reader(self, session: SourceSession | None) -> tuple[AwsReader | None, str]:
        """Return a reader and whose credentials it uses, or None and why there are no credentials."""
        from broker.trust.iam_role import open_as_role  # noqa: PLC0415 - see the module's docstring

        shell, missing = self._shell
        if shell is not None:
            return shell, _SHELL
        if session is None:
            return None, f"{missing}, and STS issued none"
        return open_as_role(session.generation.credentials, self._spec), _ROLE

    def _report_refusal(self, refusal: Refusal, owner: str, profile: ProfileSpec, of: str) -> None:
        role_arn, sheet = profile.role_arn, self._sheet
        clock = sheet.find("clock", "", Outcome.FAILED)
        if refusal.code == _ABSENT:
            found = f"IAM has no role {role_arn.rpartition('/')[2]} in account {read_account(role_arn)}."
            sheet.failed(_CHECK, found, "Create the role, or fix role_arn (AWS_ROLE_ARN).", of=of)
        elif refusal.code in _FORBIDDEN:
            caller = refusal.caller or f"{owner[0].lower()}{owner[1:]}"
            self._report_unread(
                f"IAM denies {caller} access to the role: allow iam:GetRole on {role_arn}.", profile, of
            )
        elif clock is not None:
            sheet.not_checked((_CHECK,), f"IAM returned {refusal.code}.", because=clock.label, of=of)
        else:
            self._report_unread(f"IAM returned {refusal.code}. {owner} were used.", profile, of)

    def _report_unread(self, found: str, profile: ProfileSpec, of: str) -> None:
        name = profile.role_arn.rpartition("/")[2]
        command = (
            f"aws iam get-role --role-name {name} --query Role.AssumeRolePolicyDocument | sts-broker doctor --policy -"
        )
        self._sheet.not_checked((_CHECK,), f"{found} To check it yourself: {command}", of=of)


def _find_account(role: RoleAnswer, profile: ProfileSpec, reader: AwsReader) -> str:
    """Return the account that IAM looked in, which is that of the credentials, or "" where it is unknown.

    STS is called only where IAM does not have the role: GetRole takes a name without an account.
    """
    if role.refusal is None:
        return read_account(role.arn)
    if role.refusal.code != _ABSENT:
        return read_account(profile.role_arn)  # the account makes no difference
    return run_bounded(lambda: reader.get_account(profile.region))


def _check_policy(policy: str, token: BoundToken, profile: ProfileSpec, sheet: Report, of: str) -> None:
    """Report whether this policy admits the token."""
    from broker.trust.explain import explain  # noqa: PLC0415 - see the module's docstring
    from broker.trust.web_identities import identify  # noqa: PLC0415

    identity = identify(
        token,
        role=(read_partition(profile.role_arn), read_account(profile.role_arn)),
        session_name=profile.session_name or "",
        audiences=(profile.audience,),
    )
    try:
        explanation = explain(policy, identity)
    except PolicyMalformedError as error:
        sheet.warning(_CHECK, f"The policy can't be read: {error}.", "IAM would reject it too.", of=of)
        return
    verdict = f"{explanation.reason[0].upper()}{explanation.reason[1:]}"
    if explanation.allowed:
        sheet.ok(_CHECK, f"{verdict}.", of=of)
        return
    nearest = _find_nearest(explanation)
    if nearest is None:
        remedy = "Add a statement for this token: sts-broker trust render."
        sheet.failed(_CHECK, f"{verdict}.", remedy, of=of)
        return
    reasons = "; ".join(obstacle.reason for obstacle in nearest.obstacles)
    changes = "; ".join(_describe_change(obstacle) for obstacle in nearest.obstacles if obstacle.change)
    remedy = f"In {nearest.name} (line {nearest.line}): {changes or 'remove the statement, or narrow it'}."
    sheet.failed(_CHECK, f"{verdict}: {reasons}.", remedy, of=of)


def _find_nearest(explanation: Explanation) -> StatementExplanation | None:
    """Return the statement that denies, or the one that needs the fewest changes to admit the token."""
    denying = [one for one in explanation.statements if one.outcome == "denies"]
    fixable = [one for one in explanation.statements if any(obstacle.change for obstacle in one.obstacles)]
    return min(denying or fixable, key=lambda one: len(one.obstacles), default=None)


def _describe_change(obstacle: Obstacle) -> str:
    sentence = obstacle.change.sentence if obstacle.change else ""
    return f"{obstacle.operator} {obstacle.key}: {sentence}" if obstacle.key else sentence
