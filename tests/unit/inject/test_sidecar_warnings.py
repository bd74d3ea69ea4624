"""`sts-broker inject` warns about what the manifest does not decide. Each warning has the line of the field."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import yaml

from broker.core.errors import ConfigurationError
from broker.core.rival_variables import FILE_VARIABLES
from tests.support.injecting import OPTIONS, run_inject

if TYPE_CHECKING:
    from collections.abc import Iterator

    Capture = pytest.CaptureFixture[str]

HEADER = "apiVersion: v1\nkind: Pod\nmetadata: {name: app}\nspec:\n"
APP = "  containers:\n  - name: app\n    image: x\n"


def inject(text: str, *, containers: tuple[str, ...] = (), sets_group: bool = True, **options: str) -> str:
    return run_inject(text, OPTIONS | options, containers=containers, sets_group=sets_group)[1]


def find_warnings(text: str, capsys: Capture, **more: object) -> list[tuple[int, str]]:
    """Return the warnings about a text, each with its line."""
    inject(text, **more)  # type: ignore[arg-type]
    return list(parse_warnings(capsys.readouterr().err))


def parse_warnings(errors: str) -> Iterator[tuple[int, str]]:
    for line in errors.splitlines():
        match = re.fullmatch(r"sts-broker: document \d+, line (\d+), \w+ \S+: (.*)", line)
        assert match, line
        yield int(match[1]), match[2]


def find_line(text: str, part: str) -> int:
    """Return the number of the only line with this part."""
    (number,) = (number for number, line in enumerate(text.splitlines(), start=1) if part in line)
    return number


def check_one_warning(text: str, part: str, expected: str, capsys: Capture, **more: object) -> None:
    ((line, warning),) = find_warnings(text, capsys, **more)
    assert expected in warning
    assert line == find_line(text, part)


class TestGroup:
    """A new fsGroup changes the app's own volumes."""

    CLAIM = "  volumes:\n  - name: data\n    persistentVolumeClaim: {claimName: d}\n"
    KEY = "  volumes:\n  - name: key\n    secret:\n      secretName: s\n      defaultMode: 0400\n"

    def test_claim_gets_the_change_policy_and_a_warning(self, capsys: Capture) -> None:
        text = HEADER + APP + self.CLAIM
        check_one_warning(text, "- name: data", "the kubelet gives all files of data that group", capsys)
        assert yaml.safe_load(inject(text))["spec"]["securityContext"] == {
            "fsGroup": 65532,
            "fsGroupChangePolicy": "OnRootMismatch",
        }

    def test_warning_is_not_repeated_for_the_result(self, capsys: Capture) -> None:
        result = inject(HEADER + APP + self.CLAIM)
        capsys.readouterr()
        assert find_warnings(result, capsys) == []
        assert inject(result) == result

    def test_policy_of_the_pod_is_kept_and_named(self, capsys: Capture) -> None:
        text = f"{HEADER}  securityContext: {{fsGroupChangePolicy: Always}}\n{APP}{self.CLAIM}"
        check_one_warning(text, "- name: data", "Set fsGroupChangePolicy: OnRootMismatch", capsys)
        assert yaml.safe_load(inject(text))["spec"]["securityContext"]["fsGroupChangePolicy"] == "Always"

    def test_claim_template_of_a_stateful_set_counts(self, capsys: Capture) -> None:
        pod = (APP + "    volumeMounts: [{name: data, mountPath: /d}]\n").replace("\n", "\n    ").rstrip(" ")
        text = (
            "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db}\nspec:\n  template:\n    spec:\n    "
            f"{pod}  volumeClaimTemplates: [{{metadata: {{name: data}}}}]\n"
        )
        ((_, warning),) = find_warnings(text, capsys)
        assert "all files of data " in warning

    @pytest.mark.parametrize("mode", ["0400", "256", "0o400", "0600", "0700"])
    def test_mode_without_group_is_named(self, mode: str, capsys: Capture) -> None:
        text = HEADER + APP + self.KEY.replace("0400", mode)
        check_one_warning(text, "defaultMode", "lets the group read the files of volume key", capsys)

    def test_mode_of_one_item_of_a_projected_volume_is_named(self, capsys: Capture) -> None:
        sources = "projected:\n      sources:\n      - secret:\n          name: s\n          items:\n"
        item = "          - key: k\n            path: p\n            mode: 0400\n"
        text = f"{HEADER}{APP}  volumes:\n  - name: key\n    {sources}{item}"
        check_one_warning(text, "mode: 0400", "mode 0400 becomes 0440", capsys)

    @pytest.mark.parametrize("mode", ["0440", "0644", "288"])
    def test_mode_with_group_is_fine(self, mode: str, capsys: Capture) -> None:
        assert find_warnings(HEADER + APP + self.KEY.replace("0400", mode), capsys) == []

    @pytest.mark.parametrize("volume", [CLAIM, KEY])
    def test_own_group_or_no_new_group_is_fine(self, volume: str, capsys: Capture) -> None:
        text = HEADER + APP + volume
        assert find_warnings(text, capsys, sets_group=False) == []
        assert find_warnings(text.replace("spec:\n", "spec:\n  securityContext: {fsGroup: 5}\n"), capsys) == []


