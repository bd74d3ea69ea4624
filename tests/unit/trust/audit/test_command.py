"""The options of `sts-broker trust audit`, its exit codes with files, and inputs that cannot be read."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from broker.core.errors import ConfigurationError, PublishError
from broker.trust.audit.command import AuditOptions, run
from tests.support.audited_account import (
    AUTHORIZATION_DETAILS,
    ISSUER,
    MANIFESTS,
    PROVIDER_LIST,
    ROLES,
    describe_provider,
    role_arn,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def save(tmp_path: Path) -> Any:  # noqa: ANN401 - a function
    def save_file(name: str, content: object) -> str:
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    return save_file


@pytest.fixture
def sound(save: Any) -> list[str]:  # noqa: ANN401
    """Return the files of an account without findings."""
    details = {"RoleDetailList": [{"Arn": role_arn("cart"), "AssumeRolePolicyDocument": ROLES["cart"]}]}
    providers = {"OpenIDConnectProviderList": PROVIDER_LIST["OpenIDConnectProviderList"][:1]}
    return [
        save("details.json", details),
        save("providers.json", providers),
        save("provider.json", describe_provider(ISSUER)),
    ]


def test_all_faults_of_the_options_are_listed() -> None:
    options = AuditOptions(
        files=["-"],
        profile="p",
        role_arn="admin",
        manifests="-",
        issuer="http://oidc.example/",
        ignored=["missing-provder"],
    )
    with pytest.raises(ConfigurationError) as caught:
        run(options, {})
    text = "\n".join(caught.value.faults)
    for part in (
        "--ignore missing-provder: unknown rule (did you mean missing-provider?)",
        "--profile and --role-arn are for reading IAM",
        "--role-arn is admin; expected arn:aws:iam::ACCOUNT:role/NAME",
        "--manifests and FILE are both -",
        "--issuer:",
    ):
        assert part in text, part


def test_issuer_without_manifests_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="Pass the manifests"):
        run(AuditOptions(files=["x"], issuer=f"https://{ISSUER}"), {})


def test_sound_account_exits_with_0(sound: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(AuditOptions(files=sound), {}) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("fail_on", "code"), [("error", 1), ("warning", 1), ("never", 0)])
def test_severity_chooses_the_exit_code(save: Any, sound: list[str], fail_on: str, code: int) -> None:  # noqa: ANN401
    manifests = save("cluster.json", MANIFESTS)
    assert run(AuditOptions(files=sound, manifests=manifests, fail_on=fail_on), {}) == code


def test_manifests_come_from_standard_input(sound: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(json.dumps(MANIFESTS).encode()))
    monkeypatch.setattr("sys.stdin", stdin)
    assert run(AuditOptions(files=sound, manifests="-", issuer=f"https://{ISSUER}"), {}) == 1


def test_unreadable_manifests_exit_with_2_and_keep_the_report(
    save: Any,  # noqa: ANN401
    sound: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    for path in ("/nonexistent", save("broken.yaml", "a: ["), save("empty.yaml", " ")):
        assert run(AuditOptions(files=sound, manifests=path, fail_on="never"), {}) == 2
        printed = capsys.readouterr()
        assert f"sts-broker: {path}: " in printed.err
        assert "1 role that tokens can reach" in printed.out


def test_unreadable_account_exits_with_2_without_a_report(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(AuditOptions(files=["/nonexistent"]), {}) == 2
    assert capsys.readouterr() == ("", "sts-broker: /nonexistent: No such file or directory\n")


def test_page_is_written_and_an_unwritable_one_is_an_error(sound: list[str], tmp_path: Path) -> None:
    page = tmp_path / "audit.html"
    assert run(AuditOptions(files=sound, html=str(page)), {}) == 0
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    with pytest.raises(PublishError, match=r"--html /nonexistent/audit\.html cannot be written: No such file"):
        run(AuditOptions(files=sound, html="/nonexistent/audit.html"), {})


def test_hostile_names_reach_standard_error_as_text(save: Any, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: ANN401
    details = {"RoleDetailList": [{"Arn": f"{role_arn('x')}\x1b[2J", "AssumeRolePolicyDocument": "{"}]}
    assert run(AuditOptions(files=[save("d.json", details)], form="json"), {}) == 3
    printed = capsys.readouterr()
    assert "\x1b" not in printed.err + printed.out
    assert "not everything could be read and judged" in printed.err


def test_sarif_has_the_file_of_each_role(save: Any, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: ANN401
    path = save("details.json", AUTHORIZATION_DETAILS)
    run(AuditOptions(files=[path], form="sarif"), {})
    (found,) = json.loads(capsys.readouterr().out)["runs"]
    assert {one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for one in found["results"]} == {
        f"file://{path}"
    }
