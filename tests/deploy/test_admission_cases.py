"""The admission policies give each pod of the shared table the verdict that `sts-broker inject` gives."""

from __future__ import annotations

import pytest
import yaml

from tests.deploy.api_server import ApiServer, Refused, find_api_faults, read_policies
from tests.support.injection_cases import CASES, FITS, InjectionCase

SERVER = ApiServer(documents=read_policies())


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.name))
def test_each_pod_of_the_table_gets_its_verdict(case: InjectionCase) -> None:
    pod = yaml.safe_load(case.manifest)
    if case.verdict == FITS:
        created = SERVER.create(pod)
        assert created["spec"]["initContainers"][0]["name"] == "sts-broker"
        assert SERVER.create(created) == created, "the policies change nothing in a pod that has the sidecar"
        return
    with pytest.raises(Refused) as caught:
        SERVER.create(pod)
    (message,) = caught.value.messages
    assert case.verdict in message


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.name))
def test_mutation_leaves_every_pod_of_the_table_valid_for_the_api(case: InjectionCase) -> None:
    """Otherwise the API server refuses the pod before the validating policy can give its reason."""
    pod = yaml.safe_load(case.manifest)
    assert list(find_api_faults(pod)) == []
    assert list(find_api_faults(SERVER.mutate(pod, {"sts-broker/injection": "enabled"}))) == []
