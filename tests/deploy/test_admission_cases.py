"""The admission policies give each pod of the shared table the verdict that `sts-broker inject` gives."""

from __future__ import annotations

import pytest
import yaml

from broker.core.errors import ConfigurationError
from tests.deploy.api_server import API_TOKEN_DIRECTORY, ApiServer, Refused, find_api_faults, read_policies
from tests.support.admission_cases import CASES as MORE_CASES
from tests.support.injecting import run_inject
from tests.support.injection_cases import CASES, FITS, InjectionCase

SERVER = ApiServer(documents=read_policies())
ALL_CASES = (*CASES, *MORE_CASES)


def inject(manifest: str) -> str:
    return run_inject(manifest, {})[1]


@pytest.mark.parametrize("case", ALL_CASES, ids=lambda case: str(case.name))
def test_each_pod_of_the_table_gets_its_verdict(case: InjectionCase) -> None:
    pod = yaml.safe_load(case.manifest)
    if case.verdict == FITS:
        created = SERVER.create(pod)
        assert created == yaml.safe_load(inject(case.manifest)), "inject gives the same pod"
        assert SERVER.create(created) == created, "the policies change nothing in a pod that has the sidecar"
        return
    with pytest.raises(Refused) as caught:
        SERVER.create(pod)
    (message,) = caught.value.messages
    assert case.verdict in message


@pytest.mark.parametrize("case", MORE_CASES, ids=lambda case: str(case.name))
def test_inject_gives_the_same_verdict(case: InjectionCase) -> None:
    if case.verdict == FITS:
        assert inject(case.manifest)
        return
    with pytest.raises(ConfigurationError) as caught:
        inject(case.manifest)
    (fault,) = caught.value.faults
    assert case.verdict in fault


def test_each_case_has_a_name_of_its_own() -> None:
    assert len({case.name for case in ALL_CASES}) == len(ALL_CASES)


@pytest.mark.parametrize("name", ["role and Region", "the published volume, read-only"])
def test_app_keeps_the_api_token_and_the_broker_gets_none(name: str) -> None:
    (case,) = (each for each in CASES if each.name == name)
    server = ApiServer(documents=read_policies(), mounts_api_token=True)
    pod = server.create(yaml.safe_load(case.manifest))["spec"]
    at_path = [
        mount["name"]
        for container in (*pod["initContainers"], *pod["containers"])
        for mount in container["volumeMounts"]
        if mount["mountPath"] == API_TOKEN_DIRECTORY
    ]
    assert at_path == ["sts-broker-no-api-token", "kube-api-access-x"]


@pytest.mark.parametrize("case", ALL_CASES, ids=lambda case: str(case.name))
def test_mutation_leaves_every_pod_of_the_table_valid_for_the_api(case: InjectionCase) -> None:
    """Otherwise the API server refuses the pod before the validating policy can give its reason."""
    pod = yaml.safe_load(case.manifest)
    assert list(find_api_faults(pod)) == []
    assert list(find_api_faults(SERVER.mutate(pod, {"sts-broker/injection": "enabled"}))) == []
