"""`sts-broker inject`: the text that it writes, what pods get, which pods request it, and what it refuses."""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import yaml

from broker.core.errors import ConfigurationError
from broker.inject import sidecar
from broker.inject.injection import run
from broker.inject.sidecar_request import Request
from tests.support import injecting
from tests.support.injecting import OPTIONS, POD, ROLE, collect_faults
from tests.support.unfit_pods import FIT, UNFIT, UNFIT_ANNOTATIONS

if TYPE_CHECKING:
    from pathlib import Path

ENDPOINT = "AWS_CONTAINER_CREDENTIALS_FULL_URI"


def run_inject(text: str, *, check: bool = False, containers: Any = (), **options: Any) -> tuple[int, str]:  # noqa: ANN401
    return injecting.run_inject(text, options, check=check, containers=containers)


def inject_text(text: str, **options: Any) -> str:  # noqa: ANN401 - those of run_inject
    return run_inject(text, **(OPTIONS | options))[1]


def format_pod(annotations: dict[str, Any] | None = None, **spec: Any) -> str:  # noqa: ANN401 - any Kubernetes field
    containers = spec.pop("containers", [{"name": "app", "image": "x"}])
    metadata = {"name": "app"} | ({"annotations": annotations} if annotations else {})
    return yaml.safe_dump(
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {**spec, "containers": containers}}
    )


def format_app(**more: Any) -> str:  # noqa: ANN401 - likewise
    return format_pod(containers=[{"name": "app", "image": "x", **more}])


def read_spec(text: str) -> dict[str, Any]:
    spec: dict[str, Any] = yaml.safe_load(text)["spec"]
    return spec


