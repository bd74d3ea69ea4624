"""The metrics as a scraper parses them: names, labels and values, from one snapshot."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path

import pytest
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from broker import __version__
from broker.core import events
from broker.core.errors import PublishError, RoleDenied, WebIdentityTokenDenied
from broker.core.model import Secret
from broker.core.notify_targets import HttpTarget
from broker.core.schedule import Action, Decision, Phase, Reason
from broker.core.session_sizes import UNKNOWN_SIZES, SessionSizes
from broker.core.status import DURATION_BUCKETS_SECONDS, Status
from broker.core.web_identity_status import TokenFailed, TokenPublished, WebIdentityTokenStatuses
from broker.core.web_identity_token import WebIdentityToken
from broker.serving.answer_counts import AnswerCounts
from broker.serving.http_messages import Response
from broker.serving.metrics import render_metrics
from broker.serving.process_readings import ProcessReader, ProcessReadings
from tests.support.fakes import EPOCH, FakeClock, make_generation, make_profile, make_token

SIZES = SessionSizes(packed_policy_percent=82, session_token_percent=41, session_token_bytes=1680)


class Scraped:
    """A status and its scrape."""

    def __init__(self, *names: str) -> None:
        self.clock = FakeClock()
        self.status = Status([make_profile(name) for name in names or ("default",)])
        self.process: ProcessReadings | None = None
        self.answers = AnswerCounts(names or ("default",))

    def render(self) -> str:
        """Return the metrics page."""
        now = self.clock.read().now
        return render_metrics(self.status.snapshot(), now, self.process, answers=self.answers.counts).decode()

    def value(self, name: str, **labels: str) -> float | None:
        """Return the sample's value, None where there is no such sample."""
        return self.samples().get((name, frozenset(labels.items())))

    def samples(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """Return all samples by name and labels."""
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(self.render())
            for sample in family.samples
        }

    def exchanged(
        self,
        seconds: float = 0.2,
        profile: str = "default",
        skew: timedelta | None = timedelta(0),
        sizes: SessionSizes = UNKNOWN_SIZES,
    ) -> None:
        """Record a successful exchange."""
        generation = make_generation(profile, clock_skew=skew, sizes=sizes)
        duration = timedelta(seconds=seconds)
        self.status.record(events.Exchanged(at=self.clock.read(), generation=generation, duration=duration))

    def published(self, profile: str = "default") -> None:
        """Record that readers have the generation."""
        refresh_at = EPOCH + timedelta(minutes=30)
        generation = make_generation(profile)
        self.status.record(events.Published(at=self.clock.read(), generation=generation, refresh_at=refresh_at))

    def exchange_failed(self, profile: str = "default") -> None:
        """Record a denial."""
        self.status.record(
            events.ExchangeFailed(
                at=self.clock.read(),
                profile=profile,
                error=RoleDenied("No."),
                duration=timedelta(seconds=40),
                fingerprint="0123456789ab",
                phase=Phase.FRESH,
                failures=1,
                retry_in=timedelta(seconds=60),
            )
        )

    def publish_failed(self, profile: str = "default") -> None:
        """Record a full disk."""
        error = PublishError("Full.", sink="files")
        at, retry_in = self.clock.read(), timedelta(seconds=1)
        self.status.record(events.PublishFailed(at=at, profile=profile, error=error, failures=1, retry_in=retry_in))


@pytest.fixture
def scraped() -> Scraped:
    return Scraped()


NAMES = {
    "sts_broker_build_info",
    "sts_broker_clock_skew_seconds",
    "sts_broker_credentials_expiry_timestamp_seconds",
    "sts_broker_credentials_issued_timestamp_seconds",
    "sts_broker_endpoint_answers_total",
    "sts_broker_exchange_duration_seconds_bucket",
    "sts_broker_exchange_duration_seconds_count",
    "sts_broker_exchange_duration_seconds_sum",
    "sts_broker_fault",
    "sts_broker_generation",
    "sts_broker_log_lines_dropped_total",
    "sts_broker_next_refresh_timestamp_seconds",
    "sts_broker_packed_policy_ratio",
    "sts_broker_info",
    "sts_broker_publish_failures_total",
    "sts_broker_ready",
    "sts_broker_refresh_total",
    "sts_broker_session_token_bytes",
    "sts_broker_session_token_ratio",
    "sts_broker_token_expiry_timestamp_seconds",
    "sts_broker_token_issued_timestamp_seconds",
    "sts_broker_worker_failures_total",
}
"""The contract with dashboards and alerts: it does not change within a major version."""


