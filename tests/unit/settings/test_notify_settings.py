"""Settings of the programs to notify: what they become, and the faults that are reported at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.core.errors import ConfigurationError
from broker.core.notify_targets import SIGNALS, HttpTarget, NotifyTarget, SignalTarget
from broker.runtime.process_supervisor import FORWARDED
from broker.settings.loader import load
from tests.support.fakes import ROLE_ARN

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BASE = f"region: eu-west-1\nrole_arn: {ROLE_ARN}\n"


@pytest.fixture
def targets(tmp_path: Path) -> Callable[[str], list[tuple[NotifyTarget, ...]]]:
    """Return a function that returns the targets of each profile in a YAML text, which BASE precedes."""

    def targets(text: str) -> list[tuple[NotifyTarget, ...]]:
        (tmp_path / "broker.yaml").write_text(BASE + text)
        return [profile.notify for profile in load({"BROKER_CONFIG": str(tmp_path / "broker.yaml")}).profiles]

    return targets


@pytest.fixture
def faults(targets: Callable[[str], object], tmp_path: Path) -> Callable[[str], list[str]]:
    """Return a function that returns the faults of a YAML text, without the name of the file."""

    def faults(text: str) -> list[str]:
        with pytest.raises(ConfigurationError) as caught:
            targets(text)
        return [fault.removeprefix(f"{tmp_path}/broker.yaml: ") for fault in caught.value.faults]

    return faults


def test_requests_and_signals_have_defaults(targets: Callable[[str], object]) -> None:
    text = """
notify:
- url: http://127.0.0.1:8686/-/reload?x=1
- {url: "http://[::1]/", method: PUT, bearer_file: /etc/reload/token}
- {signal: HUP, process: nginx}
- {signal: SIGUSR2, pid_file: /run/app/pid}
"""
    assert targets(text) == [
        (
            HttpTarget(url="http://127.0.0.1:8686/-/reload?x=1"),
            HttpTarget(url="http://[::1]/", method="PUT", bearer_file="/etc/reload/token"),
            SignalTarget(signal="HUP", process="nginx"),
            SignalTarget(signal="USR2", pid_file="/run/app/pid"),
        )
    ]


@pytest.mark.parametrize("url", ["http://localhost:8080/x?y=1", "http://LOCALHOST:8080/x?y=1"])
def test_localhost_is_an_address_so_that_no_dns_server_decides(url: str, targets: Callable[[str], object]) -> None:
    assert targets(f"notify: [{{url: '{url}'}}]") == [(HttpTarget(url="http://127.0.0.1:8080/x?y=1"),)]


def test_profile_takes_the_targets_of_the_top_unless_it_has_its_own(targets: Callable[[str], object]) -> None:
    text = """
notify: [{signal: HUP, process: nginx}]
profiles:
- name: a
- name: b
  notify: []
- name: c
  notify: [{signal: TERM, process: app}]
- {name: d, source_profile: a, role_arn: "arn:aws:iam::210987654321:role/d"}
"""
    nginx = (SignalTarget(signal="HUP", process="nginx"),)
    assert targets(text) == [nginx, (), (SignalTarget(signal="TERM", process="app"),), nginx]


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ("{}", "notify.0: has neither url nor signal; set one of them"),
        ("{signal: HUP}", "notify.0: signal: needs pid_file or process; set one of them"),
        ("{signal: HUP, process: a, pid_file: /a}", "notify.0: has both pid_file and process; remove one of them"),
        (
            "{url: 'http://[::1]/', signal: HUP, process: a}",
            "notify.0: has both url and signal; make two entries of it",
        ),
        ("{url: 'http://[::1]/', process: a}", "notify.0: process: cannot be combined with url; remove it"),
        ("{signal: HUP, process: a, method: GET}", "notify.0: method: cannot be combined with signal; remove it"),
        (
            "{signal: HUP, process: a, bearer_file: /a}",
            "notify.0: bearer_file: cannot be combined with signal; remove it",
        ),
        (
            "{url: 'http://[::1]/?a'}, {url: 'http://[::1]/?b'}",
            "notify.1: notifies the same program as an entry before it; remove one of them",
        ),
        ("{sginal: HUP, url: 'http://[::1]/'}", "notify.0.sginal: unknown setting (did you mean signal?)"),
        ("{signal: KILL, process: a}", f"notify.0.signal: expected one of {', '.join(SIGNALS)}; found 'KILL'"),
        ("{url: 'http://[::1]/', method: DELETE}", "notify.0.method: expected 'GET', 'POST' or 'PUT'; found 'DELETE'"),
        ("{url: 'http://[::1]/', bearer_file: x}", "notify.0.bearer_file: expected an absolute path; found 'x'"),
        ("{signal: HUP, pid_file: x}", "notify.0.pid_file: expected an absolute path; found 'x'"),
        ("signal: HUP", "notify.0: expected keys with values"),
        (", ".join(f"{{url: 'http://[::1]/{n}'}}" for n in range(9)), "notify: expected at most 8 entries"),
    ],
)
def test_fault_is_reported_with_its_key(entry: str, fault: str, faults: Callable[[str], list[str]]) -> None:
    text = f"notify: [{entry}]" if "{" in entry else f"notify: ['{entry}']"
    (found,) = faults(text)
    assert fault in found


@pytest.mark.parametrize("name", ["/usr/sbin/nginx", "sixteen-letters-", ""])
def test_name_of_a_process_is_one_that_the_kernel_keeps(name: str, faults: Callable[[str], list[str]]) -> None:
    (found,) = faults(f"notify: [{{signal: HUP, process: '{name}'}}]")
    assert "notify.0.process: expected the name of a process, as in /proc/PID/comm: at most 15 characters" in found


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "http://10.0.0.7/",
        "http://app.example/",
        "http://localhost.example/",
        "http://user:pw@127.0.0.1/",
        "http://127.0.0.1:0/",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1/#part",
        "http://127.0.0.1/a b",
        "127.0.0.1:80",
        "http://",
    ],
)
def test_url_must_be_plain_http_on_loopback(url: str, faults: Callable[[str], list[str]]) -> None:
    (found,) = faults(f"notify: [{{url: '{url}'}}]")
    assert "notify.0.url: expected http://127.0.0.1:PORT/PATH or http://[::1]:PORT/PATH" in found


def test_secrets_of_a_rejected_url_are_not_quoted(faults: Callable[[str], list[str]]) -> None:
    (found,) = faults("notify: [{url: 'http://u:s3cret@app.example/?t=s3cret'}]")
    assert found.endswith("found 'http://<redacted>@app.example/?<redacted>'")


def test_all_faults_are_reported_at_once(faults: Callable[[str], list[str]]) -> None:
    found = faults("notify: [{url: x}, {signal: HUP}, {sgnal: HUP, url: 'http://[::1]/'}]\npublish: {env: maybe}")
    for part in ("notify.0.url", "notify.1: signal", "notify.2.sgnal", "publish.env"):
        assert len([fault for fault in found if part in fault]) == 1, part


def test_signals_are_those_that_exec_forwards() -> None:
    assert {f"SIG{name}" for name in SIGNALS} == {number.name for number in FORWARDED}
