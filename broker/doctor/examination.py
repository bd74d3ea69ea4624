"""Run the checks of `sts-broker doctor` on one configuration, in order, and skip those that a fault rules out.

Rules: what a fault keeps from being looked at is told to be unchecked, with the fault's name. No port is bound, STS is
asked once for each profile, nothing is left behind. Where the container's memory is short, botocore is not loaded, and
what the running broker says of STS is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from broker.core.errors import RoleDenied
from broker.doctor.causes import Refusal, TokenGroup, settle
from broker.doctor.checks import POLICY_OF_IAM, Outcome, causes
from broker.doctor.examiners.bound_token import TokenPlace, examine_claims, examine_file
from broker.doctor.examiners.connection_steps import resolve as resolve_by_system
from broker.doctor.examiners.container import ask_broker, examine_broker, examine_memory, yield_memory
from broker.doctor.examiners.exchange import OF_SESSION, Exchanges
from broker.doctor.examiners.issuer import OF_ISSUER, examine_issuer
from broker.doctor.examiners.network import STEPS, PathToSts, find_cause
from broker.doctor.examiners.node_clock import examine_clock
from broker.doctor.examiners.publish_directory import OF_DIRECTORY, examine_directory
from broker.doctor.examiners.trust_policy import RolesInIam, examine_trust
from broker.runtime.lazy_imports import asking
from broker.runtime.rival_credentials import rivals_in_pod

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from broker.core.model import BoundToken, Configuration, ProfileSpec, SourceSession
    from broker.doctor.checks import Sheet
    from broker.doctor.environment import Surroundings
    from broker.sts.exchange import StsExchanger

_UNFIT: Final = ("token-file", "audience", "token-life")
_IN_POD: Final = (*OF_DIRECTORY, "hidden", "broker")


@dataclass(slots=True, kw_only=True)
class _Token:
    """A token that profiles share. `value` None: there is none; `in_the_way`: why it cannot be sent, as a label."""

    place: TokenPlace
    profiles: list[ProfileSpec]
    value: BoundToken | None = None
    in_the_way: str = ""


class Examination:
    """Looks once. `policy` is asked what it says to the token of the profile `asked`; `has_token`: one was handed in.

    `published` has the role of each profile that the settings publish, not only of those that are looked at.
    """

    def __init__(  # noqa: PLR0913 - what was asked, by keyword
        self,
        configuration: Configuration,
        around: Surroundings,
        sheet: Sheet,
        *,
        policy: str,
        asked: str,
        has_token: bool,
        published: Mapping[str, str],
    ) -> None:
        self._configuration = configuration
        self._around = around
        self._sheet = sheet
        self._policy = policy
        self._asked = asked
        self._has_token = has_token
        self._published = published
        self._beside = ask_broker(configuration)
        self._now = around.clock.read().now
        self._exchanger: StsExchanger | None = None
        self._tokens: list[_Token] = []
        self._unreached: dict[str, str] = {}
        self._refusals: dict[str, Refusal] = {}
        self._served: set[str] = set()
        self._sessions: dict[str, SourceSession] = {}

    def make(self) -> None:
        """Look at one thing after another."""
        profiles, sheet = self._configuration.profiles, self._sheet
        told = ", ".join(f"{profile.name} for {profile.role_arn}" for profile in profiles)
        sheet.ok("settings", f"{len(profiles)} profile{'s' if len(profiles) > 1 else ''}: {told}.")
        yield_memory(self._around.proc)
        is_affordable = examine_memory(sheet, self._around.cgroup)
        self._read_tokens()
        self._walk(is_affordable=is_affordable)
        for token in self._tokens:
            self._examine_token(token)
        if is_affordable:
            self._exchange()
        else:
            self._hear()
        if self._policy == POLICY_OF_IAM:
            self._ask_iam()
        self._settle()
        self._examine_pod()

    def _of(self, profile: ProfileSpec) -> str:
        """Return the label of a profile's lines: none is needed where there is one profile."""
        return profile.name if len(self._configuration.profiles) > 1 else ""

    def _read_tokens(self) -> None:
        shared: dict[tuple[str, str], list[ProfileSpec]] = {}
        for profile in self._configuration.profiles:
            if profile.chain is None:
                shared.setdefault((profile.token_file, profile.audience), []).append(profile)
        for (path, audience), profiles in shared.items():
            place = TokenPlace(
                path=path,
                audience=audience,
                publish_directory=self._configuration.publish.directory,
                is_copy=self._has_token,
                of=profiles[0].name if len(shared) > 1 else "",
                ask=self._ask(),
            )
            value = examine_file(place, self._sheet, self._around.proc)
            self._tokens.append(_Token(place=place, profiles=profiles, value=value))

    def _ask(self) -> Callable[[str], BoundToken] | None:
        """Return what asks the Kubernetes API for a token, None where tokens stand in files."""
        spec = self._configuration.token_request
        return None if spec is None or self._has_token else asking(spec)

    def _walk(self, *, is_affordable: bool) -> None:
        """Go the way to STS, and correct the time by its."""
        skew = self._beside.clock_skew
        if not is_affordable:
            self._sheet.not_checked(STEPS, "", because="memory")
        else:
            from broker.sts.exchange import StsExchanger  # noqa: PLC0415 - botocore, not to be had where memory is short
            from broker.sts.network_path import way_of  # noqa: PLC0415 - likewise

            self._exchanger = StsExchanger(self._configuration.sts, self._around.clock)
            regions = dict.fromkeys(profile.region for profile in self._configuration.profiles)
            for region in regions:
                of = region if len(regions) > 1 else ""
                resolve = self._around.resolve or resolve_by_system
                reached = PathToSts(
                    way_of(self._exchanger.client(region, signed=False), self._configuration.sts),
                    self._configuration.sts,
                    region,
                    self._sheet,
                    self._around.clock,
                    resolve=resolve,
                    of=of,
                ).examine()
                skew = reached.skew or skew
                if not reached.is_reached:
                    self._unreached[region] = find_cause(self._sheet, of)
        examine_clock(skew, self._sheet)
        if skew is not None:
            self._now += skew

    def _examine_token(self, token: _Token) -> None:
        """Look at a token's claims, its issuer, and the policy that was handed in."""
        place, sheet = token.place, self._sheet
        if token.value is None:
            token.in_the_way = f"token-file ({place.of})" if place.of else "token-file"
            sheet.not_checked(OF_ISSUER, "", because=token.in_the_way, of=place.of)
        elif not examine_claims(token.value, place, sheet, self._now):
            lines = (sheet.find(check, place.of, Outcome.FAILED, Outcome.FOLLOWS) for check in _UNFIT)
            token.in_the_way = next((line.because or line.label for line in lines if line), "")
        if token.value is not None:
            examine_issuer(
                token.value,
                sheet,
                environ=self._around.environ,
                ca_bundle=self._configuration.sts.ca_bundle,
                now=self._now,
                of=place.of,
            )
        for profile in token.profiles:
            if self._policy not in ("", POLICY_OF_IAM) and profile.name == self._asked:
                self._examine_trust(token, profile)

    def _examine_trust(self, token: _Token, profile: ProfileSpec) -> None:
        of = self._of(profile)
        if token.value is None:
            self._sheet.not_checked(("trust-policy",), "", because=token.in_the_way, of=of)
        else:
            examine_trust(self._policy, token.value, profile, self._sheet, of=of)

    def _exchange(self) -> None:
        """Ask STS for each profile, sources before what is chained to them."""
        assert self._exchanger is not None
        exchanges = Exchanges(self._exchanger, self._configuration.sts, self._sheet, self._around.clock)
        by_name = {profile.name: token for token in self._tokens for profile in token.profiles}
        waiting = list(self._configuration.profiles)
        done: set[str] = set()
        while waiting:
            for profile in [each for each in waiting if each.chain is None or each.chain.source in done]:
                self._exchange_one(exchanges, profile, by_name.get(profile.name))
                waiting.remove(profile)
                done.add(profile.name)
        by_label = {profile.name: self._of(profile) for profile in self._configuration.profiles}
        self._refusals = {
            by_label[name]: Refusal(reason=error.reason, said=error.message) for name, error in exchanges.faults.items()
        }
        self._served = {by_label[name] for name in exchanges.sessions}
        self._sessions = exchanges.sessions

    def _exchange_one(self, exchanges: Exchanges, profile: ProfileSpec, token: _Token | None) -> None:
        of = self._of(profile)
        if profile.chain is not None:
            session = exchanges.sessions.get(profile.chain.source)
            in_the_way = self._unreached.get(profile.region, "")
            because = in_the_way or f"exchange ({profile.chain.source})"
            exchanges.make(profile, of, None if in_the_way else session, because)
            return
        assert token is not None
        in_the_way = token.in_the_way or self._unreached.get(profile.region, "")
        exchanges.make(profile, of, None if in_the_way else token.value, in_the_way)

    def _hear(self) -> None:
        """Take what the running broker says of STS in place of an exchange of our own."""
        for profile in self._configuration.profiles:
            of, sheet, fault = self._of(profile), self._sheet, self._beside.fault_of(profile.name)
            sheet.not_checked(OF_SESSION[1:], "", because="memory", of=of)
            if fault is not None and self._beside.is_of_exchange(fault):
                refusal = Refusal(reason=str(fault.get("reason")), said=str(fault.get("message")))
                self._refusals[of] = refusal
                said = f"The running broker says: {refusal.said}"
                sheet.failed("exchange", said, str(fault.get("remedy") or ""), of=of)
            elif fault is None and self._beside.serves(profile.name):
                self._served.add(of)
                sheet.ok("exchange", "The running broker has credentials, and no fault.", of=of)
            else:
                sheet.not_checked(OF_SESSION[:1], "", because="memory", of=of)

    def _ask_iam(self) -> None:
        """Look at the trust policy of each role that a token is sent for, as IAM has it."""
        sheet = self._sheet
        for profile in self._configuration.profiles:
            if profile.chain is not None:
                found = "The role is chained: what its policy says to another role is not judged here."
                sheet.not_checked(("trust-policy",), found, of=self._of(profile))
        if self._exchanger is None:
            for token in self._tokens:
                for profile in token.profiles:
                    sheet.not_checked(("trust-policy",), "", because="memory", of=self._of(profile))
            return
        roles = RolesInIam(self._configuration.sts, sheet)
        for token in self._tokens:
            for profile in token.profiles:
                of = self._of(profile)
                if token.value is None:
                    sheet.not_checked(("trust-policy",), "", because=token.in_the_way, of=of)
                else:
                    roles.examine(token.value, profile, self._sessions.get(profile.name), of=of)

    def _settle(self) -> None:
        groups = [
            TokenGroup(
                of=token.place.of,
                accounts={self._of(profile): profile.role_arn.split(":")[4] for profile in token.profiles},
                refusals={
                    of: refusal
                    for profile in token.profiles
                    if (refusal := self._refusals.get(of := self._of(profile))) is not None
                },
                served=frozenset(self._served & {self._of(profile) for profile in token.profiles}),
            )
            for token in self._tokens
        ]
        settle(self._sheet, groups, self._refusals)
        with_token = {self._of(profile) for token in self._tokens for profile in token.profiles}
        for of, refusal in self._refusals.items():
            if refusal.reason == RoleDenied.reason and of in with_token and not self._policy:
                how = "--policy iam says which condition, where the shell may read the role in IAM, else --policy FILE."
                self._sheet.not_checked(("trust-policy",), how, of=of)

    def _examine_pod(self) -> None:
        """Look at what is in the pod alone: the directory, the environment, the running broker."""
        sheet, configuration = self._sheet, self._configuration
        if self._has_token:
            sheet.not_checked(_IN_POD, "A token was handed in: this need not be the pod.")
            return
        examine_directory(configuration.publish, self._published, sheet, proc=self._around.proc, now=self._now)
        endpoint = f"http://{configuration.endpoint_host}:{configuration.endpoint_port}"
        rivals = list(rivals_in_pod(self._around.environ, endpoint=endpoint, directory=configuration.publish.directory))
        if rivals:
            told = " ".join(f"{rival.name} {rival.why}" for rival in rivals)
            remedies = [f"{rival.name}: {rival.remedy}" for rival in rivals] if len(rivals) > 1 else [rivals[0].remedy]
            sheet.warning("hidden", told, " ".join(remedies))
        else:
            sheet.ok("hidden", "Nothing in this container's environment hides the broker from SDKs.")
        cause = next((line.label for line in causes(sheet.lines)), "")
        examine_broker(self._beside, sheet, roles=self._published, cause=cause)
