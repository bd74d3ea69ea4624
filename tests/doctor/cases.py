"""The misconfigurations: each changes one thing of a `FaultyPod`, and names what the doctor must report for it."""

from __future__ import annotations

import json
import os
import re
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from msgspec.structs import replace

from sandbox import Misbehaviour
from sandbox.aws import faults
from tests.doctor.faulty_pod import DISCOVERY, HOST, ISSUER, KEYS, STS_HOST
from tests.support.issuer_site import Authority

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.doctor.faulty_pod import FaultyPod

_OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
_NOWHERE_PORT = 9  # discard: nothing listens there
_CHAINED = """
region: eu-west-1
profiles:
  - name: default
    role_arn: {source}
  - name: partner
    role_arn: {partner}
    source_profile: default
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One misconfiguration.

    `check` is the label of the only result that may name it, `text` a part of that result, and `change` the fault.
    `skew_seconds` is the skew that the result must report. A Date header has whole seconds and the request takes time,
    so that it may be up to 5 s more or less.
    """

    name: str
    check: str
    text: str
    change: Callable[[FaultyPod], object]
    is_warning: bool = False
    skew_seconds: int | None = None

    def matches(self, found: str) -> bool:
        """Return whether a result's text is the one of this case."""
        if self.text not in found:
            return False
        if self.skew_seconds is None:
            return True
        reported = re.search(r"\b(\d+) s (?:ahead of|behind) STS's", found)
        return reported is not None and abs(int(reported[1]) - self.skew_seconds) <= 5


def _set(name: str, value: str) -> Callable[[FaultyPod], None]:
    return lambda pod: pod.environ.__setitem__(name, value)


def _unset(name: str) -> Callable[[FaultyPod], object]:
    return lambda pod: pod.environ.pop(name)


def _claims(**claims: Any) -> Callable[[FaultyPod], None]:  # noqa: ANN401 - any claim
    return lambda pod: pod.put_token(pod.sandbox.issuer.mint(**claims))


def _issued(ago: timedelta, *, valid: timedelta | None = None) -> Callable[[FaultyPod], None]:
    """Put a token of this age in place, valid since `valid` ago (default: since its issue)."""

    def issue(pod: FaultyPod) -> None:
        now = datetime.now(UTC)
        pod.put_token(pod.sandbox.issuer.mint(issued_at=now - ago, not_before=now - (ago if valid is None else valid)))

    return issue


def _ago(**duration: float) -> datetime:
    return datetime.now(UTC) - timedelta(**duration)


def _yaml(text: str) -> Callable[[FaultyPod], None]:
    return lambda pod: pod.write_settings(text)


def _notify(keys: str) -> Callable[[FaultyPod], None]:
    """Add one program to notify."""

    def change(pod: FaultyPod) -> None:
        role = pod.environ["AWS_ROLE_ARN"]
        pod.write_settings(f"role_arn: {role}\nnotify:\n- {{{keys}}}\n")

    return change


def _misbehave(mode: Misbehaviour) -> Callable[[FaultyPod], None]:
    return lambda pod: pod.volume.misbehave(mode)


def _directory_for_a_token(pod: FaultyPod) -> None:
    pod.environ["AWS_WEB_IDENTITY_TOKEN_FILE"] = str(pod.volume.directory)


def _fifo_for_a_token(pod: FaultyPod) -> None:
    file = pod.disk / "token"
    os.mkfifo(file)
    pod.environ["AWS_WEB_IDENTITY_TOKEN_FILE"] = str(file)


def _plain_file(pod: FaultyPod, text: str = "") -> None:
    file = pod.disk / "token"
    file.write_text(text or pod.sandbox.issuer.mint())
    pod.environ["AWS_WEB_IDENTITY_TOKEN_FILE"] = str(file)


def _by_sub_path(pod: FaultyPod) -> None:
    _plain_file(pod)
    pod.set_mounts(f"{pod.disk}/token tmpfs", "/dev/shm tmpfs")


def _token_in_the_publish_directory(pod: FaultyPod) -> None:
    pod.volume = pod.sandbox.projected_token(pod.published / "token")
    pod.environ["AWS_WEB_IDENTITY_TOKEN_FILE"] = str(pod.volume.path)


