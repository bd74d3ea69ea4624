"""Run the checks of `sts-broker doctor` on one configuration, in order, and skip those that a failure rules out.

A skipped check names the failure that rules it out. The examination binds no port, calls STS once for each profile, and
leaves nothing behind. If the container is short of memory, it doesn't load botocore, and takes what the running broker
reports about STS instead.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from broker.core.errors import RoleDenied
from broker.core.role_arns import read_account
from broker.doctor.causes import Refusal, TokenGroup, assign_causes
from broker.doctor.checks import POLICY_FROM_IAM, Outcome, find_causes, label
from broker.doctor.examiners.bound_token import SharedToken, TokenLocation, examine_claims, examine_file
from broker.doctor.examiners.connection_steps import resolve as resolve_by_system
from broker.doctor.examiners.container import examine_broker, examine_memory, query_broker
from broker.doctor.examiners.exchange import RETRY_REMEDY, SESSION_CHECKS, Exchanges
from broker.doctor.examiners.issuer import OF_ISSUER, examine_issuer
from broker.doctor.examiners.network import STEPS, PathToSts, find_cause
from broker.doctor.examiners.node_clock import examine_clock
from broker.doctor.examiners.notify import examine_notify
from broker.doctor.examiners.publish_directory import DIRECTORY_CHECKS, examine_directory
from broker.doctor.examiners.rivals import examine_rivals
from broker.doctor.examiners.settings import examine_settings
from broker.doctor.examiners.trust_policy import RolesInIam, examine_trust
from broker.doctor.examiners.web_identity import examine_call, examine_token_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from broker.core.model import BoundToken, Configuration, ProfileSpec, SourceSession
    from broker.doctor.checks import Report
    from broker.doctor.environment import Environment
    from broker.sts.exchange import StsExchanger

_TOKEN_FITNESS_CHECKS: Final = ("token-file", "audience", "token-life")
_POD_CHECKS: Final = (*DIRECTORY_CHECKS, "hidden", "notify", "broker")


class Examination:
    """One run of all checks.

    `policy` is compared with the token of `policy_profile`. `is_copied_token`: the token was given on the command line,
    so this need not be the pod. `published_roles` maps every profile of the settings to its role, also profiles that
    are not examined.
    """

    def __init__(  # noqa: PLR0913 - the options, by keyword
        self,
        configuration: Configuration,
        environment: Environment,
        report: Report,
        *,
        policy: str,
        policy_profile: str,
        is_copied_token: bool,
        published_roles: Mapping[str, str],
    ) -> None:
        self._configuration = configuration
        self._environment = environment
        self._report = report
        self._policy = policy
        self._policy_profile = policy_profile
        self._is_copied_token = is_copied_token
        self._published_roles = published_roles
        self._running_broker = query_broker(configuration)
        self._now = environment.clock.read().now
        self._exchanger: StsExchanger | None = None
        self._tokens: list[SharedToken] = []
        self._unreachable_regions: dict[str, str] = {}
        self._refusals: dict[str, Refusal] = {}
        self._succeeded: set[str] = set()
        self._sessions: dict[str, SourceSession] = {}

    def run(self) -> None:
        """Run all checks, and add their results to the report."""
        examine_settings(self._environment.environ, self._configuration, self._report)
        has_memory = examine_memory(
            self._report, self._environment.cgroup, is_broker_running=self._running_broker.status is not None
        )
        self._read_tokens()
        self._examine_network(has_memory=has_memory)
        for token in self._tokens:
            self._examine_token(token)
        if has_memory:
            self._exchange()
        else:
            self._take_exchanges_of_running_broker()
        if self._policy == POLICY_FROM_IAM:
            self._examine_trust_in_iam()
        self._assign_causes()
        self._examine_web_identity_tokens()
        self._examine_pod()

    def _profile_label(self, profile: ProfileSpec) -> str:
        """Return the `of` of a profile's results, "" if there is only one profile."""
        return profile.name if len(self._configuration.profiles) > 1 else ""

    def _read_tokens(self) -> None:
        shared: dict[tuple[str, str], list[ProfileSpec]] = {}
        for profile in self._configuration.profiles:
            if profile.chain is None:
                shared.setdefault((profile.token_file, profile.audience), []).append(profile)
        for (path, audience), profiles in shared.items():
            location = TokenLocation(
                path=path,
                audience=audience,
                publish_directory=self._configuration.publish.directory,
                is_copy=self._is_copied_token,
                of=profiles[0].name if len(shared) > 1 else "",
                request_token=self._token_requester(),
            )
            value = examine_file(location, self._report, self._environment.proc)
            self._tokens.append(SharedToken(location=location, profiles=profiles, value=value))

    def _token_requester(self) -> Callable[[str], BoundToken] | None:
        """Return the function that requests a token from the Kubernetes API, None if tokens are in files."""
        spec = self._configuration.token_request
        if spec is None or self._is_copied_token:
            return None
        from broker.tokens import token_request_api  # noqa: PLC0415 - ssl, only where it is needed

        return partial(token_request_api.ask, spec)

    def _examine_network(self, *, has_memory: bool) -> None:
        """Examine the network path to STS, and correct the current time by the clock of STS."""
        skew = self._running_broker.clock_skew
        if not has_memory:
            self._report.not_checked(STEPS, "", because="memory")
        else:
            from broker.sts.exchange import StsExchanger  # noqa: PLC0415 - botocore, only where memory suffices
            from broker.sts.network_path import find_network_path  # noqa: PLC0415 - likewise

            self._exchanger = StsExchanger(self._configuration.sts, self._environment.clock)
            regions = dict.fromkeys(profile.region for profile in self._configuration.profiles)
            for region in regions:
                of = region if len(regions) > 1 else ""
                reached = PathToSts(
                    find_network_path(self._exchanger.client(region, signed=False), self._configuration.sts),
                    self._configuration.sts,
                    region,
                    self._report,
                    self._environment.clock,
                    resolve=self._environment.resolve or resolve_by_system,
                    of=of,
                ).examine()
                skew = reached.skew or skew
                if not reached.is_reached:
                    self._unreachable_regions[region] = find_cause(self._report, of)
        examine_clock(skew, self._report)
        if skew is not None:
            self._now += skew

    def _examine_token(self, token: SharedToken) -> None:
        """Examine a token's claims, its issuer, and the trust policy that was given."""
        location, report = token.location, self._report
        if token.value is None:
            token.blocked_by = label("token-file", location.of)
            report.not_checked(OF_ISSUER, "", because=token.blocked_by, of=location.of)
        else:
            if not examine_claims(token.value, location, report, self._now):
                found = (
                    report.find(check, location.of, Outcome.FAILED, Outcome.FOLLOWS) for check in _TOKEN_FITNESS_CHECKS
                )
                token.blocked_by = next((result.because or result.label for result in found if result), "")
            examine_issuer(
                token.value,
                report,
                environ=self._environment.environ,
                ca_bundle=self._configuration.sts.ca_bundle,
                now=self._now,
                of=location.of,
            )
        for profile in token.profiles:
            if self._policy not in ("", POLICY_FROM_IAM) and profile.name == self._policy_profile:
                self._examine_trust(token, profile)

    def _examine_trust(self, token: SharedToken, profile: ProfileSpec) -> None:
        of = self._profile_label(profile)
        if token.value is None:
            self._report.not_checked(("trust-policy",), "", because=token.blocked_by, of=of)
        else:
            examine_trust(self._policy, token.value, profile, self._report, of=of)

    def _exchange(self) -> None:
        """Call STS for each profile: sources first, then the profiles that are chained to them."""
        assert self._exchanger is not None
        exchanges = Exchanges(self._exchanger, self._configuration.sts, self._report, self._environment.clock)
        tokens = {profile.name: token for token in self._tokens for profile in token.profiles}
        waiting = list(self._configuration.profiles)
        done: set[str] = set()
        while waiting:
            for profile in [each for each in waiting if each.chain is None or each.chain.source in done]:
                self._exchange_profile(exchanges, profile, tokens.get(profile.name))
                waiting.remove(profile)
                done.add(profile.name)
        labels = {profile.name: self._profile_label(profile) for profile in self._configuration.profiles}
        self._refusals = {
            labels[name]: Refusal(reason=error.reason, message=error.message)
            for name, error in exchanges.failures.items()
        }
        self._succeeded = {labels[name] for name in exchanges.sessions}
        self._sessions = exchanges.sessions

    def _exchange_profile(self, exchanges: Exchanges, profile: ProfileSpec, token: SharedToken | None) -> None:
        of, unreachable = self._profile_label(profile), self._unreachable_regions.get(profile.region, "")
        if profile.chain is not None:
            session = exchanges.sessions.get(profile.chain.source)
            because = unreachable or f"exchange ({profile.chain.source})"
            exchanges.exchange(profile, of, None if unreachable else session, because)
            return
        assert token is not None
        blocked_by = token.blocked_by or unreachable
        exchanges.exchange(profile, of, None if blocked_by else token.value, blocked_by)

    def _take_exchanges_of_running_broker(self) -> None:
        """Report what the running broker found at its exchanges, instead of calling STS."""
        for profile in self._configuration.profiles:
            of, report, fault = self._profile_label(profile), self._report, self._running_broker.fault_of(profile.name)
            report.not_checked(SESSION_CHECKS[1:], "", because="memory", of=of)
            if fault is not None and self._running_broker.is_exchange_fault(fault):
                refusal = Refusal(reason=str(fault.get("reason")), message=str(fault.get("message")))
                self._refusals[of] = refusal
                found = f"The running broker reports: {refusal.message}"
                remedy = str(fault.get("remedy") or RETRY_REMEDY)
                report.failed("exchange", found, remedy, of=of, reason=refusal.reason)
            elif fault is None and self._running_broker.serves(profile.name):
                self._succeeded.add(of)
                report.ok("exchange", "The running broker has credentials and reports no failure.", of=of)
            else:
                report.not_checked(SESSION_CHECKS[:1], "", because="memory", of=of)

    def _examine_trust_in_iam(self) -> None:
        """Read each role's trust policy from IAM, and compare it with the token that is sent for the role."""
        report = self._report
        for profile in self._configuration.profiles:
            if profile.chain is not None:
                found = "The role is chained; trust policies are compared with tokens only."
                report.not_checked(("trust-policy",), found, of=self._profile_label(profile))
        if self._exchanger is None:
            for token in self._tokens:
                for profile in token.profiles:
                    report.not_checked(("trust-policy",), "", because="memory", of=self._profile_label(profile))
            return
        roles = RolesInIam(self._configuration.sts, report)
        for token in self._tokens:
            for profile in token.profiles:
                of = self._profile_label(profile)
                if token.value is None:
                    report.not_checked(("trust-policy",), "", because=token.blocked_by, of=of)
                else:
                    roles.examine(token.value, profile, self._sessions.get(profile.name), of=of)

    def _assign_causes(self) -> None:
        groups = []
        for token in self._tokens:
            accounts = {self._profile_label(each): read_account(each.role_arn) for each in token.profiles}
            groups.append(
                TokenGroup(
                    of=token.location.of,
                    accounts=accounts,
                    refusals={of: self._refusals[of] for of in accounts if of in self._refusals},
                    succeeded=frozenset(self._succeeded & accounts.keys()),
                    is_custom_endpoint=bool(self._configuration.sts.endpoint_url),
                )
            )
        assign_causes(self._report, groups, self._refusals)
        for of in (of for group in groups for of in group.accounts):
            refusal = self._refusals.get(of)
            if refusal is not None and refusal.reason == RoleDenied.reason and not self._policy:
                self._report.not_checked(("trust-policy",), refusal.policy_hint, of=of)

    def _examine_web_identity_tokens(self) -> None:
        """Examine the tokens for services outside AWS, of the profiles that have one."""
        for profile in self._configuration.profiles:
            if profile.web_identity_token is not None:
                of, session = self._profile_label(profile), self._sessions.get(profile.name)
                examine_call(profile, session, self._exchanger, self._report, of)
                if not self._is_copied_token:
                    directory = self._configuration.publish.directory
                    examine_token_file(profile, directory, self._report, self._now, of)

    def _examine_pod(self) -> None:
        """Examine what only the pod itself can show: the publish directory, the variables, the running broker."""
        report, configuration = self._report, self._configuration
        if self._is_copied_token:
            report.not_checked(_POD_CHECKS, "The token was given with --token, so this may not be the pod.")
            return
        examine_directory(
            configuration.publish, self._published_roles, report, proc=self._environment.proc, now=self._now
        )
        examine_rivals(self._environment.environ, configuration, report)
        examine_notify(configuration, report)
        cause = next((result.label for result in find_causes(report.results)), "")
        examine_broker(self._running_broker, report, roles=self._published_roles, cause=cause)