class TestText:
    """The text that is written, and its position."""

    def test_block_style_gets_whole_lines_and_keeps_the_existing_ones(self) -> None:
        text = (
            "# above\n"
            "kind: Pod   # what\n"
            "apiVersion: v1\n"
            "spec:\n"
            "    # before the containers\n"
            "    containers:   # of the app\n"
            "    -   name: 'app'\n"
            '        image: "x"   # pinned\n'
            "        args: [-c, |\n          no]\n"
            "\n"
            "    # the end\n"
        ).replace("[-c, |\n          no]", "[ -c ,  'no' ]")
        result = inject_text(text)
        lines = iter(result.splitlines())
        assert all(line in lines for line in text.splitlines()), "every line is kept, in order"
        assert result.index("    initContainers:\n") < result.index("    # before the containers")
        assert result.endswith("fsGroup: 65532\n\n    # the end\n")

    def test_json_stays_json(self) -> None:
        compact = json.dumps(yaml.safe_load(POD))
        for text in (compact, json.dumps(yaml.safe_load(POD), indent=2)):
            assert json.loads(inject_text(text)) == yaml.safe_load(inject_text(POD))
        assert "\n" not in inject_text(compact)

    def test_flow_style_with_comments_and_trailing_commas_gets_additions(self) -> None:
        text = "apiVersion: v1\nkind: Pod\nspec: {containers: [ # c1\n  {name: app, image: x,}, # c2\n  ], }  # c3\n"
        result = inject_text(text)
        assert read_spec(result) == read_spec(
            inject_text(text.replace(",}", "}").replace("}, #", "} #").replace("], }", "]}"))
        )
        assert [result.count(f"# c{number}") for number in (1, 2, 3)] == [1, 1, 1]

    @pytest.mark.parametrize("empty", ["", " []", " null", " ~", "   []   # none", " # none"])
    def test_empty_value_is_filled_below_its_comment(self, empty: str) -> None:
        text = POD.replace("  containers:", f"  volumes:{empty}\n  initContainers:{empty}\n  containers:")
        result = inject_text(text)
        assert read_spec(result) == read_spec(inject_text(POD))
        assert result.count("# none") == text.count("# none")

    def test_missing_last_line_break_stays_missing(self) -> None:
        result = inject_text(POD.rstrip("\n"))
        assert result + "\n" == inject_text(POD)

    def test_windows_line_endings_are_kept(self) -> None:
        assert inject_text(POD.replace("\n", "\r\n")) == inject_text(POD).replace("\n", "\r\n")

    def test_byte_order_mark_is_kept(self) -> None:
        assert inject_text("\ufeff" + POD) == "\ufeff" + inject_text(POD)

    def test_block_scalar_at_the_end_keeps_its_text(self) -> None:
        text = POD + "      args:\n        - |+\n          last\n\n"
        result = inject_text(text)
        assert read_spec(result)["containers"][0]["args"] == ["last\n\n"]
        assert "env" in read_spec(result)["containers"][0]

    def test_alias_in_an_unchanged_part_is_kept(self) -> None:
        text = POD + "      resources: &r {limits: {memory: 1Gi}}\n    - name: b\n      image: y\n      resources: *r\n"
        assert "resources: *r\n" in inject_text(text)
        labelled = POD.replace("  name: app", "  name: app\n  labels: &l {a: b}\n  annotations: *l", 1)
        assert inject_text(labelled) == inject_text(POD).replace(
            POD[: POD.index("spec:")], labelled[: labelled.index("spec:")]
        )

    def test_other_documents_stay_byte_for_byte(self) -> None:
        other = "# odd\n!odd\nkind:   ConfigMap\ndata: {a: [1,2 ,3], b: !x 'y'}\n"
        custom = "apiVersion: example.com/v1\nkind: Deployment\nspec: {template: {}}\n"
        stream = f"%YAML 1.1\n---\n{other}...\n---\n---\n{POD}---\n{custom}---  # end\n"
        assert inject_text(stream) == stream.replace(POD, inject_text(POD))

    def test_tag_directive_stays_with_the_following_document(self) -> None:
        stream = f"{POD}...\n%TAG !e! tag:example.com,2000:\n---\n!e!x\na: 1\n"
        assert inject_text(stream) == stream.replace(POD, inject_text(POD))

    def test_several_files_become_one_stream(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text(POD.rstrip("\n"))
        (tmp_path / "b").write_text(POD.replace("name: app", "name: b", 1))
        (tmp_path / "c").write_text("---\nkind: ConfigMap\n")
        output = io.BytesIO()
        files = [str(tmp_path / name) for name in "abc"]
        assert run(files, Request(options=OPTIONS), check=False, stdin=io.BytesIO(), output=output) == 0
        names = [each.get("metadata", {}).get("name") for each in yaml.safe_load_all(output.getvalue())]
        assert names == ["app", "b", None]


class TestPod:
    """What is added to pods."""

    @pytest.mark.parametrize(
        ("version", "kind", "path"),
        [
            ("v1", "Pod", ()),
            ("apps/v1", "Deployment", ("spec", "template")),
            ("apps/v1", "StatefulSet", ("spec", "template")),
            ("apps/v1", "DaemonSet", ("spec", "template")),
            ("apps/v1", "ReplicaSet", ("spec", "template")),
            ("batch/v1", "Job", ("spec", "template")),
            ("batch/v1", "CronJob", ("spec", "jobTemplate", "spec", "template")),
        ],
    )
    def test_every_kind_gets_the_same_pod(self, version: str, kind: str, path: tuple[str, ...]) -> None:
        tree: Any = {"spec": read_spec(POD)}
        for key in reversed(path):
            tree = {key: tree}
        workload = {"apiVersion": version, "kind": kind, **tree}
        for document in (workload, {"apiVersion": "v1", "kind": "List", "items": [{"kind": "Secret"}, workload]}):
            result = yaml.safe_load(inject_text(yaml.safe_dump(document)))
            result = result["items"][1] if document is not workload else result
            for key in path:
                result = result[key]
            assert result["spec"] == read_spec(inject_text(POD))

    def test_sidecar_is_put_before_existing_init_containers(self) -> None:
        spec = read_spec(inject_text(format_pod(initContainers=[{"name": "migrate", "image": "m"}])))
        assert [each["name"] for each in spec["initContainers"]] == ["sts-broker", "migrate"]
        assert spec["initContainers"][1] == {"name": "migrate", "image": "m"}

    def test_all_app_containers_get_the_endpoint(self) -> None:
        spec = read_spec(inject_text(format_pod(containers=[{"name": "a", "image": "x"}, {"name": "b", "image": "y"}])))
        for each in spec["containers"]:
            assert each["volumeMounts"] == [sidecar.build_app_mount()]
            assert [variable["name"] for variable in each["env"]] == [
                *(ENDPOINT, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_REGION", "AWS_DEFAULT_REGION")
            ]

    def test_only_chosen_containers_get_the_endpoint(self) -> None:
        text = format_pod(
            initContainers=[{"name": "migrate", "image": "m"}],
            containers=[{"name": "a", "image": "x"}, {"name": "b", "image": "y"}],
        )
        spec = read_spec(inject_text(text, containers=("migrate", "b")))
        assert [each["name"] for each in (*spec["initContainers"], *spec["containers"]) if "env" in each] == [
            *("sts-broker", "migrate", "b")
        ]

    def test_two_runs_give_containers_different_profiles(self) -> None:
        text = format_pod(containers=[{"name": "a", "image": "x"}, {"name": "b", "image": "y"}])
        first = inject_text(text, containers=("a",), config_map="c", profile="p")
        second = inject_text(first, containers=("b",), config_map="c", profile="q")
        uris = [
            next(variable["value"] for variable in each["env"] if variable["name"] == ENDPOINT)
            for each in read_spec(second)["containers"]
        ]
        assert uris == [f"{sidecar.ENDPOINT}/p", f"{sidecar.ENDPOINT}/q"]

    @pytest.mark.parametrize("name", ["AWS_REGION", "AWS_DEFAULT_REGION"])
    def test_existing_region_and_group_are_kept(self, name: str) -> None:
        own = {"name": name, "value": "us-east-1"}
        text = format_pod(securityContext={"fsGroup": 1000}, containers=[{"name": "a", "image": "x", "env": [own]}])
        spec = read_spec(inject_text(text))
        assert spec["securityContext"] == {"fsGroup": 1000}
        assert [each for each in spec["containers"][0]["env"] if "REGION" in each["name"]] == [own]

    def test_compatible_volume_of_another_size_is_kept(self) -> None:
        large = {"name": "sts-broker-credentials", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}}
        once = inject_text(format_pod(volumes=[large]))
        assert large in read_spec(once)["volumes"]
        assert run_inject(once, check=True, **OPTIONS)[0] == 0

    def test_volumes_of_an_older_sidecar_are_replaced(self) -> None:
        once = inject_text(POD, audience="other", config_map="old")
        spec = read_spec(inject_text(once, config_map="new"))
        assert spec["volumes"] == sidecar.build_volumes(
            sidecar.SidecarSpec(role_arn=ROLE, region="eu-west-1", config_map="new")
        )

    def test_no_fs_group_option_sets_no_group(self) -> None:
        _, result = injecting.run_inject(POD, OPTIONS, sets_group=False)
        assert "securityContext" not in read_spec(result)

    def test_profile_option_is_part_of_the_endpoint_url(self) -> None:
        spec = read_spec(inject_text(POD, config_map="profiles", profile="reports"))
        assert spec["containers"][0]["env"][0] == {"name": ENDPOINT, "value": f"{sidecar.ENDPOINT}/reports"}
        assert spec["volumes"][-1] == {"name": "sts-broker-profiles", "configMap": {"name": "profiles"}}

    def test_endpoint_with_a_profile_chosen_by_the_app_is_kept(self) -> None:
        uri = {"name": ENDPOINT, "value": f"{sidecar.ENDPOINT}/reports"}
        assert uri in read_spec(inject_text(format_app(env=[uri]), config_map="profiles"))["containers"][0]["env"]

    def test_audience_is_set_for_token_and_broker(self) -> None:
        spec = read_spec(inject_text(POD, audience="other"))
        assert {"name": "BROKER_AUDIENCE", "value": "other"} in spec["initContainers"][0]["env"]
        (source,) = spec["volumes"][0]["projected"]["sources"]
        assert source["serviceAccountToken"]["audience"] == "other"


class TestRequests:
    """Requests by option, by annotation, and none."""

    ANNOTATIONS: ClassVar = {
        "sts-broker/role-arn": ROLE,
        "sts-broker/region": "eu-north-1",
        "sts-broker/duration-seconds": "900",
    }

    def test_annotations_have_the_effect_of_options(self) -> None:
        expected = read_spec(inject_text(POD, region="eu-north-1", duration_seconds="900"))
        assert read_spec(run_inject(format_pod(self.ANNOTATIONS))[1]) == expected

    def test_option_takes_precedence_over_annotation(self) -> None:
        assert read_spec(
            run_inject(format_pod(self.ANNOTATIONS), region="eu-west-3", duration_seconds="1800")[1]
        ) == read_spec(inject_text(POD, region="eu-west-3", duration_seconds="1800"))

    def test_without_options_only_annotated_pods_get_the_sidecar(self, capsys: pytest.CaptureFixture[str]) -> None:
        text = f"{POD}---\n{format_pod(self.ANNOTATIONS)}"
        _, result = run_inject(text)
        assert result.startswith(POD)
        assert "initContainers" in result
        assert capsys.readouterr().err == (
            "sts-broker: document 1, Pod app: skipped, because it requests no sidecar. "
            "To add one, set annotation sts-broker/role-arn or --role-arn\n"
        )

    @pytest.mark.parametrize("text", [POD, "kind: ConfigMap\n", "# nothing\n"])
    def test_without_any_request_the_text_stays_unchanged(self, text: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert run_inject(text) == (0, text)
        assert run_inject(text, check=True) == (0, "")
        assert ("skipped, because it requests no sidecar" in capsys.readouterr().err) == ("Pod" in text)

    def test_role_without_any_workload_is_a_fault(self) -> None:
        (fault,) = collect_faults("kind: ConfigMap\n")
        assert fault.startswith("no workload found to add the sidecar to; expected one of Pod, PodTemplate, ")

    @pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n"])
    def test_empty_input_with_a_role_is_a_fault(self, text: str) -> None:
        assert len(collect_faults(text)) == 1


class TestCheck:
    """`--check`."""

    def test_pod_without_the_sidecar_is_reported(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run_inject(f"{POD}---\n{inject_text(POD)}", check=True, **OPTIONS) == (1, "")
        assert capsys.readouterr().err == "sts-broker: document 1, Pod app: lacks the sidecar\n"

    def test_pod_with_a_different_sidecar_is_reported(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run_inject(inject_text(POD).replace("cpu: 10m", "cpu: 11m"), check=True, **OPTIONS) == (1, "")
        assert (
            capsys.readouterr().err
            == "sts-broker: document 1, Pod app: has a sidecar that differs from what inject would write\n"
        )

    def test_pod_with_the_sidecar_passes(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run_inject(inject_text(POD), check=True, **OPTIONS) == (0, "")
        assert capsys.readouterr().err == ""


class TestFaults:
    """What is refused. All faults are reported at once, and nothing is printed."""

    @pytest.mark.parametrize("name", UNFIT)
    def test_unfit_pod_is_refused_with_the_reason(self, name: str) -> None:
        (fault,) = collect_faults(format_pod(**UNFIT[name].spec))
        assert re.match(r"document 1, line \d+, Pod app: ", fault)
        assert UNFIT[name].inject_message in fault

    @pytest.mark.parametrize("name", UNFIT_ANNOTATIONS)
    def test_invalid_annotation_is_named(self, name: str) -> None:
        found = collect_faults(format_pod(UNFIT_ANNOTATIONS[name]), {})
        assert any("sts-broker/" in fault for fault in found)

    @pytest.mark.parametrize("name", FIT)
    def test_pod_that_resembles_an_unfit_one_gets_the_sidecar(self, name: str) -> None:
        assert read_spec(inject_text(format_pod(**FIT[name])))["initContainers"][0]["name"] == "sts-broker"

    def test_container_that_is_not_chosen_can_have_access_keys(self) -> None:
        keys = {"name": "b", "image": "y", "env": [{"name": "AWS_ACCESS_KEY_ID", "value": "AKID"}]}
        assert inject_text(format_pod(containers=[{"name": "a", "image": "x"}, keys]), containers=("a",))

    @pytest.mark.parametrize(
        ("options", "name", "found"),
        [
            (
                {"role_arn": "app", "region": "eu-west-1"},
                "--role-arn (annotation sts-broker/role-arn)",
                "ARN of a role",
            ),
            ({"role_arn": ROLE}, "--region (annotation sts-broker/region)", "the Region is missing"),
            ({"role_arn": ROLE, "region": "Ireland"}, "--region (annotation sts-broker/region)", "Ireland"),
            (
                {**OPTIONS, "duration_seconds": "60"},
                "--duration-seconds (annotation sts-broker/duration-seconds)",
                "60",
            ),
            (
                {**OPTIONS, "duration_seconds": "1h"},
                "--duration-seconds (annotation sts-broker/duration-seconds)",
                "1h",
            ),
            ({**OPTIONS, "audience": "a" * 256}, "--audience (annotation sts-broker/audience)", "aaaa"),
            (
                {**OPTIONS, "config_map": "c", "profile": "a/b"},
                "--profile (annotation sts-broker/profile) is 'a/b'",
                "expected the name of a profile",
            ),
            (
                {**OPTIONS, "config_map": "C"},
                "--config-map (annotation sts-broker/config-map) is 'C'",
                "expected the name of a ConfigMap",
            ),
            (
                {**OPTIONS, "profile": "p"},
                "--profile (annotation sts-broker/profile) is 'p'",
                "Set --config-map (annotation sts-broker/config-map) too",
            ),
        ],
    )
    def test_invalid_setting_is_reported_with_option_and_annotation(
        self, options: dict[str, str], name: str, found: str
    ) -> None:
        (fault,) = collect_faults(POD, options)
        assert fault.startswith("document 1, Pod app: ")
        assert name in fault
        assert found in fault
        assert not any(variable in fault for variable in ("AWS_", "BROKER_")), "the names of inject, not the broker's"

    def test_misspelled_annotation_is_reported_with_line_and_suggestion_without_any_request(self) -> None:
        first, second = collect_faults(format_pod({"sts-broker/role_arn": ROLE, "sts-broker/regoin": "x"}), {})
        # The keys of the document are sorted: apiVersion, kind, metadata, annotations, and then these two.
        suggestion = "unknown annotation sts-broker/regoin (did you mean sts-broker/region?)"
        assert first == f"document 1, line 5, Pod app: {suggestion}"
        suggestion = "unknown annotation sts-broker/role_arn (did you mean sts-broker/role-arn?)"
        assert second == f"document 1, line 6, Pod app: {suggestion}"

    def test_annotation_that_resembles_none_is_reported_with_the_known_ones(self) -> None:
        (fault,) = collect_faults(format_pod({"sts-broker/x": "y"}))
        assert "line 5, Pod app: unknown annotation sts-broker/x. Known annotations: sts-broker/role-arn, " in fault

    def test_line_of_an_annotation_is_counted_from_the_start_of_the_file(self) -> None:
        annotated = POD.replace("  name: app\n", "  annotations:\n    sts-broker/rol-arn: x\n  name: app\n", 1)
        (fault,) = collect_faults(f"{POD}---\n{annotated}")
        assert fault.startswith(f"document 2, line {POD.count(chr(10)) + 6}, Pod app: unknown annotation ")

    def test_misspelled_annotation_is_reported_with_all_other_faults(self) -> None:
        text = format_pod(
            {"sts-broker/audiance": "x"}, containers=[{"name": "app", "ports": [{"containerPort": 9910}]}]
        )
        first, second, third = collect_faults(text, {"role_arn": "app", "region": "eu-west-1"})
        assert "did you mean sts-broker/audience?" in first
        assert "--role-arn" in second
        assert "port 9910" in third

    def test_annotation_on_the_workload_itself_is_a_fault(self) -> None:
        metadata = {"name": "d", "annotations": {"other": "x", "sts-broker/role-arn": ROLE}}
        spec = {"template": {"spec": {"containers": [{"name": "a"}]}}}
        document = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}
        (fault,) = collect_faults(yaml.safe_dump(document), {})
        assert fault == (
            "document 1, line 6, Deployment d: annotation sts-broker/role-arn is in the workload's own metadata, which "
            "its pods do not inherit. Move it to the metadata of the pod template"
        )

    def test_annotation_that_is_not_a_string_is_a_fault(self) -> None:
        (fault,) = collect_faults(format_pod({"sts-broker/duration-seconds": 900}))
        assert fault.endswith("annotation sts-broker/duration-seconds is not a string. Write the value in quotes")

    @pytest.mark.parametrize(
        ("name", "hint"), [("ap", " (did you mean app?)"), ("x", ". Its containers: app"), ("sts-broker", ". Its c")]
    )
    def test_container_option_that_names_no_container_is_a_fault(self, name: str, hint: str) -> None:
        with pytest.raises(ConfigurationError) as caught:
            injecting.run_inject(POD, OPTIONS, containers=(name,))
        (fault,) = caught.value.faults
        assert fault.startswith(f"document 1, Pod app: --container {name}: the pod has no such container{hint}")

    def test_faults_of_all_documents_are_reported_at_once(self) -> None:
        named = POD.replace("name: app", "name: api\n  namespace: payments", 1)
        text = f"a: b: c\n---\n{format_app(ports=[{'containerPort': 9910}])}---\n{named}      image: y\n---\n{POD}"
        first, second, third = collect_faults(text)
        assert first.startswith("document 1, line 1, column 5: not valid YAML: mapping values are not allowed")
        assert second.startswith("document 2, line 12, Pod app: container app uses port 9910")
        assert third.startswith("document 3, line ")
        assert "duplicate key image" in third

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("kind: Pod\n\tx: y\n", "line 2"),
            ("a: *b\n", "line 1, column 4: not valid YAML: found undefined alias"),
            ("kind: Pod\nx: \x07\n", "line 2: not valid YAML"),
            ("kind: Pod\n{{- if .x }}\na: b\n", "If this is a template, render it first"),
            ("[" * 5000 + "Pod", "nested too deeply to be read"),
            (
                POD.replace("spec:", "spec: &s") + "x: *s\n",
                "line 5: Pod app has an anchor (&) whose aliases (*) would change with it",
            ),
            (POD.replace("- name", "- <<: [a]\n      name"), "line 7: a merge key (<<) names something other than a"),
            ("apiVersion: v1\nkind: Pod\nspec: {}\n", "Pod (unnamed) has no containers"),
            ("apiVersion: apps/v1\nkind: Deployment\nmetadata: {generateName: d-}\n", "d- has no spec.template.spec"),
            ("apiVersion: v1\nkind: Pod\nspec: {containers: {a: b}}\n", "containers is not a list of mappings"),
            ("apiVersion: v1\nkind: Pod\nspec: {containers: [{env: 1}]}\n", "env is not a list of mappings"),
            (
                "apiVersion: v1\nkind: Pod\nspec: {containers: [{}], securityContext: 1}\n",
                "securityContext is not a mapping",
            ),
            (POD + "      args:\n        - |\n          text without an end", "end its last line"),
            (
                "apiVersion: v1\nkind: Pod\nspec: {containers: [{name: {{ .x }}}]}\n",
                "If this is a template, render it first",
            ),
            ("? kind\n: Pod\n? apiVersion\n: v1\n? spec\n: containers: [{name: a}]\n", "plain block style"),
        ],
    )
    def test_unusable_text_is_reported_with_its_line(self, text: str, expected: str) -> None:
        (fault,) = collect_faults(text)
        assert expected in fault

    def test_lines_are_counted_from_the_start_of_the_file(self) -> None:
        (fault,) = collect_faults(f"{POD}---\nkind: Pod\na: b: c\n")
        assert fault.startswith(f"document 2, line {POD.count(chr(10)) + 3}, column 5: ")

    def test_unreadable_file_is_a_fault(self, tmp_path: Path) -> None:
        (tmp_path / "latin").write_bytes(b"kind: \xff\n")
        files = [str(tmp_path / "missing"), str(tmp_path / "latin")]
        with pytest.raises(ConfigurationError) as caught:
            run(files, Request(options=OPTIONS), check=False, stdin=io.BytesIO(), output=io.BytesIO())
        assert caught.value.faults == (
            f"{files[0]}: No such file or directory",
            f"{files[1]}: byte 7 is not valid UTF-8. Save the file as UTF-8",
        )

    def test_host_network_gets_the_sidecar_and_a_warning(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert "initContainers" in inject_text(format_pod(hostNetwork=True))
        assert (
            "sts-broker: document 1, line 9, Pod app: hostNetwork: ports 9910 and 9911 are opened on the node"
            in capsys.readouterr().err
        )

    def test_shared_process_namespace_gets_the_sidecar_and_a_warning(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert "initContainers" in inject_text(format_pod(shareProcessNamespace=True))
        assert "document 1, line 9, Pod app: shareProcessNamespace: a container that runs" in capsys.readouterr().err
        inject_text(format_pod(shareProcessNamespace=False, hostNetwork=False))
        assert capsys.readouterr().err == ""