def _shared_processes(pod: FaultyPod) -> None:
    pod.set_mounts("/dev/shm tmpfs")
    (pod.disk / "proc/1").mkdir(parents=True)
    (pod.disk / "proc/1/comm").write_text("pause\n")


def _user_token(pod: FaultyPod) -> None:
    pod.use_new_role("person", subjects=["alice"])
    pod.put_token(pod.sandbox.issuer.mint(sub="alice"))


def _two_accounts(pod: FaultyPod) -> None:
    pod.use_new_role("names", subjects=["system:serviceaccount:demo:other"])
    pod.put_token(pod.sandbox.issuer.mint(sub="system:serviceaccount:demo:other"))


def _clock_off_by(**duration: float) -> Callable[[FaultyPod], None]:
    return lambda pod: setattr(pod, "clock_offset", timedelta(**duration))


def _page(path: str, content: object, *, status: int = 200, **headers: str) -> Callable[[FaultyPod], None]:
    return lambda pod: pod.network.issuer_site.publish(path, content, status=status, **headers)


def _discovery(**changes: str) -> Callable[[FaultyPod], None]:
    def change(pod: FaultyPod) -> None:
        site = pod.network.issuer_site
        site.publish(DISCOVERY, {**site.document(DISCOVERY), **changes})
        pod.sandbox.sts.always(faults.INVALID_IDENTITY_TOKEN)  # the sandbox's STS checks documents less strictly

    return change


def _published_keys(change: Callable[[dict[str, Any]], object]) -> Callable[[FaultyPod], None]:
    def publish(pod: FaultyPod) -> None:
        document = pod.network.issuer_site.document(KEYS)
        for key in document["keys"]:
            change(key)
        pod.network.issuer_site.publish(KEYS, document)

    return publish


def _other_numbers(key: dict[str, Any]) -> None:
    key.update(jwt.algorithms.RSAAlgorithm.to_jwk(_OTHER_KEY.public_key(), as_dict=True))


def _issuer_certificate(**options: Any) -> Callable[[FaultyPod], None]:  # noqa: ANN401 - of Authority.server
    def change(pod: FaultyPod) -> None:
        pod.network.issuer_front.context = pod.network.authority.server(**{"host": HOST, **options})
        pod.sandbox.sts.always(faults.INVALID_IDENTITY_TOKEN)

    return change


def _sts_certificate(**options: Any) -> Callable[[FaultyPod], None]:  # noqa: ANN401 - of Authority.server
    def change(pod: FaultyPod) -> None:
        pod.network.sts_front.context = pod.network.authority.server(**{"host": STS_HOST, **options})

    return change


def _policy(pod: FaultyPod, policy: object, *, role_has_it: bool = True) -> None:
    file = pod.disk / "trust.json"
    file.write_text(policy if isinstance(policy, str) else json.dumps(policy))
    pod.options = replace(pod.options, policy=str(file))
    if role_has_it and isinstance(policy, dict):
        pod.use_new_role("policy", trust_policy=policy)


def _policy_of_another_namespace(pod: FaultyPod) -> None:
    _policy(pod, pod.sandbox.trust_policy(subjects=["system:serviceaccount:other:app"]))


def _policy_of_another_audience(pod: FaultyPod) -> None:
    _policy(pod, pod.sandbox.trust_policy(audience="vault"))


def _policy_of_another_role(pod: FaultyPod) -> None:
    _policy(pod, pod.sandbox.trust_policy(subjects=["system:serviceaccount:other:app"]), role_has_it=False)


def _policy_of_people(pod: FaultyPod) -> None:
    _policy(pod, pod.sandbox.chain_trust("arn:aws:iam::123456789012:root"))


def _policy_that_denies(pod: FaultyPod) -> None:
    policy = pod.sandbox.trust_policy()
    deny = {"Sid": "NotHere", "Effect": "Deny", "Principal": {"Federated": pod.sandbox.provider_arn}}
    policy["Statement"].append({**deny, "Action": "sts:AssumeRoleWithWebIdentity"})
    _policy(pod, policy)


