"""`sts-broker inject` gives each pod of the shared table its verdict."""

from __future__ import annotations

import pytest
import yaml

from broker.core.errors import ConfigurationError
from broker.inject.sidecar import NAME
from tests.support.injecting import run_inject
from tests.support.injection_cases import CASES, FITS, InjectionCase


def inject(manifest: str) -> str:
    return run_inject(manifest, {})[1]


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.name))
def test_each_pod_of_the_table_gets_its_verdict(case: InjectionCase) -> None:
    if case.verdict == FITS:
        result = inject(case.manifest)
        assert yaml.safe_load(result)["spec"]["initContainers"][0]["name"] == NAME
        assert inject(result) == result, "a second run changes nothing"
        return
    with pytest.raises(ConfigurationError) as caught:
        inject(case.manifest)
    assert any(case.verdict in fault for fault in caught.value.faults)


def test_each_case_has_a_name_of_its_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
