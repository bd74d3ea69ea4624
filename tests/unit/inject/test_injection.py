"""`sts-broker inject`: what it refuses and says of it, who asks for what, and what stays as it is."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import yaml

from broker.core.errors import ConfigurationError
from broker.inject import sidecar
from broker.inject.injection import Request, run
from tests.support.unfit_pods import FIT, UNFIT, UNFIT_ANNOTATIONS

if TYPE_CHECKING:
    from pathlib import Path

ROLE = "arn:aws:iam::123456789012:role/app"
OPTIONS = {"role_arn": ROLE, "region": "eu-west-1"}
ENDPOINT = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
POD = """\
apiVersion: v1
kind: Pod
metadata:
  name: app
spec:
  containers:
    - name: app
      image: x
"""


def put(text: str, *, check: bool = False, containers: Any = (), **options: Any) -> tuple[int, str]:  # noqa: ANN401
    output = io.BytesIO()
    request = Request(options=options, containers=containers)
    code = run(["-"], request, check=check, stdin=io.BytesIO(text.encode()), output=output)
    return code, output.getvalue().decode()


def injected(text: str, **options: Any) -> str:  # noqa: ANN401 - those of put
    return put(text, **(OPTIONS | options))[1]


def faults(text: str, options: dict[str, str] | None = None) -> tuple[str, ...]:
    output = io.BytesIO()
    request = Request(options=OPTIONS if options is None else options)
    with pytest.raises(ConfigurationError) as caught:
        run(["-"], request, check=False, stdin=io.BytesIO(text.encode()), output=output)
    assert not output.getvalue(), "nothing is printed on any fault"
    return caught.value.faults


def pod(annotations: dict[str, Any] | None = None, **spec: Any) -> str:  # noqa: ANN401 - Kubernetes' own
    containers = spec.pop("containers", [{"name": "app", "image": "x"}])
    metadata = {"name": "app"} | ({"annotations": annotations} if annotations else {})
    return yaml.safe_dump(
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {**spec, "containers": containers}}
    )


def app(**more: Any) -> str:  # noqa: ANN401 - likewise
    return pod(containers=[{"name": "app", "image": "x", **more}])


def spec_of(text: str) -> dict[str, Any]:
    spec: dict[str, Any] = yaml.safe_load(text)["spec"]
    return spec


class TestText:
    """What is written, and where."""

    def test_block_style_gets_whole_lines_and_keeps_its_own(self) -> None:
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
        result = injected(text)
        lines = iter(result.splitlines())
        assert all(line in lines for line in text.splitlines()), "each line is there, in order"
        assert result.index("    initContainers:\n") < result.index("    # before the containers")
        assert result.endswith("fsGroup: 65532\n\n    # the end\n")

    def test_json_stays_json(self) -> None:
        compact = json.dumps(yaml.safe_load(POD))
        for text in (compact, json.dumps(yaml.safe_load(POD), indent=2)):
            assert json.loads(injected(text)) == yaml.safe_load(injected(POD))
        assert "\n" not in injected(compact)

    def test_flow_style_with_comments_and_a_comma_at_its_end_is_added_to(self) -> None:
        text = "apiVersion: v1\nkind: Pod\nspec: {containers: [ # c1\n  {name: app, image: x,}, # c2\n  ], }  # c3\n"
        result = injected(text)
        assert spec_of(result) == spec_of(
            injected(text.replace(",}", "}").replace("}, #", "} #").replace("], }", "]}"))
        )
        assert [result.count(f"# c{number}") for number in (1, 2, 3)] == [1, 1, 1]

    @pytest.mark.parametrize("empty", ["", " []", " null", " ~", "   []   # none", " # none"])
    def test_nothing_is_replaced_by_something_below_its_comment(self, empty: str) -> None:
        text = POD.replace("  containers:", f"  volumes:{empty}\n  initContainers:{empty}\n  containers:")
        result = injected(text)
        assert spec_of(result) == spec_of(injected(POD))
        assert result.count("# none") == text.count("# none")

    def test_text_without_a_last_line_end_gets_none(self) -> None:
        result = injected(POD.rstrip("\n"))
        assert result + "\n" == injected(POD)

    def test_line_ends_of_windows_are_kept(self) -> None:
        assert injected(POD.replace("\n", "\r\n")) == injected(POD).replace("\n", "\r\n")

    def test_byte_order_mark_is_kept(self) -> None:
        assert injected("\ufeff" + POD) == "\ufeff" + injected(POD)

    def test_block_text_at_the_end_is_not_added_to(self) -> None:
        text = POD + "      args:\n        - |+\n          last\n\n"
        result = injected(text)
        assert spec_of(result)["containers"][0]["args"] == ["last\n\n"]
        assert "env" in spec_of(result)["containers"][0]

    def test_alias_in_what_stays_is_kept(self) -> None:
        text = POD + "      resources: &r {limits: {memory: 1Gi}}\n    - name: b\n      image: y\n      resources: *r\n"
        assert "resources: *r\n" in injected(text)
        labelled = POD.replace("  name: app", "  name: app\n  labels: &l {a: b}\n  annotations: *l", 1)
        assert injected(labelled) == injected(POD).replace(
            POD[: POD.index("spec:")], labelled[: labelled.index("spec:")]
        )

    def test_other_documents_stay_byte_for_byte(self) -> None:
        other = "# odd\n!odd\nkind:   ConfigMap\ndata: {a: [1,2 ,3], b: !x 'y'}\n"
        custom = "apiVersion: example.com/v1\nkind: Deployment\nspec: {template: {}}\n"
        stream = f"%YAML 1.1\n---\n{other}...\n---\n---\n{POD}---\n{custom}---  # end\n"
        assert injected(stream) == stream.replace(POD, injected(POD))

    def test_tag_directive_belongs_to_the_document_that_follows(self) -> None:
        stream = f"{POD}...\n%TAG !e! tag:example.com,2000:\n---\n!e!x\na: 1\n"
        assert injected(stream) == stream.replace(POD, injected(POD))

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
    """What pods get."""

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
    def test_every_kind_gets_the_same(self, version: str, kind: str, path: tuple[str, ...]) -> None:
        tree: Any = {"spec": spec_of(POD)}
        for key in reversed(path):
            tree = {key: tree}
        workload = {"apiVersion": version, "kind": kind, **tree}
        for document in (workload, {"apiVersion": "v1", "kind": "List", "items": [{"kind": "Secret"}, workload]}):
            result = yaml.safe_load(injected(yaml.safe_dump(document)))
            result = result["items"][1] if document is not workload else result
            for key in path:
                result = result[key]
            assert result["spec"] == spec_of(injected(POD))

    def test_sidecar_is_first_and_the_own_init_containers_follow(self) -> None:
        spec = spec_of(injected(pod(initContainers=[{"name": "migrate", "image": "m"}])))
        assert [each["name"] for each in spec["initContainers"]] == ["sts-broker", "migrate"]
        assert spec["initContainers"][1] == {"name": "migrate", "image": "m"}

    def test_all_containers_of_the_app_find_the_endpoint(self) -> None:
        spec = spec_of(injected(pod(containers=[{"name": "a", "image": "x"}, {"name": "b", "image": "y"}])))
        for each in spec["containers"]:
            assert each["volumeMounts"] == [sidecar.app_mount()]
            assert [variable["name"] for variable in each["env"]] == [
                *(ENDPOINT, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_REGION")
            ]

    def test_chosen_containers_alone_find_the_endpoint(self) -> None:
        text = pod(
            initContainers=[{"name": "migrate", "image": "m"}],
            containers=[{"name": "a", "image": "x"}, {"name": "b", "image": "y"}],
        )
        spec = spec_of(injected(text, containers=("migrate", "b")))
        assert [each["name"] for each in (*spec["initContainers"], *spec["containers"]) if "env" in each] == [
            *("sts-broker", "migrate", "b")
        ]

    def test_profile_by_container_takes_two_runs(self) -> None:
        text = pod(containers=[{"name": "a", "image": "x"}, {"name": "b", "image": "y"}])
        first = injected(text, containers=("a",), config_map="c", profile="p")
        second = injected(first, containers=("b",), config_map="c", profile="q")
        uris = [
            next(variable["value"] for variable in each["env"] if variable["name"] == ENDPOINT)
            for each in spec_of(second)["containers"]
        ]
        assert uris == [f"{sidecar.ENDPOINT}/p", f"{sidecar.ENDPOINT}/q"]

    def test_own_region_and_group_of_the_app_stay(self) -> None:
        text = pod(
            securityContext={"fsGroup": 1000},
            containers=[{"name": "a", "image": "x", "env": [{"name": "AWS_REGION", "value": "us-east-1"}]}],
        )
        spec = spec_of(injected(text))
        assert spec["securityContext"] == {"fsGroup": 1000}
        assert [each for each in spec["containers"][0]["env"] if each["name"] == "AWS_REGION"] == [
            {"name": "AWS_REGION", "value": "us-east-1"}
        ]

    def test_fitting_volume_of_another_size_stays(self) -> None:
        large = {"name": "sts-broker-credentials", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}}
        once = injected(pod(volumes=[large]))
        assert large in spec_of(once)["volumes"]
        assert put(once, check=True, **OPTIONS)[0] == 0

    def test_volume_of_an_older_sidecar_gives_way(self) -> None:
        once = injected(POD, audience="other", config_map="old")
        spec = spec_of(injected(once, config_map="new"))
        assert spec["volumes"] == sidecar.volumes(sidecar.Wanted(role_arn=ROLE, region="eu-west-1", config_map="new"))

    def test_group_is_left_to_a_platform_that_chooses_it(self) -> None:
        output = io.BytesIO()
        request = Request(options=OPTIONS, sets_group=False)
        run(["-"], request, check=False, stdin=io.BytesIO(POD.encode()), output=output)
        assert "securityContext" not in spec_of(output.getvalue().decode())

    def test_profile_of_a_file_is_asked_for_by_name(self) -> None:
        spec = spec_of(injected(POD, config_map="profiles", profile="reports"))
        assert spec["containers"][0]["env"][0] == {"name": ENDPOINT, "value": f"{sidecar.ENDPOINT}/reports"}
        assert spec["volumes"][-1] == {"name": "sts-broker-profiles", "configMap": {"name": "profiles"}}

    def test_profile_that_the_app_chose_itself_stays(self) -> None:
        uri = {"name": ENDPOINT, "value": f"{sidecar.ENDPOINT}/reports"}
        assert uri in spec_of(injected(app(env=[uri]), config_map="profiles"))["containers"][0]["env"]

    def test_audience_is_that_of_the_token_and_of_the_broker(self) -> None:
        spec = spec_of(injected(POD, audience="other"))
        assert {"name": "BROKER_AUDIENCE", "value": "other"} in spec["initContainers"][0]["env"]
        (source,) = spec["volumes"][0]["projected"]["sources"]
        assert source["serviceAccountToken"]["audience"] == "other"


class TestWhoAsks:
    """Options, annotations, and neither."""

    ANNOTATIONS: ClassVar = {
        "sts-broker/role-arn": ROLE,
        "sts-broker/region": "eu-north-1",
        "sts-broker/duration-seconds": "900",
    }

    def test_annotations_say_what_options_do(self) -> None:
        expected = spec_of(injected(POD, region="eu-north-1", duration_seconds="900"))
        assert spec_of(put(pod(self.ANNOTATIONS))[1]) == expected

    def test_option_wins(self) -> None:
        assert spec_of(put(pod(self.ANNOTATIONS), region="eu-west-3", duration_seconds="1800")[1]) == spec_of(
            injected(POD, region="eu-west-3", duration_seconds="1800")
        )

    def test_without_options_only_those_that_ask_get_it(self, capsys: pytest.CaptureFixture[str]) -> None:
        text = f"{POD}---\n{pod(self.ANNOTATIONS)}"
        _, result = put(text)
        assert result.startswith(POD)
        assert "initContainers" in result
        assert capsys.readouterr().err == (
            "sts-broker: document 1, Pod app: left as it is, without sts-broker/role-arn and --role-arn\n"
        )

    @pytest.mark.parametrize("text", [POD, "kind: ConfigMap\n", ""])
    def test_where_nobody_asks_all_goes_through(self, text: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert put(text) == (0, text)
        assert put(text, check=True) == (0, "")
        assert ("without sts-broker/role-arn and --role-arn" in capsys.readouterr().err) == ("Pod" in text)

    def test_no_workload_for_a_role_is_a_fault(self) -> None:
        (fault,) = faults("kind: ConfigMap\n")
        assert fault.startswith("there is no workload to add the sidecar to: expected one of Pod, Deployment")

    @pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n"])
    def test_nothing_is_a_fault(self, text: str) -> None:
        assert len(faults(text)) == 1


class TestCheck:
    """`--check`."""

    def test_pod_without_the_sidecar_is_named(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert put(f"{POD}---\n{injected(POD)}", check=True, **OPTIONS) == (1, "")
        assert capsys.readouterr().err == "sts-broker: document 1, Pod app: lacks the sidecar\n"

    def test_pod_with_another_sidecar_is_named(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert put(injected(POD).replace("cpu: 10m", "cpu: 11m"), check=True, **OPTIONS) == (1, "")
        assert (
            capsys.readouterr().err == "sts-broker: document 1, Pod app: has another sidecar than inject would write\n"
        )

    def test_pod_with_the_sidecar_passes(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert put(injected(POD), check=True, **OPTIONS) == (0, "")
        assert capsys.readouterr().err == ""


class TestFaults:
    """What is refused: all at once, named, and never half."""

    @pytest.mark.parametrize("name", UNFIT)
    def test_pod_that_cannot_take_it_is_told_why(self, name: str) -> None:
        (fault,) = faults(pod(**UNFIT[name].spec))
        assert fault.startswith("document 1, Pod app: ")
        assert UNFIT[name].told_by_inject in fault

    @pytest.mark.parametrize("name", UNFIT_ANNOTATIONS)
    def test_annotation_that_is_no_good_is_named(self, name: str) -> None:
        told = faults(pod(UNFIT_ANNOTATIONS[name]), {})
        assert any("sts-broker/" in fault for fault in told)

    @pytest.mark.parametrize("name", FIT)
    def test_pod_that_only_looks_unfit_is_taken(self, name: str) -> None:
        assert spec_of(injected(pod(**FIT[name])))["initContainers"][0]["name"] == "sts-broker"

    def test_container_that_is_not_chosen_may_have_other_credentials(self) -> None:
        keys = {"name": "b", "image": "y", "env": [{"name": "AWS_ACCESS_KEY_ID", "value": "AKID"}]}
        assert injected(pod(containers=[{"name": "a", "image": "x"}, keys]), containers=("a",))

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            ({"role_arn": "app", "region": "eu-west-1"}, "--role-arn or annotation sts-broker/role-arn: expected"),
            ({"role_arn": ROLE}, "no Region: write --region or annotation sts-broker/region"),
            ({"role_arn": ROLE, "region": "Ireland"}, "--region or annotation sts-broker/region: expected"),
            ({**OPTIONS, "duration_seconds": "60"}, "--duration-seconds or annotation sts-broker/duration-seconds: "),
            ({**OPTIONS, "duration_seconds": "1h"}, "--duration-seconds or annotation sts-broker/duration-seconds: "),
            ({**OPTIONS, "audience": "a" * 256}, "--audience or annotation sts-broker/audience: "),
            (
                {**OPTIONS, "config_map": "c", "profile": "a/b"},
                "--profile or annotation sts-broker/profile: 'a/b' is no",
            ),
            ({**OPTIONS, "config_map": "C"}, "--config-map or annotation sts-broker/config-map: 'C' is no name"),
            ({**OPTIONS, "profile": "p"}, "p needs a ConfigMap with profiles: write --config-map"),
        ],
    )
    def test_setting_that_the_broker_would_refuse_is_told_by_its_names_here(
        self, options: dict[str, str], told: str
    ) -> None:
        (fault,) = faults(POD, options)
        assert fault.startswith(f"document 1, Pod app: {told}" if told.startswith("--") else "document 1, Pod app: ")
        assert told in fault

    def test_annotation_that_is_not_known_is_told_even_where_nobody_asks(self) -> None:
        told = faults(pod({"sts-broker/role_arn": ROLE}), {})
        assert any("annotation sts-broker/role_arn: there is no such; there are sts-broker/role-arn" in x for x in told)

    def test_annotation_of_the_workload_itself_is_told_where_it_belongs(self) -> None:
        metadata = {"name": "d", "annotations": {"other": "x", "sts-broker/role-arn": ROLE}}
        spec = {"template": {"spec": {"containers": [{"name": "a"}]}}}
        document = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}
        told = faults(yaml.safe_dump(document), {})
        assert len(told) == 1
        assert "Deployment d: annotation sts-broker/role-arn stands where no pod gets it: write it into the" in told[0]

    def test_annotation_that_is_no_text_is_told(self) -> None:
        (fault,) = faults(pod({"sts-broker/duration-seconds": 900}))
        assert fault.endswith("annotation sts-broker/duration-seconds: annotations are text: write it in quotes")

    def test_container_that_is_not_there_is_told_with_those_that_are(self) -> None:
        output = io.BytesIO()
        request = Request(options=OPTIONS, containers=("ap",))
        with pytest.raises(ConfigurationError) as caught:
            run(["-"], request, check=False, stdin=io.BytesIO(POD.encode()), output=output)
        assert caught.value.faults == ("document 1, Pod app: --container ap: it has app",)

    def test_faults_of_all_documents_are_told_at_once(self) -> None:
        named = POD.replace("name: app", "name: api\n  namespace: payments", 1)
        text = f"a: b: c\n---\n{app(ports=[{'containerPort': 9910}])}---\n{named}      image: y\n---\n{POD}"
        first, second, third = faults(text)
        assert first.startswith("document 1, line 1, column 5: no valid YAML: mapping values are not allowed")
        assert second.startswith("document 2, Pod app: container app has port 9910")
        assert third.startswith("document 3, line ")
        assert "image stands there twice" in third

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("kind: Pod\n\tx: y\n", "line 2"),
            ("a: *b\n", "line 1, column 4: no valid YAML: found undefined alias"),
            ("kind: Pod\nx: \x07\n", "line 2: no valid YAML"),
            ("kind: Pod\n{{- if .x }}\na: b\n", "is this a template? Render it first"),
            ("[" * 5000 + "Pod", "nested too deep"),
            (POD.replace("spec:", "spec: &s") + "x: *s\n", "line 5: an anchor (&) or alias (*) is not taken here"),
            (POD.replace("- name", "- <<: {tty: true}\n      name"), "line 7: a merge key"),
            ("apiVersion: v1\nkind: Pod\nspec: {}\n", "Pod without a name has no containers"),
            ("apiVersion: apps/v1\nkind: Deployment\nmetadata: {generateName: d-}\n", "d- has no spec.template.spec"),
            ("apiVersion: v1\nkind: Pod\nspec: {containers: {a: b}}\n", "containers is no list of mappings"),
            ("apiVersion: v1\nkind: Pod\nspec: {containers: [{env: 1}]}\n", "env is no list of mappings"),
            (
                "apiVersion: v1\nkind: Pod\nspec: {containers: [{}], securityContext: 1}\n",
                "securityContext is no mapping",
            ),
            (POD + "      args:\n        - |\n          text without an end", "end its last line"),
            (
                "apiVersion: v1\nkind: Pod\nspec: {containers: [{name: {{ .x }}}]}\n",
                "is this a template? Render it first",
            ),
            ("? kind\n: Pod\n? apiVersion\n: v1\n? spec\n: containers: [{name: a}]\n", "plain block style"),
        ],
    )
    def test_text_that_cannot_be_used_is_told_with_its_line(self, text: str, told: str) -> None:
        (fault,) = faults(text)
        assert told in fault

    def test_line_is_counted_from_the_begin_of_the_file(self) -> None:
        (fault,) = faults(f"{POD}---\nkind: Pod\na: b: c\n")
        assert fault.startswith(f"document 2, line {POD.count(chr(10)) + 3}, column 5: ")

    def test_file_that_cannot_be_read_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "latin").write_bytes(b"kind: \xff\n")
        files = [str(tmp_path / "missing"), str(tmp_path / "latin")]
        with pytest.raises(ConfigurationError) as caught:
            run(files, Request(options=OPTIONS), check=False, stdin=io.BytesIO(), output=io.BytesIO())
        assert caught.value.faults == (
            f"{files[0]}: No such file or directory",
            f"{files[1]}: byte 7 is no UTF-8: save it as that",
        )

    def test_host_network_is_warned_of_and_done(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert "initContainers" in injected(pod(hostNetwork=True))
        assert (
            "sts-broker: document 1, Pod app: hostNetwork: ports 9910 and 9911 are the node's"
            in capsys.readouterr().err
        )

    def test_shared_processes_are_warned_of_and_done(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert "initContainers" in injected(pod(shareProcessNamespace=True))
        assert (
            "sts-broker: document 1, Pod app: shareProcessNamespace: a container that runs" in capsys.readouterr().err
        )
        injected(pod(shareProcessNamespace=False, hostNetwork=False))
        assert capsys.readouterr().err == ""
