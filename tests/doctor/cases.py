"""What can be wrong with a pod: one thing each, done to a Ward, and what the doctor has to name as the cause."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from sandbox import Misbehaviour
from sandbox.aws import faults
from tests.doctor.faulty_pod import DISCOVERY, HOST, ISSUER, KEYS, STS_HOST
from tests.support.issuer_site import Authority

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.doctor.faulty_pod import Ward

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
    """One misconfiguration: the label of its line, a part of what is said, and whether it is a warning only."""

    name: str
    check: str
    said: str
    do: Callable[[Ward], object]
    is_warning: bool = False


def _set(name: str, value: str) -> Callable[[Ward], None]:
    return lambda ward: ward.environ.__setitem__(name, value)


def _unset(name: str) -> Callable[[Ward], object]:
    return lambda ward: ward.environ.pop(name)


def _claims(**claims: Any) -> Callable[[Ward], None]:  # noqa: ANN401 - any claim
    return lambda ward: ward.token(ward.box.issuer.mint(**claims))


def _issued(ago: timedelta, *, valid: timedelta | None = None) -> Callable[[Ward], None]:
    """Put a token of this age in place; `valid`: since when, if not since then."""

    def issue(ward: Ward) -> None:
        now = datetime.now(UTC)
        ward.token(ward.box.issuer.mint(issued_at=now - ago, not_before=now - (ago if valid is None else valid)))

    return issue


def _ago(**duration: float) -> datetime:
    return datetime.now(UTC) - timedelta(**duration)


def _yaml(text: str) -> Callable[[Ward], None]:
    return lambda ward: ward.settings(text)


def _misbehave(mode: Misbehaviour) -> Callable[[Ward], None]:
    return lambda ward: ward.volume.misbehave(mode)


def _directory_for_a_token(ward: Ward) -> None:
    ward.environ["AWS_WEB_IDENTITY_TOKEN_FILE"] = str(ward.volume.directory)


def _plain_file(ward: Ward, text: str = "") -> None:
    file = ward.disk / "token"
    file.write_text(text or ward.box.issuer.mint())
    ward.environ["AWS_WEB_IDENTITY_TOKEN_FILE"] = str(file)


def _by_sub_path(ward: Ward) -> None:
    _plain_file(ward)
    ward.mounts(f"{ward.disk}/token tmpfs", "/dev/shm tmpfs")


def _token_in_the_publish_directory(ward: Ward) -> None:
    ward.volume = ward.box.projected_token(ward.published / "token")
    ward.environ["AWS_WEB_IDENTITY_TOKEN_FILE"] = str(ward.volume.path)


def _shared_processes(ward: Ward) -> None:
    ward.mounts("/dev/shm tmpfs")
    (ward.disk / "proc/1").mkdir(parents=True)
    (ward.disk / "proc/1/comm").write_text("pause\n")


def _person(ward: Ward) -> None:
    ward.trust("person", subjects=["alice"])
    ward.token(ward.box.issuer.mint(sub="alice"))


def _two_names(ward: Ward) -> None:
    ward.trust("names", subjects=["system:serviceaccount:demo:other"])
    ward.token(ward.box.issuer.mint(sub="system:serviceaccount:demo:other"))


def _off_by(**duration: float) -> Callable[[Ward], None]:
    return lambda ward: setattr(ward, "off_by", timedelta(**duration))


def _page(path: str, content: object, *, status: int = 200, **headers: str) -> Callable[[Ward], None]:
    return lambda ward: ward.hospital.house.publish(path, content, status=status, **headers)


def _discovery(**changes: str) -> Callable[[Ward], None]:
    def change(ward: Ward) -> None:
        house = ward.hospital.house
        house.publish(DISCOVERY, {**house.document(DISCOVERY), **changes})
        ward.box.sts.always(faults.INVALID_IDENTITY_TOKEN)  # the sandbox's STS is not as strict with documents

    return change


def _published_keys(change: Callable[[dict[str, Any]], object]) -> Callable[[Ward], None]:
    def publish(ward: Ward) -> None:
        document = ward.hospital.house.document(KEYS)
        for key in document["keys"]:
            change(key)
        ward.hospital.house.publish(KEYS, document)

    return publish


def _other_numbers(key: dict[str, Any]) -> None:
    key.update(jwt.algorithms.RSAAlgorithm.to_jwk(_OTHER_KEY.public_key(), as_dict=True))


def _issuer_certificate(**options: Any) -> Callable[[Ward], None]:  # noqa: ANN401 - of Authority.server
    def change(ward: Ward) -> None:
        ward.hospital.issuer_front.context = ward.hospital.authority.server(**{"host": HOST, **options})
        ward.box.sts.always(faults.INVALID_IDENTITY_TOKEN)

    return change


def _sts_certificate(**options: Any) -> Callable[[Ward], None]:  # noqa: ANN401 - of Authority.server
    def change(ward: Ward) -> None:
        ward.hospital.sts_front.context = ward.hospital.authority.server(**{"host": STS_HOST, **options})

    return change


def _policy(ward: Ward, policy: object, *, role_has_it: bool = True) -> None:
    file = ward.disk / "trust.json"
    file.write_text(policy if isinstance(policy, str) else json.dumps(policy))
    ward.question = replace(ward.question, policy=str(file))
    if role_has_it and isinstance(policy, dict):
        ward.trust("policy", trust_policy=policy)


def _policy_of_another_namespace(ward: Ward) -> None:
    _policy(ward, ward.box.trust_policy(subjects=["system:serviceaccount:other:app"]))


def _policy_of_another_audience(ward: Ward) -> None:
    _policy(ward, ward.box.trust_policy(audience="vault"))


def _policy_of_another_role(ward: Ward) -> None:
    _policy(ward, ward.box.trust_policy(subjects=["system:serviceaccount:other:app"]), role_has_it=False)


def _policy_of_people(ward: Ward) -> None:
    _policy(ward, ward.box.chain_trust("arn:aws:iam::123456789012:root"))


def _policy_that_denies(ward: Ward) -> None:
    policy = ward.box.trust_policy()
    deny = {"Sid": "NotHere", "Effect": "Deny", "Principal": {"Federated": ward.box.provider_arn}}
    policy["Statement"].append({**deny, "Action": "sts:AssumeRoleWithWebIdentity"})
    _policy(ward, policy)


def _direct(**changes: str) -> Callable[[Ward], None]:
    def change(ward: Ward) -> None:
        del ward.environ["HTTPS_PROXY"]
        ward.environ |= changes

    return change


def _no_dns_server(ward: Ward) -> None:
    del ward.environ["HTTPS_PROXY"]

    def silent(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_AGAIN, f"Temporary failure in name resolution ({host}:{port})"[:36])

    ward.resolve = silent


def _endpoint(url: str) -> Callable[[Ward], None]:
    return _set("AWS_ENDPOINT_URL_STS", url)


def _https_to_http(ward: Ward) -> None:
    ward.environ["AWS_ENDPOINT_URL_STS"] = f"https://127.0.0.1:{ward.hospital.plain.port}"


def _another_authority(ward: Ward) -> Authority:
    folder = ward.disk / "another-ca"
    folder.mkdir()
    return Authority(folder)


def _refusal(line: str) -> Callable[[Ward], None]:
    return lambda ward: setattr(ward.hospital.proxy, "refusal", line)


def _sts(fault: faults.Fault) -> Callable[[Ward], None]:
    return lambda ward: ward.box.sts.always(fault)


def _role(name: str, **options: Any) -> Callable[[Ward], None]:  # noqa: ANN401 - of Sandbox.create_role
    return lambda ward: ward.trust(name, **options)


def _other_audience_at_the_provider(ward: Ward) -> None:
    """Let token, settings and policy say `vault`, and the provider not."""
    ward.trust("vault", audience="vault")
    ward.environ["BROKER_AUDIENCE"] = "vault"
    ward.token(ward.box.issuer.mint(audience="vault"))


def _other_account(ward: Ward) -> None:
    ward.environ["AWS_ROLE_ARN"] = "arn:aws:iam::210987654321:role/app"


def _unreachable_from_everywhere(ward: Ward) -> None:
    """Let the issuer be out of reach, for the pod by its own fault, and for STS."""
    del ward.environ["HTTPS_PROXY"]
    ward.go_direct()
    ward.hospital.house.publish(DISCOVERY, b"", status=503)


def _chain(ward: Ward, *, source: dict[str, Any] | None = None, **options: Any) -> None:  # noqa: ANN401 - of chain_trust
    arn = ward.box.create_role("doctor-source", may_assume=["*"], **(source or {}))
    partner = ward.box.create_role("doctor-partner", trust_policy=ward.box.chain_trust(arn, **options))
    ward.settings(_CHAINED.format(source=arn, partner=partner))


def _external_id(ward: Ward) -> None:
    _chain(ward, condition={"StringEquals": {"sts:ExternalId": "example-7f3d"}})


def _tags(ward: Ward) -> None:
    _chain(ward, actions=["sts:AssumeRole"])
    with (ward.disk / "broker.yaml").open("a") as file:
        file.write("    tags: {team: blue}\n")


def _source_is_refused(ward: Ward) -> None:
    _chain(ward, source={"subjects": ["system:serviceaccount:other:app"]})


def _chain_and_clock(ward: Ward) -> None:
    _chain(ward)
    ward.off_by = timedelta(minutes=20)


def _two_roles_of_one_account(ward: Ward) -> None:
    role = "arn:aws:iam::210987654321:role/"
    ward.settings(
        f"region: eu-west-1\nprofiles: [{{name: one, role_arn: '{role}one'}}, {{name: two, role_arn: '{role}two'}}]\n"
    )


def _identity_refused(ward: Ward) -> None:
    refuse = faults.Refuse(code="InvalidClientTokenId", message="The security token included is invalid.", status=403)
    ward.box.sts.always(refuse, action="GetCallerIdentity")


def _directory(path: str) -> Callable[[Ward], None]:
    return _set("BROKER_PUBLISH_DIRECTORY", path)


def _file_for_a_directory(ward: Ward) -> None:
    ward.published.rmdir()
    ward.published.write_text("")


def _dangling_directory(ward: Ward) -> None:
    ward.published.rmdir()
    ward.published.symlink_to("/nowhere/aws")


def _no_directory(ward: Ward) -> None:
    ward.published.rmdir()


def _closed_directory(ward: Ward) -> None:
    ward.published.chmod(0o700)


def _on(kind: str) -> Callable[[Ward], None]:
    return lambda ward: ward.mounts(f"{ward.published} {kind}")


def _another_broker(ward: Ward) -> None:
    expiry = (datetime.now(UTC) + timedelta(minutes=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
    (ward.published / "billing.json").write_text(json.dumps({"Version": 1, "Expiration": expiry}))


def _old_credentials_file(ward: Ward) -> None:
    file = ward.disk / "credentials"
    file.write_text("[default]\naws_access_key_id = AKIDOFOLD\n")
    ward.environ["AWS_SHARED_CREDENTIALS_FILE"] = str(file)


SETTINGS = [
    Case(name="no-role", check="settings", said="role_arn (AWS_ROLE_ARN): not set", do=_unset("AWS_ROLE_ARN")),
    Case(name="no-region", check="settings", said="region (AWS_REGION): not set", do=_unset("AWS_REGION")),
    Case(name="region-form", check="settings", said="expected the name of a Region", do=_set("AWS_REGION", "Ireland")),
    Case(
        name="unknown-variable",
        check="settings",
        said="BROKER_ROLE: unknown setting (did you mean AWS_ROLE_ARN?)",
        do=_set("BROKER_ROLE", "app"),
    ),
    Case(
        name="unknown-key",
        check="settings",
        said="rolearn: unknown setting (did you mean role_arn?)",
        do=_yaml("rolearn: a\n"),
    ),
    Case(name="no-yaml", check="settings", said="broker.yaml", do=_yaml("profiles: [\n")),
    Case(
        name="partition",
        check="settings",
        said="role_arn is in partition aws-cn",
        do=_set("AWS_ROLE_ARN", "arn:aws-cn:iam::123456789012:role/app"),
    ),
    Case(name="no-bundle", check="settings", said="AWS_CA_BUNDLE", do=_set("AWS_CA_BUNDLE", "/nowhere/ca.pem")),
]
TOKENS = [
    Case(name="no-token", check="token-file", said="No such file", do=_misbehave(Misbehaviour.ABSENT)),
    Case(name="empty-token", check="token-file", said="is empty", do=_misbehave(Misbehaviour.EMPTY)),
    Case(name="garbled-token", check="token-file", said="is no JWT", do=_misbehave(Misbehaviour.GARBLED)),
    Case(name="truncated-token", check="token-file", said="is no JWT", do=_misbehave(Misbehaviour.TRUNCATED)),
    Case(name="no-iat", check="exchange", said="Missing a required claim: iat", do=_claims(iat=None)),
    Case(name="long-token", check="token-file", said="over 20,000", do=lambda ward: ward.token("e" * 20_001)),
    Case(name="directory", check="token-file", said="That is a directory: set AWS_WEB_", do=_directory_for_a_token),
    Case(name="secrets-token", check="token-file", said="a token of a Secret", do=_claims(exp=None)),
    Case(name="sub-path", check="token-mount", said="by itself (subPath)", do=_by_sub_path),
    Case(name="plain-file", check="token-mount", said="a plain file", do=_plain_file, is_warning=True),
    Case(
        name="copy-that-expired",
        check="token-mount",
        said="It has expired",
        do=lambda ward: _plain_file(ward, ward.box.issuer.mint(issued_at=_ago(hours=2))),
    ),
    Case(
        name="token-published",
        check="token-secrecy",
        said="in the publish directory",
        do=_token_in_the_publish_directory,
    ),
    Case(
        name="shared-processes",
        check="token-secrecy",
        said="shareProcessNamespace",
        do=_shared_processes,
        is_warning=True,
    ),
    Case(
        name="api-token",
        check="audience",
        said="the token for the Kubernetes API",
        do=_misbehave(Misbehaviour.WRONG_AUDIENCE),
    ),
    Case(name="other-audience", check="audience", said="Set audience: vault", do=_set("BROKER_AUDIENCE", "vault")),
    Case(name="person", check="subject", said="alice is no service account", do=_person, is_warning=True),
    Case(
        name="two-names",
        check="subject",
        said="kubernetes.io says demo/app",
        do=_two_names,
        is_warning=True,
    ),
    Case(name="behind", check="clock", said="600 s behind STS's", do=_off_by(minutes=-10)),
    Case(name="ahead", check="clock", said="ahead of STS's", do=_off_by(minutes=10)),
    Case(name="token-seems-expired", check="clock", said="7200 s ahead of", do=_off_by(hours=2)),
    Case(name="a-little-behind", check="clock", said="120 s behind STS's", do=_off_by(minutes=-2), is_warning=True),
    Case(
        name="expired",
        check="token-life",
        said="look at its log",
        do=_issued(timedelta(hours=2)),
    ),
    Case(name="not-yet", check="token-life", said="is not valid before", do=_misbehave(Misbehaviour.FUTURE_NBF)),
    Case(
        name="not-rotated",
        check="token-life",
        said="should have been rotated at",
        do=_issued(timedelta(minutes=56)),
        is_warning=True,
    ),
    Case(
        name="issued-in-the-future",
        check="token-life",
        said="from now",
        do=_issued(timedelta(minutes=-5), valid=timedelta(minutes=5)),
        is_warning=True,
    ),
]
ISSUERS = [
    Case(
        name="in-cluster-issuer",
        check="issuer",
        said="exists inside the cluster only",
        do=_claims(iss="https://kubernetes.default.svc"),
    ),
    Case(name="issuer-port", check="issuer", said="has a port; IAM takes none", do=_claims(iss=f"https://{HOST}:8443")),
    Case(name="issuer-http", check="issuer", said="begins with http://", do=_claims(iss=f"http://{HOST}/cluster")),
    Case(
        name="no-discovery",
        check="issuer-documents",
        said="answers 404",
        do=_page(DISCOVERY, b"no", status=404),
    ),
    Case(
        name="login-page",
        check="issuer-documents",
        said="answers 302",
        do=_page(DISCOVERY, b"", status=302, Location="https://login.example/"),
    ),
    Case(name="no-json", check="issuer-documents", said="it is no JSON", do=_page(DISCOVERY, b"<html>")),
    Case(
        name="issuer-slash",
        check="issuer-documents",
        said="differ by a slash",
        do=_discovery(issuer=f"{ISSUER}/"),
    ),
    Case(
        name="inner-keys",
        check="issuer-documents",
        said="10.1.2.3 is no public address",
        do=_discovery(jwks_uri="https://10.1.2.3:6443/openid/v1/jwks"),
    ),
    Case(name="keys-forbidden", check="issuer-documents", said="answers 403", do=_page(KEYS, b"no", status=403)),
    Case(
        name="issuer-certificate",
        check="issuer-documents",
        said="A certificate has expired",
        do=_issuer_certificate(starts=timedelta(days=-9), ends=timedelta(days=-1)),
    ),
    Case(
        name="issuer-of-another-host",
        check="issuer-documents",
        said=f"is not {HOST}'s",
        do=_issuer_certificate(host="other.example"),
    ),
    Case(name="no-keys", check="issuer-keys", said="no key at all", do=_page(KEYS, {"keys": []})),
    Case(
        name="private-key",
        check="issuer-keys",
        said="PRIVATE KEY",
        do=_published_keys(lambda key: key.update(d="c2VjcmV0")),
    ),
    Case(
        name="unpublished-key",
        check="signature",
        said="is not among the published keys",
        do=_published_keys(lambda key: key.update(kid="another")),
    ),
    Case(name="other-key", check="signature", said="is not by the published key", do=_published_keys(_other_numbers)),
    Case(
        name="policy-of-a-namespace",
        check="trust-policy",
        said=':sub: add "system:serviceaccount:demo:app" to its values',
        do=_policy_of_another_namespace,
    ),
    Case(
        name="policy-of-an-audience", check="trust-policy", said=":aud: expected vault", do=_policy_of_another_audience
    ),
    Case(
        name="policy-cut",
        check="trust-policy",
        said="no JSON at line 1",
        do=lambda ward: _policy(ward, '{"Statement":'),
        is_warning=True,
    ),
    Case(
        name="policy-without-sense",
        check="trust-policy",
        said="cannot be read",
        do=lambda ward: _policy(ward, '{"Statement": "none"}'),
        is_warning=True,
    ),
    Case(
        name="two-policies",
        check="trust-policy",
        said="0 policies; expected one",
        do=lambda ward: _policy(ward, '{"terraform_version": "1.9.0", "planned_values": {}}'),
        is_warning=True,
    ),
    Case(
        name="policy-of-no-statement-for-it",
        check="trust-policy",
        said="Add a statement for this token: sts-broker trust render",
        do=_policy_of_people,
    ),
    Case(
        name="policy-that-denies",
        check="trust-policy",
        said="In NotHere (line 1): take it away",
        do=_policy_that_denies,
    ),
    Case(
        name="policy-of-another-role",
        check="trust-policy",
        said="STS lets it in all the same: it does not go by this now",
        do=_policy_of_another_role,
        is_warning=True,
    ),
]
WAYS = [
    Case(
        name="misspelled-region",
        check="region",
        said="There is no Region eu-wset-1. Did you mean eu-west-1?",
        do=_direct(AWS_REGION="eu-wset-1"),
    ),
    Case(
        name="misspelled-region-by-proxy",
        check="region",
        said="There is no Region us-esat-1. Did you mean us-east-1?",
        do=_set("AWS_REGION", "us-esat-1"),
    ),
    Case(
        name="proxy-down",
        check="sts-proxy",
        said="Connection refused",
        do=_set("HTTPS_PROXY", f"http://127.0.0.1:{_NOWHERE_PORT}"),
    ),
    Case(
        name="proxy-misspelled",
        check="sts-proxy",
        said="The proxy proxy.nowhere.example:3128 (HTTPS_PROXY) cannot be reached",
        do=_set("HTTPS_PROXY", "http://proxy.nowhere.example:3128"),
    ),
    Case(name="proxy-form", check="sts-proxy", said="is no http:// URL", do=_set("HTTPS_PROXY", "https://a.example")),
    Case(
        name="proxy-wants-a-user",
        check="sts-proxy",
        said="The proxy wants a user",
        do=_refusal("407 Proxy Authentication Required"),
    ),
    Case(name="proxy-forbids", check="sts-proxy", said="allow CONNECT", do=_refusal("403 Forbidden")),
    Case(name="no-dns", check="sts-name", said="allow port 53", do=_no_dns_server),
    Case(name="no-fips", check="sts-name", said="Unset AWS_USE_FIPS", do=_direct(AWS_USE_FIPS_ENDPOINT="true")),
    Case(
        name="no-dual-stack",
        check="sts-name",
        said="Unset AWS_USE_DUALSTACK_ENDPOINT",
        do=_direct(AWS_USE_DUALSTACK_ENDPOINT="true"),
    ),
    Case(
        name="private-dns",
        check="sts-name",
        said="of a VPC endpoint, at its private DNS",
        do=_direct(),
    ),
    Case(
        name="no-such-endpoint",
        check="sts-name",
        said="Look at AWS_ENDPOINT_URL_STS",
        do=_direct(AWS_ENDPOINT_URL_STS="https://sts.nowhere.example"),
    ),
    Case(
        name="closed-port",
        check="sts-connection",
        said="NetworkPolicy",
        do=_endpoint(f"https://127.0.0.1:{_NOWHERE_PORT}"),
    ),
    Case(
        name="interception",
        check="sts-tls",
        said="issued by CN=Test Intermediate. -> If that is a proxy",
        do=_unset("AWS_CA_BUNDLE"),  # the issuer's certificate is not trusted then either
    ),
    Case(
        name="bundle-of-another-ca",
        check="sts-tls",
        said="(AWS_CA_BUNDLE), or unset that",
        do=lambda ward: ward.environ.update(AWS_CA_BUNDLE=str(_another_authority(ward).bundle)),
    ),
    Case(
        name="sts-of-another-host",
        check="sts-tls",
        said="Hostname mismatch",
        do=_sts_certificate(host="other.example"),
    ),
    Case(
        name="sts-certificate",
        check="sts-tls",
        said="certificate has expired",
        do=_sts_certificate(starts=timedelta(days=-9), ends=timedelta(days=-1)),
    ),
    Case(name="self-signed", check="sts-tls", said="self-signed", do=_sts_certificate(is_self_signed=True)),
    Case(
        name="no-tls-behind-the-proxy",
        check="sts-tls",
        said="does it speak TLS",
        do=lambda ward: ward.hospital.proxy.routes.update({f"{STS_HOST}:443": ward.hospital.plain.port}),
    ),
    Case(
        name="tls-where-there-should-be-none",
        check="sts-tls",
        said="begins with http://: is it https?",
        do=lambda ward: ward.environ.update(AWS_ENDPOINT_URL_STS=f"http://127.0.0.1:{ward.hospital.sts_front.port}"),
    ),
    Case(name="no-tls", check="sts-tls", said="TLS failed", do=_https_to_http),
]
EXCHANGES = [
    Case(
        name="no-such-role",
        check="exchange",
        said="Either the role does not exist or its trust policy",
        do=_set("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/doctor-nobody"),
    ),
    Case(
        name="trust-of-another-namespace",
        check="exchange",
        said=":sub is system:serviceaccount:demo:app",
        do=_role("namespace", subjects=["system:serviceaccount:other:app"]),
    ),
    Case(name="no-provider", check="exchange", said="Create an IAM OIDC provider in account 2109", do=_other_account),
    Case(
        name="providers-audience",
        check="exchange",
        said="Add vault to the client ids",
        do=_other_audience_at_the_provider,
    ),
    Case(
        name="long-session",
        check="exchange",
        said="Lower duration_seconds from 7200",
        do=_set("BROKER_DURATION_SECONDS", "7200"),
    ),
    Case(name="throttled", check="exchange", said="Rate exceeded", do=_sts(faults.THROTTLING)),
    Case(name="region-off", check="exchange", said="Activate STS for Region", do=_sts(faults.REGION_DISABLED)),
    Case(name="no-sts", check="exchange", said="is not STS", do=_sts(faults.Broken(status=200, body=faults.Body.HTML))),
    Case(name="sts-down", check="exchange", said="InternalFailure", do=_sts(faults.INTERNAL_FAILURE)),
    Case(
        name="session-policy", check="exchange", said="Mend session_policy", do=_sts(faults.MALFORMED_POLICY_DOCUMENT)
    ),
    Case(
        name="packed-policy", check="exchange", said="Shorten session_policy", do=_sts(faults.PACKED_POLICY_TOO_LARGE)
    ),
    Case(
        name="blank-key",
        check="exchange",
        said="missing or blank",
        do=_sts(faults.Blank(field=faults.Field.SECRET_ACCESS_KEY)),
    ),
    Case(name="echo", check="exchange", said="is not STS", do=_sts(faults.Spoiled.ECHO)),
    Case(name="cut-off", check="exchange", said="is not STS", do=_sts(faults.Spoiled.TRUNCATED_XML)),
    Case(name="other-role", check="exchange", said="somebody-else", do=_sts(faults.Spoiled.WRONG_ROLE)),
    Case(
        name="issuer-gone",
        check="exchange",
        said="must be public and answer within 5 s",
        do=_unreachable_from_everywhere,
    ),
    Case(name="external-id", check="exchange (partner)", said="set external_id of profile partner", do=_external_id),
    Case(name="tags", check="exchange (partner)", said="must allow sts:TagSession", do=_tags),
    Case(name="source", check="exchange (default)", said=":sub is system", do=_source_is_refused),
    Case(name="two-roles", check="exchange (one)", said="Create an IAM OIDC provider", do=_two_roles_of_one_account),
    Case(name="chain-and-clock", check="clock", said="1200 s ahead", do=_chain_and_clock),
    Case(name="identity", check="identity", said="InvalidClientTokenId", do=_identity_refused),
    Case(
        name="short-session",
        check="session",
        said="Set duration_seconds",
        do=_set("BROKER_DURATION_SECONDS", "900"),
        is_warning=True,
    ),
]
PODS = [
    Case(name="no-volume", check="publish-directory", said="cannot be made", do=_directory("/nowhere/at/all")),
    Case(name="file", check="publish-directory", said="is no directory", do=_file_for_a_directory),
    Case(name="dangling", check="publish-directory", said="is no directory", do=_dangling_directory),
    Case(name="kernels", check="publish-directory", said="cannot be put in /proc", do=_directory("/proc")),
    Case(
        name="made-by-the-broker",
        check="publish-directory",
        said="where the app does not see it",
        do=_no_directory,
        is_warning=True,
    ),
    Case(name="closed", check="publish-directory", said="Set fsGroup", do=_closed_directory, is_warning=True),
    Case(name="disk", check="publish-volume", said="on a disk (ext4)", do=_on("ext4"), is_warning=True),
    Case(name="overlay", check="publish-volume", said="is in no volume", do=_on("overlay"), is_warning=True),
    Case(name="root", check="publish-volume", said="(overlay at /)", do=lambda ward: ward.mounts(), is_warning=True),
    Case(name="company", check="publish-neighbours", said="billing", do=_another_broker, is_warning=True),
    Case(
        name="keys",
        check="hidden",
        said="AWS_ACCESS_KEY_ID",
        do=_set("AWS_ACCESS_KEY_ID", "AKIDOFOLD"),
        is_warning=True,
    ),
    Case(name="profile", check="hidden", said="AWS_PROFILE", do=_set("AWS_PROFILE", "old"), is_warning=True),
    Case(
        name="pod-identity",
        check="hidden",
        said="Pod Identity",
        do=_set("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1/credentials"),
        is_warning=True,
    ),
    Case(
        name="old-file",
        check="hidden",
        said="AWS_SHARED_CREDENTIALS_FILE leads to a file",
        do=_old_credentials_file,
        is_warning=True,
    ),
]
ALL = [*SETTINGS, *TOKENS, *ISSUERS, *WAYS, *EXCHANGES, *PODS]