def _direct(**changes: str) -> Callable[[FaultyPod], None]:
    def change(pod: FaultyPod) -> None:
        del pod.environ["HTTPS_PROXY"]
        pod.environ |= changes

    return change


def _no_dns_server(pod: FaultyPod) -> None:
    del pod.environ["HTTPS_PROXY"]

    def silent(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_AGAIN, f"Temporary failure in name resolution ({host}:{port})"[:36])

    pod.resolve = silent


def _endpoint(url: str) -> Callable[[FaultyPod], None]:
    return _set("AWS_ENDPOINT_URL_STS", url)


def _https_to_http(pod: FaultyPod) -> None:
    pod.environ["AWS_ENDPOINT_URL_STS"] = f"https://127.0.0.1:{pod.network.plain.port}"


def _another_authority(pod: FaultyPod) -> Authority:
    folder = pod.disk / "another-ca"
    folder.mkdir()
    return Authority(folder)


def _refusal(line: str) -> Callable[[FaultyPod], None]:
    return lambda pod: setattr(pod.network.proxy, "refusal", line)


def _sts(fault: faults.Fault) -> Callable[[FaultyPod], None]:
    return lambda pod: pod.sandbox.sts.always(fault)


def _role(name: str, **options: Any) -> Callable[[FaultyPod], None]:  # noqa: ANN401 - of Sandbox.create_role
    return lambda pod: pod.use_new_role(name, **options)


def _other_audience_at_the_provider(pod: FaultyPod) -> None:
    """Set the audience `vault` in token, settings and policy, but not at the provider."""
    pod.use_new_role("vault", audience="vault")
    pod.environ["BROKER_AUDIENCE"] = "vault"
    pod.put_token(pod.sandbox.issuer.mint(audience="vault"))


def _other_account(pod: FaultyPod) -> None:
    pod.environ["AWS_ROLE_ARN"] = "arn:aws:iam::210987654321:role/app"


def _unreachable_from_everywhere(pod: FaultyPod) -> None:
    """Make the issuer unreachable, for the pod by its own fault, and for STS."""
    del pod.environ["HTTPS_PROXY"]
    pod.use_plain_sts()
    pod.network.issuer_site.publish(DISCOVERY, b"", status=503)


def _chain(pod: FaultyPod, *, source: dict[str, Any] | None = None, **options: Any) -> None:  # noqa: ANN401 - of chain_trust
    arn = pod.sandbox.create_role("doctor-source", may_assume=["*"], **(source or {}))
    partner = pod.sandbox.create_role("doctor-partner", trust_policy=pod.sandbox.chain_trust(arn, **options))
    pod.write_settings(_CHAINED.format(source=arn, partner=partner))


def _external_id(pod: FaultyPod) -> None:
    _chain(pod, condition={"StringEquals": {"sts:ExternalId": "example-7f3d"}})


def _tags(pod: FaultyPod) -> None:
    _chain(pod, actions=["sts:AssumeRole"])
    with (pod.disk / "broker.yaml").open("a") as file:
        file.write("    tags: {team: blue}\n")


def _source_is_refused(pod: FaultyPod) -> None:
    _chain(pod, source={"subjects": ["system:serviceaccount:other:app"]})


def _chain_and_clock(pod: FaultyPod) -> None:
    _chain(pod)
    pod.clock_offset = timedelta(minutes=20)


def _two_roles_of_one_account(pod: FaultyPod) -> None:
    role = "arn:aws:iam::210987654321:role/"
    pod.write_settings(
        f"region: eu-west-1\nprofiles: [{{name: one, role_arn: '{role}one'}}, {{name: two, role_arn: '{role}two'}}]\n"
    )


def _identity_refused(pod: FaultyPod) -> None:
    refuse = faults.Refuse(code="InvalidClientTokenId", message="The security token included is invalid.", status=403)
    pod.sandbox.sts.always(refuse, action="GetCallerIdentity")


def _directory(path: str) -> Callable[[FaultyPod], None]:
    return _set("BROKER_PUBLISH_DIRECTORY", path)


def _file_for_a_directory(pod: FaultyPod) -> None:
    pod.published.rmdir()
    pod.published.write_text("")


