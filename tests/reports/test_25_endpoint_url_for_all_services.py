"""AWS_ENDPOINT_URL alone: it is not read, and the settings, the fault and the doctor say so.

Users of LocalStack set one variable for all services (awslabs/aws-sdk-rust#1193, boto/boto3#2258).
"""

from __future__ import annotations

import pytest

from broker.core.errors import RoleDenied
from broker.core.model import StsSpec
from broker.doctor.checks import Outcome, Report
from broker.doctor.examiners.settings import examine_settings
from broker.settings.loader import load
from broker.sts.exchange import StsExchanger
from tests.support.fakes import FakeClock
from tests.unit.sts.scripted_sts import answer_as_aws, fail_exchange, make_refusal

SENTENCE = "AWS_ENDPOINT_URL is set, but the broker does not read it."
REMEDY = "set sts.endpoint_url (AWS_ENDPOINT_URL_STS)"
SETTINGS = {"AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/app", "AWS_REGION": "us-east-1"}
URLS = ["http://127.0.0.1:4566", "https://localhost.localstack.cloud:4566", "http://localstack:4566"]


@pytest.mark.parametrize("url", URLS)
def test_start_and_doctor_name_the_variable_and_the_right_one(url: str) -> None:
    environ = {**SETTINGS, "AWS_ENDPOINT_URL": url}
    configuration = load(environ)
    assert configuration.sts.endpoint_url == ""
    assert any(SENTENCE in warning and REMEDY in warning for warning in configuration.warnings)
    report = Report()
    examine_settings(environ, configuration, report)
    warned = report.find("settings", "", Outcome.WARNING)
    assert warned is not None
    assert SENTENCE in warned.found
    assert REMEDY in warned.remedy


def test_fault_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", URLS[0])
    answer_as_aws(monkeypatch, 403, make_refusal("AccessDenied"), **{"x-amzn-requestid": "r-1"})
    error = fail_exchange(StsExchanger(StsSpec(), FakeClock()))
    assert isinstance(error, RoleDenied)
    assert SENTENCE in error.remedy
    assert REMEDY in error.remedy


def test_nothing_is_said_where_the_right_variable_is_set() -> None:
    environ = {**SETTINGS, "AWS_ENDPOINT_URL": URLS[0], "AWS_ENDPOINT_URL_STS": URLS[0]}
    configuration = load(environ)
    assert configuration.sts.endpoint_url == URLS[0]
    assert not any("AWS_ENDPOINT_URL is set" in warning for warning in configuration.warnings)