def test_names_are_those_of_the_contract(scraped: Scraped) -> None:
    scraped.status.record(events.TokenObserved(at=scraped.clock.read(), profile="default", token=make_token()))
    scraped.exchanged(sizes=SIZES)
    scraped.published()
    scraped.exchange_failed()
    assert {name for name, _ in scraped.samples() if name.startswith("sts_broker_")} == NAMES


def test_targets_of_notifications_have_samples_from_the_start(scraped: Scraped) -> None:
    """A counter that appears with its first event would hide this event from `increase`."""
    target = HttpTarget(url="http://127.0.0.1:8686/-/reload")
    scraped.status = Status([make_profile(notify=(target,))])
    for outcome in ("success", "failure", "superseded"):
        labels = {"profile": "default", "target": target.url, "outcome": outcome}
        assert scraped.value("sts_broker_notifications_total", **labels) == 0
    assert scraped.value("sts_broker_notification_fault", profile="default", target=target.url) == 0


PROCESS_NAMES = {
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_virtual_memory_bytes",
}
"""The names that client libraries of Prometheus use (https://prometheus.io/docs/instrumenting/writing_clientlibs/)."""


def test_readings_of_the_process_have_the_usual_names(scraped: Scraped) -> None:
    assert not {name for name, _ in scraped.samples() if name.startswith("process_")}, "not without readings"
    scraped.process = ProcessReader().read()
    assert {name for name, _ in scraped.samples() if name.startswith("process_")} == PROCESS_NAMES
    assert 2**20 < (scraped.value("process_resident_memory_bytes") or 0) < 2**40


LATER_FAMILIES = (
    "sts_broker_endpoint_answers",
    "sts_broker_log_lines_dropped",
    "sts_broker_notification_fault",
    "sts_broker_notifications",
    "sts_broker_packed_policy_ratio",
    "sts_broker_info",
    "sts_broker_session_token_bytes",
    "sts_broker_session_token_ratio",
    "sts_broker_worker_failures",
)
"""Metrics that the broker did not have then."""


def test_scraper_finds_what_prometheus_client_rendered() -> None:
    """The file has the page that prometheus_client 0.26 rendered for the same events, without the process metrics."""
    scraped = make_eventful_day()
    text = scraped.render().replace(__version__, "VERSION").replace(platform.python_version(), "PYTHON")
    found = {name: family for name, family in parse(text).items() if name not in LATER_FAMILIES}
    assert found == parse((Path(__file__).parent / "prometheus_client_0_26.txt").read_text())


def make_eventful_day() -> Scraped:
    """Return the scrape of two profiles for which most has happened that can."""
    scraped = Scraped("app", "Data.lake_2-x")
    skew = timedelta(seconds=-90.5)
    scraped.status.record(events.TokenObserved(at=scraped.clock.read(), profile="app", token=make_token()))
    scraped.exchanged(0.2, "app", skew=skew)
    scraped.published("app")
    scraped.exchanged(7.25, "app", skew=skew, sizes=SIZES)
    scraped.publish_failed("app")
    for _ in range(3):
        scraped.exchange_failed("Data.lake_2-x")
    return scraped


def parse(text: str) -> dict[str, tuple[str, str, list[tuple[str, list[tuple[str, str]], float]]]]:
    """Return type, help and samples of each metric."""
    return {
        family.name: (
            family.type,
            family.documentation,
            sorted((sample.name, sorted(sample.labels.items()), sample.value) for sample in family.samples),
        )
        for family in text_string_to_metric_families(text)
    }


