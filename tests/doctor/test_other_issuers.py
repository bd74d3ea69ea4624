"""The doctor on tokens of CI systems, SPIRE, GKE and AKS: no warning where nothing is wrong, and the right advice."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from broker.doctor.checks import Outcome
from broker.trust.render import TrustedIdentities, render
from sandbox import Issuer
from tests.support.fronts import TlsFront
from tests.support.issuer_tokens import SPIRE, TOKENS, IssuedToken, github_claims, svid_claims_without_issuer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.doctor.faulty_pod import FaultyPod

by_name = pytest.mark.parametrize("issued", TOKENS, ids=lambda one: one.name)
IS_POD = {"gke", "aks"}
GITHUB_JOB = TOKENS[0]


@pytest.fixture
def use_issuer(pod: FaultyPod) -> Iterator[Callable[[IssuedToken], Issuer]]:
    """Return a function that gives the pod the issuer of a token, its web server, a provider and a role."""
    stops: list[Callable[[], None]] = []

    def use(issued: IssuedToken) -> Issuer:
        issuer, host = Issuer(issuer=issued.issuer), urlsplit(issued.issuer).hostname
        assert host is not None
        front = TlsFront(pod.network.authority.server(host), int(issuer.url.rpartition(":")[2]))
        pod.network.proxy.routes[f"{host}:443"] = front.port
        arn = pod.sandbox.register_provider(issuer)
        claims = issued.claims(datetime.now(UTC))
        trusted = TrustedIdentities(
            issuer=issued.issuer, audiences=("sts.amazonaws.com",), subjects=(claims["sub"],), account="123456789012"
        )
        pod.use_new_role(issued.name, trust_policy=json.loads(render(trusted)))
        stops.extend(
            (
                lambda: pod.sandbox.iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn),
                front.__exit__,
                issuer.stop,
            )
        )
        return issuer

    yield use
    for stop in stops:
        stop()


def put_plain_file(pod: FaultyPod, token: str) -> None:
    """Write the token to a file that no kubelet keeps, as a job or spiffe-helper does."""
    file = pod.disk / "job" / "token"
    file.parent.mkdir(exist_ok=True)
    file.write_text(token)
    pod.canaries.add("the job's token", token)
    pod.environ["AWS_WEB_IDENTITY_TOKEN_FILE"] = str(file)


def put(pod: FaultyPod, issued: IssuedToken, token: str) -> None:
    (pod.put_token if issued.name in IS_POD else lambda text: put_plain_file(pod, text))(token)


@by_name
def test_good_token_is_ok_in_every_check(
    issued: IssuedToken,
    pod: FaultyPod,
    use_issuer: Callable[[IssuedToken], Issuer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put(pod, issued, use_issuer(issued).sign(issued.claims(datetime.now(UTC))))
    report = pod.diagnose(monkeypatch)
    assert {each.label for each in report.results if each.outcome is not Outcome.OK} == {"broker"}, report.text
    assert report.code == 0
    assert ("kubelet" in report.text) is (issued.name in IS_POD)
    assert "service account" not in report.text


@by_name
def test_expired_token_says_who_renews_it(
    issued: IssuedToken,
    pod: FaultyPod,
    use_issuer: Callable[[IssuedToken], Issuer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put(pod, issued, use_issuer(issued).sign(issued.claims(datetime.now(UTC) - timedelta(hours=2))))
    report = pod.diagnose(monkeypatch)
    assert list(report.failed) == ["token-life"]
    assert ("kubelet" in report.failed["token-life"]) is (issued.name in IS_POD)
    assert ("docs/other-issuers.md" in report.failed["token-life"]) is (issued.name not in IS_POD)


def test_svid_without_an_issuer_names_the_setting_of_spire(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    with Issuer(issuer=SPIRE) as issuer:
        put_plain_file(pod, issuer.sign(svid_claims_without_issuer(datetime.now(UTC))))
    report = pod.diagnose(monkeypatch)
    assert list(report.failed) == ["token-file"]
    assert "has no iss claim" in report.failed["token-file"]
    assert "Set jwt_issuer of the SPIRE server" in report.failed["token-file"]


def test_old_token_of_a_job_is_not_called_overdue(
    pod: FaultyPod, use_issuer: Callable[[IssuedToken], Issuer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kubelet would have rotated it at 80 % of its life. Nobody has to rotate this one before it expires."""
    claims = github_claims(datetime.now(UTC) - timedelta(seconds=285))
    put_plain_file(pod, use_issuer(GITHUB_JOB).sign(claims))
    report = pod.diagnose(monkeypatch)
    assert (report.failed, report.warned) == ({}, {})


def test_file_that_is_mounted_by_itself_fails_without_a_kubelet(
    pod: FaultyPod, use_issuer: Callable[[IssuedToken], Issuer], monkeypatch: pytest.MonkeyPatch
) -> None:
    put_plain_file(pod, use_issuer(GITHUB_JOB).sign(github_claims(datetime.now(UTC))))
    pod.set_mounts(f"{pod.environ['AWS_WEB_IDENTITY_TOKEN_FILE']} ext4", f"{pod.memory} tmpfs")
    report = pod.diagnose(monkeypatch)
    assert list(report.failed) == ["token-mount"]
    assert "Mount the directory of the token's file" in report.failed["token-mount"]
    assert "kubelet" not in report.failed["token-mount"]