def _dangling_directory(pod: FaultyPod) -> None:
    pod.published.rmdir()
    pod.published.symlink_to("/nowhere/aws")


def _no_directory(pod: FaultyPod) -> None:
    pod.published.rmdir()


def _closed_directory(pod: FaultyPod) -> None:
    pod.published.chmod(0o700)


def _on(kind: str) -> Callable[[FaultyPod], None]:
    return lambda pod: pod.set_mounts(f"{pod.published} {kind}")


def _another_broker(pod: FaultyPod) -> None:
    expiry = (datetime.now(UTC) + timedelta(minutes=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
    (pod.published / "billing.json").write_text(json.dumps({"Version": 1, "Expiration": expiry}))


def _old_credentials_file(pod: FaultyPod) -> None:
    file = pod.disk / "credentials"
    file.write_text("[default]\naws_access_key_id = AKIDOFOLD\n")
    pod.environ["AWS_SHARED_CREDENTIALS_FILE"] = str(file)


SETTINGS = [
    Case(name="no-role", check="settings", text="role_arn (AWS_ROLE_ARN): not set", change=_unset("AWS_ROLE_ARN")),
    Case(name="no-region", check="settings", text="region (AWS_REGION): not set", change=_unset("AWS_REGION")),
    Case(
        name="region-form", check="settings", text="expected the name of a Region", change=_set("AWS_REGION", "Ireland")
    ),
    Case(
        name="unknown-variable",
        check="settings",
        text="BROKER_ROLE: unknown setting (did you mean AWS_ROLE_ARN?)",
        change=_set("BROKER_ROLE", "app"),
    ),
    Case(
        name="unknown-key",
        check="settings",
        text="rolearn: unknown setting (did you mean role_arn?)",
        change=_yaml("rolearn: a\n"),
    ),
    Case(name="no-yaml", check="settings", text="broker.yaml", change=_yaml("profiles: [\n")),
    Case(
        name="partition",
        check="settings",
        text="role_arn is in partition aws-cn",
        change=_set("AWS_ROLE_ARN", "arn:aws-cn:iam::123456789012:role/app"),
    ),
    Case(name="no-bundle", check="settings", text="AWS_CA_BUNDLE", change=_set("AWS_CA_BUNDLE", "/nowhere/ca.pem")),
]
TOKENS = [
    Case(name="no-token", check="token-file", text="No such file", change=_misbehave(Misbehaviour.ABSENT)),
    Case(name="empty-token", check="token-file", text="is empty", change=_misbehave(Misbehaviour.EMPTY)),
    Case(name="garbled-token", check="token-file", text="looks like UTF-16", change=_misbehave(Misbehaviour.GARBLED)),
    Case(name="truncated-token", check="token-file", text="is not a JWT", change=_misbehave(Misbehaviour.TRUNCATED)),
    Case(name="no-iat", check="exchange", text="Missing a required claim: iat", change=_claims(iat=None)),
    Case(name="long-token", check="token-file", text="over 20,000", change=lambda pod: pod.put_token("e" * 20_001)),
    Case(name="directory", check="token-file", text="That is a directory: set AWS_WEB_", change=_directory_for_a_token),
    Case(name="fifo", check="token-file", text="it is a FIFO", change=_fifo_for_a_token),
    Case(name="secrets-token", check="token-file", text="a token of a Secret", change=_claims(exp=None)),
    Case(name="sub-path", check="token-mount", text="by itself (subPath)", change=_by_sub_path),
    Case(name="plain-file", check="token-mount", text="is a plain file", change=_plain_file, is_warning=True),
    Case(
        name="copy-that-expired",
        check="token-mount",
        text="It has expired",
        change=lambda pod: _plain_file(pod, pod.sandbox.issuer.mint(issued_at=_ago(hours=2))),
    ),
    Case(
        name="token-published",
        check="token-secrecy",
        text="in the publish directory",
        change=_token_in_the_publish_directory,
    ),
    Case(
        name="shared-processes",
        check="token-secrecy",
        text="shareProcessNamespace",
        change=_shared_processes,
        is_warning=True,
    ),
    Case(
        name="api-token",
        check="audience",
        text="the token for the Kubernetes API",
        change=_misbehave(Misbehaviour.WRONG_AUDIENCE),
    ),
    Case(name="other-audience", check="audience", text="Set audience: vault", change=_set("BROKER_AUDIENCE", "vault")),
    Case(
        name="user-token",
        check="subject",
        text="alice is not a Kubernetes service account",
        change=_user_token,
        is_warning=True,
    ),
    Case(
        name="two-accounts",
        check="subject",
        text="the kubernetes.io claim names demo/app",
        change=_two_accounts,
        is_warning=True,
    ),
    Case(name="behind", check="clock", text="s behind STS's", change=_clock_off_by(minutes=-10), skew_seconds=600),
    Case(name="ahead", check="clock", text="s ahead of STS's", change=_clock_off_by(minutes=10), skew_seconds=600),
    Case(
        name="token-seems-expired",
        check="clock",
        text="s ahead of STS's",
        change=_clock_off_by(hours=2),
        skew_seconds=7200,
    ),
    Case(
        name="a-little-behind",
        check="clock",
        text="s behind STS's",
        change=_clock_off_by(minutes=-2),
        skew_seconds=120,
        is_warning=True,
    ),
    Case(
        name="expired",
        check="token-life",
        text="check the kubelet's log",
        change=_issued(timedelta(hours=2)),
    ),
    Case(name="not-yet", check="token-life", text="is not valid before", change=_misbehave(Misbehaviour.FUTURE_NBF)),
    Case(
        name="not-rotated",
        check="token-life",
        text="should have been rotated at",
        change=_issued(timedelta(minutes=56)),
        is_warning=True,
    ),
    Case(
        name="issued-in-the-future",
        check="token-life",
        text="in the future",
        change=_issued(timedelta(minutes=-5), valid=timedelta(minutes=5)),
        is_warning=True,
    ),
]
ISSUERS = [
    Case(
        name="in-cluster-issuer",
        check="issuer",
        text="exists only inside the cluster",
        change=_claims(iss="https://kubernetes.default.svc"),
    ),
    Case(
        name="issuer-port",
        check="issuer",
        text="has a port; IAM accepts none",
        change=_claims(iss=f"https://{HOST}:8443"),
    ),
    Case(name="iss-slash", check="issuer", text="ends with a slash", change=_claims(iss=f"{ISSUER}/")),
    Case(name="issuer-http", check="issuer", text="begins with http://", change=_claims(iss=f"http://{HOST}/cluster")),
    Case(
        name="no-discovery",
        check="issuer-documents",
        text="answers 404",
        change=_page(DISCOVERY, b"no", status=404),
    ),
    Case(
        name="login-page",
        check="issuer-documents",
        text="answers 302",
        change=_page(DISCOVERY, b"", status=302, Location="https://login.example/"),
    ),
    Case(name="no-json", check="issuer-documents", text="it is not valid JSON", change=_page(DISCOVERY, b"<html>")),
    Case(
        name="issuer-slash",
        check="issuer-documents",
        text="differ by a trailing slash",
        change=_discovery(issuer=f"{ISSUER}/"),
    ),
    Case(
        name="inner-keys",
        check="issuer-documents",
        text="10.1.2.3 is not a public address",
        change=_discovery(jwks_uri="https://10.1.2.3:6443/openid/v1/jwks"),
    ),
    Case(name="keys-forbidden", check="issuer-documents", text="answers 403", change=_page(KEYS, b"no", status=403)),
    Case(
        name="issuer-certificate",
        check="issuer-documents",
        text="A certificate has expired",
        change=_issuer_certificate(starts=timedelta(days=-9), ends=timedelta(days=-1)),
    ),
    Case(
        name="issuer-of-another-host",
        check="issuer-documents",
        text=f"is not for {HOST}",
        change=_issuer_certificate(host="other.example"),
    ),
    Case(name="no-keys", check="issuer-keys", text="has no keys", change=_page(KEYS, {"keys": []})),
    Case(
        name="private-key",
        check="issuer-keys",
        text="PRIVATE KEY",
        change=_published_keys(lambda key: key.update(d="c2VjcmV0")),
    ),
    Case(
        name="unpublished-key",
        check="signature",
        text="is not among the published keys",
        change=_published_keys(lambda key: key.update(kid="another")),
    ),
    Case(
        name="other-key",
        check="exchange",
        text="The ID Token signature is invalid",
        change=_published_keys(_other_numbers),
    ),
    Case(
        name="policy-of-a-namespace",
        check="trust-policy",
        text=':sub: add "system:serviceaccount:demo:app" to its values',
        change=_policy_of_another_namespace,
    ),
    Case(
        name="policy-of-an-audience",
        check="trust-policy",
        text=":aud: expected vault",
        change=_policy_of_another_audience,
    ),
    Case(
        name="policy-cut",
        check="trust-policy",
        text="invalid JSON at line 1",
        change=lambda pod: _policy(pod, '{"Statement":'),
        is_warning=True,
    ),
    Case(
        name="policy-malformed",
        check="trust-policy",
        text="can't be read",
        change=lambda pod: _policy(pod, '{"Statement": "none"}'),
        is_warning=True,
    ),
    Case(
        name="two-policies",
        check="trust-policy",
        text="has 0 trust policies; expected one",
        change=lambda pod: _policy(pod, '{"terraform_version": "1.9.0", "planned_values": {}}'),
        is_warning=True,
    ),
    Case(
        name="policy-without-a-statement",
        check="trust-policy",
        text="Add a statement for this token: sts-broker trust render",
        change=_policy_of_people,
    ),
    Case(
        name="policy-that-denies",
        check="trust-policy",
        text="In NotHere (line 1): remove the statement",
        change=_policy_that_denies,
    ),
    Case(
        name="policy-of-another-role",
        check="trust-policy",
        text="STS accepts the token anyway: the role doesn't have this policy now",
        change=_policy_of_another_role,
        is_warning=True,
    ),
]
NETWORK_PATHS = [
    Case(
        name="misspelled-region",
        check="region",
        text="Region eu-wset-1 does not exist (did you mean eu-west-1?).",
        change=_direct(AWS_REGION="eu-wset-1"),
    ),
    Case(
        name="misspelled-region-by-proxy",
        check="region",
        text="Region us-esat-1 does not exist (did you mean us-east-1?).",
        change=_set("AWS_REGION", "us-esat-1"),
    ),
    Case(
        name="proxy-down",
        check="sts-proxy",
        text="Connection refused",
        change=_set("HTTPS_PROXY", f"http://127.0.0.1:{_NOWHERE_PORT}"),
    ),
    Case(
        name="proxy-misspelled",
        check="sts-proxy",
        text="The proxy proxy.nowhere.example:3128 (HTTPS_PROXY) cannot be reached",
        change=_set("HTTPS_PROXY", "http://proxy.nowhere.example:3128"),
    ),
    Case(
        name="proxy-form",
        check="sts-proxy",
        text="is not an http:// URL",
        change=_set("HTTPS_PROXY", "https://a.example"),
    ),
    Case(
        name="proxy-wants-a-user",
        check="sts-proxy",
        text="The proxy requires a user",
        change=_refusal("407 Proxy Authentication Required"),
    ),
    Case(name="proxy-forbids", check="sts-proxy", text="allow CONNECT", change=_refusal("403 Forbidden")),
    Case(name="no-dns", check="sts-name", text="allow port 53", change=_no_dns_server),
    Case(name="no-fips", check="sts-name", text="Unset AWS_USE_FIPS", change=_direct(AWS_USE_FIPS_ENDPOINT="true")),
    Case(
        name="no-dual-stack",
        check="sts-name",
        text="Unset AWS_USE_DUALSTACK_ENDPOINT",
        change=_direct(AWS_USE_DUALSTACK_ENDPOINT="true"),
    ),
    Case(
        name="private-dns",
        check="sts-name",
        text="and the private DNS of a VPC endpoint",
        change=_direct(),
    ),
    Case(
        name="no-such-endpoint",
        check="sts-name",
        text="Check AWS_ENDPOINT_URL_STS",
        change=_direct(AWS_ENDPOINT_URL_STS="https://sts.nowhere.example"),
    ),
    Case(
        name="closed-port",
        check="sts-connection",
        text="NetworkPolicy",
        change=_endpoint(f"https://127.0.0.1:{_NOWHERE_PORT}"),
    ),
    Case(
        name="interception",
        check="sts-tls",
        text="not trusted: unable to get local issuer certificate. -> If a proxy",
        change=_unset("AWS_CA_BUNDLE"),  # the issuer's certificate is then not trusted either
    ),
    Case(
        name="bundle-of-another-ca",
        check="sts-tls",
        text="(AWS_CA_BUNDLE), or unset that setting",
        change=lambda pod: pod.environ.update(AWS_CA_BUNDLE=str(_another_authority(pod).bundle)),
    ),
    Case(
        name="sts-of-another-host",
        check="sts-tls",
        text=f"not valid for '{STS_HOST}'. It is for other.example, issued by CN=Test Intermediate. -> Another server",
        change=_sts_certificate(host="other.example"),
    ),
    Case(
        name="sts-certificate",
        check="sts-tls",
        text="certificate has expired",
        change=_sts_certificate(starts=timedelta(days=-9), ends=timedelta(days=-1)),
    ),
    Case(name="self-signed", check="sts-tls", text="self-signed", change=_sts_certificate(is_self_signed=True)),
    Case(
        name="no-tls-behind-the-proxy",
        check="sts-tls",
        text="it must be STS, with TLS 1.2 or 1.3",
        change=lambda pod: pod.network.proxy.routes.update({f"{STS_HOST}:443": pod.network.plain.port}),
    ),
    Case(
        name="tls-where-there-should-be-none",
        check="sts-tls",
        text="check whether it must be https://",
        change=lambda pod: pod.environ.update(AWS_ENDPOINT_URL_STS=f"http://127.0.0.1:{pod.network.sts_front.port}"),
    ),
    Case(name="no-tls", check="sts-tls", text="The TLS connection to https://", change=_https_to_http),
]
EXCHANGES = [
    Case(
        name="no-such-role",
        check="exchange",
        text="The role does not exist, or its trust policy",
        change=_set("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/doctor-nobody"),
    ),
    Case(
        name="trust-of-another-namespace",
        check="exchange",
        text=":sub = system:serviceaccount:demo:app",
        change=_role("namespace", subjects=["system:serviceaccount:other:app"]),
    ),
    Case(
        name="no-provider", check="exchange", text="Create an IAM OIDC provider in account 2109", change=_other_account
    ),
    Case(
        name="providers-audience",
        check="exchange",
        text="Add vault to the client IDs",
        change=_other_audience_at_the_provider,
    ),
    Case(
        name="long-session",
        check="exchange",
        text="Lower duration_seconds (BROKER_DURATION_SECONDS) from 7200",
        change=_set("BROKER_DURATION_SECONDS", "7200"),
    ),
    Case(name="throttled", check="exchange", text="Rate exceeded", change=_sts(faults.THROTTLING)),
    Case(name="region-off", check="exchange", text="Activate STS for Region", change=_sts(faults.REGION_DISABLED)),
    Case(
        name="no-sts",
        check="exchange",
        text="is not STS",
        change=_sts(faults.Broken(status=200, body=faults.Body.HTML)),
    ),
    Case(name="sts-down", check="exchange", text="InternalFailure", change=_sts(faults.INTERNAL_FAILURE)),
    Case(
        name="session-policy",
        check="exchange",
        text="Fix session_policy",
        change=_sts(faults.MALFORMED_POLICY_DOCUMENT),
    ),
    Case(
        name="packed-policy",
        check="exchange",
        text="Shorten session_policy",
        change=_sts(faults.PACKED_POLICY_TOO_LARGE),
    ),
    Case(
        name="blank-key",
        check="exchange",
        text="missing, blank or malformed",
        change=_sts(faults.Blank(field=faults.Field.SECRET_ACCESS_KEY)),
    ),
    Case(name="echo", check="exchange", text="is not STS", change=_sts(faults.Spoiled.ECHO)),
    Case(name="cut-off", check="exchange", text="is not STS", change=_sts(faults.Spoiled.TRUNCATED_XML)),
    Case(name="other-role", check="exchange", text="somebody-else", change=_sts(faults.Spoiled.WRONG_ROLE)),
    Case(
        name="issuer-gone",
        check="exchange",
        text="must be public and respond within 5 s",
        change=_unreachable_from_everywhere,
    ),
    Case(
        name="external-id", check="exchange (partner)", text="set external_id of profile partner", change=_external_id
    ),
    Case(name="tags", check="exchange (partner)", text="Allow sts:TagSession", change=_tags),
    Case(name="source", check="exchange (default)", text=":sub = system", change=_source_is_refused),
    Case(
        name="two-roles", check="exchange (one)", text="Create an IAM OIDC provider", change=_two_roles_of_one_account
    ),
    Case(name="chain-and-clock", check="clock", text="s ahead of STS's", change=_chain_and_clock, skew_seconds=1200),
    Case(name="identity", check="identity", text="InvalidClientTokenId", change=_identity_refused),
    Case(
        name="short-session",
        check="session",
        text="Set duration_seconds",
        change=_set("BROKER_DURATION_SECONDS", "900"),
        is_warning=True,
    ),
]
PODS = [
    Case(name="no-volume", check="publish-directory", text="can't be created", change=_directory("/nowhere/at/all")),
    Case(name="file", check="publish-directory", text="is not a directory", change=_file_for_a_directory),
    Case(name="dangling", check="publish-directory", text="is not a directory", change=_dangling_directory),
    Case(
        name="proc",
        check="publish-directory",
        text="can't write a file with mode 0640 in /proc",
        change=_directory("/proc"),
    ),
    Case(
        name="made-by-the-broker",
        check="publish-directory",
        text="other containers will not see it",
        change=_no_directory,
        is_warning=True,
    ),
    Case(name="closed", check="publish-directory", text="Set fsGroup", change=_closed_directory, is_warning=True),
    Case(name="disk", check="publish-volume", text="on a disk (ext4)", change=_on("ext4"), is_warning=True),
    Case(name="overlay", check="publish-volume", text="is not on a volume", change=_on("overlay"), is_warning=True),
    Case(
        name="root", check="publish-volume", text="(overlay at /)", change=lambda pod: pod.set_mounts(), is_warning=True
    ),
    Case(name="another-broker", check="publish-neighbours", text="billing", change=_another_broker, is_warning=True),
    Case(
        name="keys",
        check="hidden",
        text="AWS_ACCESS_KEY_ID",
        change=_set("AWS_ACCESS_KEY_ID", "AKIDOFOLD"),
        is_warning=True,
    ),
    Case(name="profile", check="hidden", text="AWS_PROFILE", change=_set("AWS_PROFILE", "old"), is_warning=True),
    Case(
        name="pod-identity",
        check="hidden",
        text="Pod Identity",
        change=_set("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1/credentials"),
        is_warning=True,
    ),
    Case(
        name="old-file",
        check="hidden",
        text="AWS_SHARED_CREDENTIALS_FILE configures credentials",
        change=_old_credentials_file,
        is_warning=True,
    ),
    Case(
        name="not-listening",
        check="notify (http://127.0.0.1:9/reload)",
        text="Nothing can connect to http://127.0.0.1:9/reload: Connection refused. -> Set url to the port",
        change=_notify("url: 'http://127.0.0.1:9/reload'"),
        is_warning=True,
    ),
    Case(
        name="no-bearer",
        check="notify (http://127.0.0.1:9/)",
        text="Cannot read the bearer_file /none: No such file",
        change=_notify("url: 'http://127.0.0.1:9/', bearer_file: /none"),
        is_warning=True,
    ),
    Case(
        name="no-process",
        check="notify (process:none-such)",
        text="No process of another container has the name none-such. -> Set shareProcessNamespace: true",
        change=_notify("signal: HUP, process: none-such"),
        is_warning=True,
    ),
    Case(
        name="no-pid-file",
        check="notify (pid_file:/none.pid)",
        text="Cannot read the pid_file /none.pid: No such file",
        change=_notify("signal: HUP, pid_file: /none.pid"),
        is_warning=True,
    ),
]
ALL = [*SETTINGS, *TOKENS, *ISSUERS, *NETWORK_PATHS, *EXCHANGES, *PODS]