@pytest.mark.skipif(
    not shutil.which("promtool"), reason="SKIPPED: promtool is not installed; it is part of Debian's package prometheus"
)
def test_promtool_finds_nothing_to_criticize() -> None:
    scraped = make_eventful_day()
    scraped.process = ProcessReader().read()
    command = [shutil.which("promtool") or "", "check", "metrics"]
    done = subprocess.run(command, input=scraped.render(), capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.usefixtures("unmeasured")
def test_import_loads_neither_tls_nor_an_http_server() -> None:
    """The resident process renders the metrics, and has no memory for modules that it does not use."""
    unwanted = {"prometheus_client", "ssl", "http.server", "urllib.request", "wsgiref", "asyncio", "email"}
    code = f"import sys, broker.serving.metrics; print(sorted({unwanted} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


def test_nothing_is_claimed_before_anything_happened(scraped: Scraped) -> None:
    """An expiry of 0 would be an alert about 1970."""
    names = {name for name, _ in scraped.samples()}
    assert "sts_broker_credentials_expiry_timestamp_seconds" not in names
    assert "sts_broker_credentials_issued_timestamp_seconds" not in names
    assert "sts_broker_token_expiry_timestamp_seconds" not in names
    assert "sts_broker_next_refresh_timestamp_seconds" not in names
    assert "sts_broker_clock_skew_seconds" not in names
    assert scraped.value("sts_broker_ready") == 0
    assert scraped.value("sts_broker_generation", profile="default") == 0
    assert scraped.value("sts_broker_publish_failures_total", profile="default") == 0
    assert scraped.value("sts_broker_exchange_duration_seconds_count") == 0


def test_build_info_names_the_versions(scraped: Scraped) -> None:
    (labels,) = [labels for name, labels in scraped.samples() if name == "sts_broker_build_info"]
    assert labels == {("version", __version__), ("python", platform.python_version())}


def test_expiry_is_that_of_what_readers_have_not_of_what_is_held(scraped: Scraped) -> None:
    scraped.exchanged()
    assert scraped.value("sts_broker_credentials_expiry_timestamp_seconds", profile="default") is None
    scraped.published()
    expiry = scraped.value("sts_broker_credentials_expiry_timestamp_seconds", profile="default")
    assert expiry == (EPOCH + timedelta(hours=1)).timestamp()
    assert scraped.value("sts_broker_credentials_issued_timestamp_seconds", profile="default") == EPOCH.timestamp()
    assert scraped.value("sts_broker_generation", profile="default") == 1
    next_refresh = scraped.value("sts_broker_next_refresh_timestamp_seconds", profile="default")
    assert next_refresh == (EPOCH + timedelta(minutes=30)).timestamp()


def test_files_that_somebody_removed_are_no_credentials_that_readers_have(scraped: Scraped) -> None:
    scraped.exchanged()
    scraped.published()
    scraped.status.record(events.PublishedLost(at=scraped.clock.read(), profile="default"))
    assert scraped.value("sts_broker_ready") == 0
    assert scraped.value("sts_broker_credentials_expiry_timestamp_seconds", profile="default") is None
    assert scraped.value("sts_broker_credentials_issued_timestamp_seconds", profile="default") is None


def test_ready_ends_with_the_credentials(scraped: Scraped) -> None:
    scraped.exchanged()
    scraped.published()
    assert scraped.value("sts_broker_ready") == 1
    scraped.clock.advance(timedelta(hours=1))
    assert scraped.value("sts_broker_ready") == 0


def test_token_times_are_those_of_the_token_in_the_file(scraped: Scraped) -> None:
    scraped.status.record(events.TokenObserved(at=scraped.clock.read(), profile="default", token=make_token()))
    assert scraped.value("sts_broker_token_issued_timestamp_seconds", profile="default") == EPOCH.timestamp()
    expiry = scraped.value("sts_broker_token_expiry_timestamp_seconds", profile="default")
    assert expiry == (EPOCH + timedelta(hours=1)).timestamp()


def test_next_refresh_follows_the_clockworks_decision(scraped: Scraped) -> None:
    decision = Decision(action=Action.WAIT, phase=Phase.FRESH, reason=Reason.NOT_DUE, refresh_at=EPOCH)
    scraped.status.record(events.Decided(at=scraped.clock.read(), profile="default", decision=decision))
    assert scraped.value("sts_broker_next_refresh_timestamp_seconds", profile="default") == EPOCH.timestamp()


def test_refreshes_are_counted_by_outcome_and_reason(scraped: Scraped) -> None:
    for _ in range(3):
        scraped.exchange_failed()
    scraped.exchanged()
    scraped.published()
    scraped.publish_failed()
    count = {"profile": "default", "outcome": "failure"}
    assert scraped.value("sts_broker_refresh_total", **count, reason="role_denied") == 3
    assert scraped.value("sts_broker_refresh_total", **count, reason="publish_failed") == 1
    assert scraped.value("sts_broker_refresh_total", profile="default", outcome="success", reason="refresh_due") == 1
    assert scraped.value("sts_broker_publish_failures_total", profile="default") == 1


def test_fault_is_there_while_it_lasts(scraped: Scraped) -> None:
    scraped.exchange_failed()
    assert scraped.value("sts_broker_fault", profile="default", reason="role_denied") == 1
    scraped.exchanged()
    assert scraped.value("sts_broker_fault", profile="default", reason="role_denied") is None


def test_profiles_are_told_apart() -> None:
    scraped = Scraped("a", "b")
    scraped.exchanged(profile="a")
    scraped.published("a")
    scraped.exchange_failed("b")
    assert scraped.value("sts_broker_generation", profile="a") == 1
    assert scraped.value("sts_broker_generation", profile="b") == 0
    assert scraped.value("sts_broker_fault", profile="b", reason="role_denied") == 1
    assert scraped.value("sts_broker_ready") == 0


@pytest.mark.parametrize("skew", [timedelta(seconds=90.5), timedelta(seconds=-3600)])
def test_clock_skew_is_that_of_the_last_answer_that_had_a_date(scraped: Scraped, skew: timedelta) -> None:
    scraped.exchanged(skew=skew)
    assert scraped.value("sts_broker_clock_skew_seconds") == skew.total_seconds()
    scraped.exchanged(skew=None)
    assert scraped.value("sts_broker_clock_skew_seconds") == skew.total_seconds()


def test_durations_are_a_cumulative_histogram_of_successes_and_failures(scraped: Scraped) -> None:
    for seconds in (0.01, 0.2, 0.2, 7.0):
        scraped.exchanged(seconds)
    scraped.exchange_failed()
    name = "sts_broker_exchange_duration_seconds"
    buckets = [scraped.value(f"{name}_bucket", le=str(bound)) for bound in (*DURATION_BUCKETS_SECONDS, "+Inf")]
    assert buckets == [1, 1, 3, 3, 3, 3, 3, 4, 4, 5]
    assert scraped.value(f"{name}_count") == 5
    assert scraped.value(f"{name}_sum") == pytest.approx(47.41)


def test_duration_on_the_edge_belongs_to_the_bucket_below(scraped: Scraped) -> None:
    """`le` means less or equal."""
    scraped.exchanged(0.25)
    assert scraped.value("sts_broker_exchange_duration_seconds_bucket", le="0.25") == 1


def test_every_metric_has_a_help_and_its_base_unit(scraped: Scraped) -> None:
    scraped.process = ProcessReader().read()
    for family in text_string_to_metric_families(scraped.render()):
        assert family.documentation.endswith(".")
        assert not family.name.endswith(("_ms", "_minutes", "_milliseconds"))


def test_no_secret_is_in_the_metrics(scraped: Scraped) -> None:
    scraped.status.record(events.TokenObserved(at=scraped.clock.read(), profile="default", token=make_token()))
    scraped.exchanged()
    scraped.published()
    credentials = make_generation().credentials
    for secret in (credentials.secret_access_key, credentials.session_token, make_token().raw):
        assert secret.reveal() not in scraped.render()


def test_sizes_are_ratios_and_bytes_for_each_profile_that_sts_measured() -> None:
    scraped = Scraped("app", "other")
    scraped.exchanged(profile="app", sizes=SIZES)
    scraped.exchanged(profile="other", sizes=SessionSizes(packed_policy_percent=0))
    assert scraped.value("sts_broker_packed_policy_ratio", profile="app") == 0.82
    assert scraped.value("sts_broker_session_token_ratio", profile="app") == 0.41
    assert scraped.value("sts_broker_session_token_bytes", profile="app") == 1680
    assert scraped.value("sts_broker_packed_policy_ratio", profile="other") == 0
    assert scraped.value("sts_broker_session_token_ratio", profile="other") is None


def test_sizes_that_sts_no_longer_reports_are_gone(scraped: Scraped) -> None:
    scraped.exchanged(sizes=SIZES)
    scraped.exchanged()
    assert scraped.value("sts_broker_packed_policy_ratio", profile="default") is None


@pytest.mark.parametrize(
    ("role_arn", "account_id"), [("arn:aws:iam::123456789012:role/a/app", "123456789012"), ("arn:aws:iam:::role/x", "")]
)
def test_role_and_account_are_labels_of_each_profile(role_arn: str, account_id: str, scraped: Scraped) -> None:
    scraped.status = Status([make_profile("app", role_arn=role_arn)])
    labels = {"profile": "app", "role_arn": role_arn, "account_id": account_id}
    assert scraped.value("sts_broker_info", **labels) == 1


def test_answers_are_counted_from_zero() -> None:
    scraped = Scraped("app", "other")
    assert scraped.value("sts_broker_endpoint_answers_total", profile="app", code="200") == 0
    assert scraped.value("sts_broker_endpoint_answers_total", profile="", code="404") == 0
    scraped.answers.record(Response(status=HTTPStatus.OK, body=b"", profile="app"))
    scraped.answers.record(Response(status=HTTPStatus.METHOD_NOT_ALLOWED, body=b""))
    assert scraped.value("sts_broker_endpoint_answers_total", profile="app", code="200") == 1
    assert scraped.value("sts_broker_endpoint_answers_total", profile="other", code="200") == 0
    assert scraped.value("sts_broker_endpoint_answers_total", profile="", code="405") == 1


def test_web_identity_tokens_have_times_faults_and_outcomes_and_others_have_no_such_metric() -> None:
    clock = FakeClock()
    tokens = WebIdentityTokenStatuses(["vault", "never"])
    token = WebIdentityToken(
        profile="vault",
        raw=Secret("a.b.c"),
        received_at=EPOCH,
        expires_at=EPOCH + timedelta(minutes=7),
        lifetime=timedelta(minutes=5),
    )
    tokens.record(TokenPublished(at=clock.read(), token=token, refresh_at=EPOCH + timedelta(minutes=2)))
    denied = WebIdentityTokenDenied("No.", "Allow it.")
    tokens.record(TokenFailed(at=clock.read(), profile="never", error=denied, failures=1, retry_in=timedelta(0)))
    snapshot = Status([make_profile("vault"), make_profile("never")]).snapshot()
    assert "web_identity" not in render_metrics(snapshot, clock.now, None).decode()
    page = render_metrics(replace(snapshot, web_identity_tokens=tokens.snapshot()), clock.now, None).decode()
    prefix = "sts_broker_web_identity_token"
    found = {line for line in page.splitlines() if line.startswith(prefix)}
    start = int(EPOCH.timestamp())
    values = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in found}
    assert values == {
        f'{prefix}_issued_timestamp_seconds{{profile="vault"}}': start,
        f'{prefix}_expiry_timestamp_seconds{{profile="vault"}}': start + 300,
        f'{prefix}_fault{{profile="never",reason="web_identity_token_denied"}}': 1,
        f'{prefix}_refresh_total{{profile="vault",outcome="success",reason=""}}': 1,
        f'{prefix}_refresh_total{{profile="never",outcome="failure",reason="web_identity_token_denied"}}': 1,
    }