class TestFiles:
    """Files of the app that may configure credentials."""

    @pytest.mark.parametrize("name", FILE_VARIABLES)
    def test_file_of_the_app_is_named(self, name: str, capsys: Capture) -> None:
        text = f"{HEADER}{APP}    env:\n    - name: {name}\n      value: /etc/app/aws\n"
        check_one_warning(text, f"- name: {name}", f"sets {name} to /etc/app/aws", capsys)

    @pytest.mark.parametrize("value", ["/dev/null", '""', "/var/run/aws/config"])
    def test_empty_file_and_file_of_the_broker_are_fine(self, value: str, capsys: Capture) -> None:
        text = f"{HEADER}{APP}    env: [{{name: AWS_CONFIG_FILE, value: {value}}}]\n"
        assert find_warnings(text, capsys) == []

    @pytest.mark.parametrize("path", ["/root/.aws", "/home/app/.aws/", "/.aws/credentials", "/root/.aws/config"])
    def test_mount_in_the_home_directory_is_named(self, path: str, capsys: Capture) -> None:
        text = f"{HEADER}{APP}    volumeMounts:\n    - name: c\n      mountPath: {path}\n"
        check_one_warning(text, "- name: c", f"mounts c at {path}", capsys)

    def test_mount_at_another_path_is_fine(self, capsys: Capture) -> None:
        text = f"{HEADER}{APP}    volumeMounts: [{{name: c, mountPath: /root/.awsome}}]\n"
        assert find_warnings(text, capsys) == []


class TestVariables:
    """Variables whose value or existence only the cluster knows, and Regions."""

    @pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_KEY", "AWS_PROFILE"])
    def test_optional_source_is_named(self, name: str, capsys: Capture) -> None:
        source = "valueFrom: {secretKeyRef: {name: s, key: k, optional: true}}"
        text = f"{HEADER}{APP}    env:\n    - name: {name}\n      {source}\n"
        check_one_warning(text, f"- name: {name}", f"takes {name} from an optional source", capsys)

    @pytest.mark.parametrize(("reference", "kind"), [("secretRef", "Secret"), ("configMapRef", "ConfigMap")])
    def test_source_of_all_variables_is_named(self, reference: str, kind: str, capsys: Capture) -> None:
        text = f"{HEADER}{APP}    envFrom:\n    - {reference}: {{name: s}}\n"
        check_one_warning(text, reference, f"takes variables from {kind} s, which inject cannot see", capsys)

    @pytest.mark.parametrize("source", ["[{prefix: APP_, secretRef: {name: s}}]", "1", "[x]", "[{secretRef: null}]"])
    def test_source_with_a_prefix_or_without_a_name_is_fine(self, source: str, capsys: Capture) -> None:
        assert find_warnings(f"{HEADER}{APP}    envFrom: {source}\n", capsys) == []

    @pytest.mark.parametrize(
        ("present", "missing"), [("AWS_REGION", "AWS_DEFAULT_REGION"), ("AWS_DEFAULT_REGION", "AWS_REGION")]
    )
    def test_only_one_variable_of_the_region_is_named(self, present: str, missing: str, capsys: Capture) -> None:
        text = f"{HEADER}{APP}    env:\n    - name: {present}\n      value: us-east-1\n"
        check_one_warning(text, f"- name: {present}", f"{missing}, which ", capsys)

    def test_own_region_in_both_variables_is_kept_and_fine(self, capsys: Capture) -> None:
        own = [{"name": name, "value": "us-east-1"} for name in ("AWS_REGION", "AWS_DEFAULT_REGION")]
        text = f"{HEADER}{APP}    env: {own}\n"
        assert find_warnings(text, capsys) == []
        (app,) = yaml.safe_load(inject(text))["spec"]["containers"]
        assert [each for each in app["env"] if "REGION" in each["name"]] == own

    @pytest.mark.parametrize("fields", ["image: amazon/aws-cli", "image: x\n    env: [{name: AWS_BUCKET, value: b}]"])
    def test_init_container_that_uses_aws_is_offered_the_endpoint(self, fields: str, capsys: Capture) -> None:
        text = f"{HEADER}  initContainers:\n  - name: fetch\n    {fields}\n{APP}"
        check_one_warning(text, "- name: fetch", "only if --container names them", capsys)
        assert find_warnings(text, capsys, containers=("fetch", "app")) == []

    def test_other_init_container_is_fine(self, capsys: Capture) -> None:
        assert find_warnings(f"{HEADER}  initContainers: [{{name: m, image: m}}]\n{APP}", capsys) == []


class TestQuality:
    """A pod of QoS class Guaranteed."""

    EQUAL = "    resources: {requests: {cpu: 500m}, limits: {cpu: 0.5, memory: 1Gi}}\n"

    def test_guaranteed_pod_is_named(self, capsys: Capture) -> None:
        text = HEADER + APP + self.EQUAL
        check_one_warning(text, "resources", "QoS class Guaranteed", capsys)

    def test_guaranteed_sidecar_keeps_the_class(self, capsys: Capture) -> None:
        text = HEADER + APP + self.EQUAL
        assert find_warnings(text, capsys, cpu_request="0.1", cpu_limit="100m", memory_request="64Mi") == []

    @pytest.mark.parametrize(
        "resources",
        [
            "{}",
            "{limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 1, memory: 1G}}",
            "{limits: {memory: 1Gi}}",
            "{limits: {cpu: 0, memory: 1Gi}}",
            "{limits: {cpu: x, memory: 1Gi}}",
            "1",
            "{limits: 1}",
        ],
    )
    def test_other_classes_are_fine(self, resources: str, capsys: Capture) -> None:
        assert find_warnings(f"{HEADER}{APP}    resources: {resources}\n", capsys) == []

    def test_resources_of_the_pod_decide_alone(self, capsys: Capture) -> None:
        text = f"{HEADER}  resources: {{limits: {{cpu: 1, memory: 1Gi}}}}\n{APP}{self.EQUAL}"
        assert find_warnings(text, capsys) == []


def test_faults_and_warnings_are_reported_together(capsys: Capture) -> None:
    text = f"{HEADER}  hostNetwork: true\n{APP}    ports: [{{containerPort: 9910}}]\n"
    with pytest.raises(ConfigurationError) as caught:
        inject(text)
    (fault,) = caught.value.faults
    assert fault.startswith("document 1, line 9, Pod app: container app uses port 9910")
    ((line, warning),) = parse_warnings(capsys.readouterr().err)
    assert (line, warning.partition(":")[0]) == (5, "hostNetwork")


def test_fault_of_an_annotation_has_its_line() -> None:
    text = HEADER.replace(
        "{name: app}", "\n  name: app\n  annotations:\n    sts-broker/cpu-limit: 1 core\n    sts-broker/region: x"
    )
    with pytest.raises(ConfigurationError) as caught:
        inject(text + APP)
    (fault,) = caught.value.faults
    assert fault.startswith("document 1, line 6, Pod app: --cpu-limit (annotation sts-broker/cpu-limit) is '1 core'")
