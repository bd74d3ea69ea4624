"""`sts-broker inject`: read manifests, add the sidecar to their pods, and print them.

Rules:
- All or nothing: with any fault, no manifest is printed, and all faults and warnings are reported at once.
- Nothing is passed over in silence: an annotation without a sidecar is a fault. With a role for all pods, objects whose
  containers are in no pod template are named, and `--check` reports them as lacking the sidecar.
- Text outside of pods stays unchanged, byte for byte.
- Idempotent: injecting its own output changes nothing.

`sidecar` defines what is added, `sidecar_request` what a pod requests, `pod_templates` where the pods are, and
`yaml_edit` how the text is changed.
"""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from broker.core.errors import ConfigurationError
from broker.inject import (
    config_maps,
    documents,
    manifests,
    pod_templates,
    sidecar,
    sidecar_faults,
    sidecar_request,
    yaml_edit,
    yaml_text,
)
from broker.inject.config_maps import ConfigMap, Reference
from broker.inject.sidecar_request import PREFIX, format_annotation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    from broker.inject.manifests import Workload
    from broker.inject.sidecar_request import Request

EXIT_LACKING = 1
"""`--check`: a workload lacks the sidecar, or has a different one."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """The result for some manifests.

    `text` is the new text. `changed`, `kept` and `skipped` name the workloads whose sidecar was added or replaced, was
    right already, or was not requested. `passed_over` are objects with containers, but without a pod template.
    `references` are the pods that mount one of `config_maps`, which another document can define.
    """

    text: str = ""
    changed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    config_maps: list[ConfigMap] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)


def run(files: Sequence[str], request: Request, *, check: bool, stdin: BinaryIO, output: BinaryIO) -> int:
    """Print the manifests in these files with the sidecar or, with `check`, only report what would change.

    Return the exit code. Raises ConfigurationError with all faults.
    """
    outcome = Outcome()
    is_empty = True
    for file in files:
        text = _read_file(file, stdin, outcome.faults)
        is_empty = is_empty and not text.strip(f"{documents.BYTE_ORDER_MARK} \t\r\n")
        if outcome.text:  # only the first bytes of a stream can be a byte order mark
            text = text.removeprefix(documents.BYTE_ORDER_MARK)
        needs_marker = outcome.text and not text.startswith(("---", "%"))
        if outcome.text and not outcome.text.endswith("\n"):
            outcome.text += "\n"
        outcome.text += "---\n" if needs_marker else ""
        inject(text, request, outcome, where="" if len(files) == 1 else f"{file}, ")
    outcome.faults += config_maps.find_reference_faults(outcome.references, outcome.config_maps)
    is_for_all = bool(request.options.get("role_arn") or request.options.get("config_map"))
    if is_for_all and not (outcome.faults or outcome.changed or outcome.kept or outcome.passed_over):
        kinds = ", ".join(pod_templates.KINDS)
        outcome.faults.append(
            f"no workload found to add the sidecar to; expected one of {kinds}, a List of them, "
            "or any other kind with a pod template"
        )
    elif check and is_empty and not outcome.faults:
        outcome.faults.append("the input is empty, so there is nothing to check. Check the command that writes it")
    _report(outcome)
    if outcome.faults:
        raise ConfigurationError(tuple(dict.fromkeys(outcome.faults)))  # two readers may meet the same one
    if check:
        sys.stderr.writelines(f"sts-broker: {each}\n" for each in outcome.changed)
        return EXIT_LACKING if outcome.changed or outcome.passed_over else 0
    output.write(outcome.text.encode())
    return 0


def _report(outcome: Outcome) -> None:
    """Write the warnings, and the objects that get no sidecar, to standard error."""
    for warning in outcome.warnings:
        sys.stderr.write(f"sts-broker: {warning}\n")
    for name in outcome.skipped:
        sys.stderr.write(
            f"sts-broker: {name}: skipped, because it requests no sidecar. "
            f"To add one, set annotation {format_annotation('role_arn')} or --role-arn\n"
        )
    for name in outcome.passed_over:
        sys.stderr.write(
            f"sts-broker: {name}: passed over, because its containers are in no pod template (spec.containers). "
            "Use the admission policies for its pods, or name its kind with --pass-over\n"
        )


def _read_file(file: str, stdin: BinaryIO, faults: list[str]) -> str:
    """Return the text of a file, or of standard input for `-`. Adds to `faults`."""
    try:
        # A file from the command line may be a pipe, such as that of `<(helm template …)`.
        data = stdin.read() if file == "-" else Path(file).read_bytes()
        return data.decode()
    except OSError as error:
        faults.append(f"{file}: {error.strerror}")
    except UnicodeDecodeError as error:
        faults.append(f"{file}: byte {error.start + 1} is not valid UTF-8. Save the file as UTF-8")
    return ""


def inject(text: str, request: Request, outcome: Outcome, *, where: str = "") -> None:
    """Add the documents of a stream, with the sidecar in their pods, to `outcome`."""
    line = 0
    for number, part in enumerate(documents.split_documents(text), start=1):
        place = f"{where}document {number}"
        mark = documents.BYTE_ORDER_MARK if part.startswith(documents.BYTE_ORDER_MARK) else ""
        try:
            outcome.text += mark + _Injection(request, outcome, place, line).inject_document(part.removeprefix(mark))
        except yaml.YAMLError as error:
            outcome.faults.append(f"{place}, {documents.describe_syntax_error(error, part, line)}")
        except yaml_text.UneditableYaml as error:
            outcome.faults.append(f"{place}, line {line + error.line}: {error}")
        except RecursionError:
            outcome.faults.append(f"{place}, line {line + 1}: nested too deeply to be read")
        line += part.count("\n")


@dataclass(frozen=True, slots=True)
class _Injection:
    """The injection into one document. `place` identifies it in messages, `line` is its first line, from 0."""

    request: Request
    outcome: Outcome
    place: str
    line: int

    def inject_document(self, part: str) -> str:
        """Return the document with the sidecar in its pods. Raises YAMLError, UneditableYaml."""
        document = yaml_text.compose(part)
        faults_before = len(self.outcome.faults)
        workloads = [each for root in document.roots for each in self._read_workloads(root)]
        specs: list[sidecar.Tree] = []
        edits: list[yaml_edit.Edit] = []
        for workload in workloads:
            spec = self._plan_spec(workload)
            values = (workload.spec, spec)
            with self._collect_fault():
                edits += yaml_edit.compute_edits(document, workload.spec_node, workload.spec_key, values)
            specs.append(spec)
        if len(self.outcome.faults) > faults_before:
            return part
        result = yaml_edit.apply_edits(part, edits)
        if edits and not _is_as_planned(document, workloads, specs, result):
            first = next(each for each, spec in zip(workloads, specs, strict=True) if each.spec != spec)
            raise _explain_layout(document, first)
        return result

    @contextlib.contextmanager
    def _collect_fault(self) -> Iterator[None]:
        """Add the fault of one pod, so that the other pods of its document are judged too."""
        try:
            yield
        except yaml_text.UneditableYaml as error:
            self.outcome.faults.append(f"{self.place}, line {self.line + error.line}: {error}")

    def _read_workloads(self, root: yaml.Node) -> Iterator[Workload]:
        """Yield the workloads of one root that can be read. Adds faults, and what is passed over."""
        places = list(pod_templates.find_pods(root))
        for place in places:
            with self._collect_fault():
                yield manifests.read_workload(place)
        for line, annotation in manifests.find_stray_annotations(root, places, PREFIX).items():
            self.outcome.faults.append(
                f"{self.place}, line {self.line + line}: annotation {annotation} is not in the metadata of a pod or of "
                "a pod template, so that no sidecar is added. Move it there. If an operator creates the pods, leave "
                "out this document, and use the admission policies"
            )
        self.outcome.config_maps += config_maps.find_config_maps(root, self.place, self.line)
        if self.request.options.get("role_arn") or self.request.options.get("config_map"):
            self.outcome.passed_over += (
                f"{self.place}, line {self.line + line}, {name}"
                for kind, name, line in pod_templates.find_other_containers(root)
                if kind not in self.request.passed_over_kinds
            )

    def _plan_spec(self, workload: Workload) -> sidecar.Tree:
        """Return the pod's spec with the sidecar; unchanged if none is requested or the pod cannot take it."""
        pod, name = workload.spec, f"{self.place}, {workload.name}"
        requested = sidecar_request.resolve_spec(workload, self.request)
        is_annotated = sidecar_request.has_annotations(workload.annotations)
        if workload.kind in self.request.passed_over_kinds and not is_annotated:
            requested = None
        faults = [
            f"{self.place}, line {self.line + line}, {workload.name}: {fault}"
            for line, fault in sidecar_request.find_annotation_faults(workload)
        ]
        if requested is None:
            if not faults and is_annotated:
                needed = f"{format_annotation('role_arn')} or {format_annotation('config_map')}"
                faults.append(f"{name}: annotations {PREFIX}… have no effect without {needed}. Add one of these")
            self.outcome.faults += faults
            self.outcome.skipped.append(name)
            return pod
        chosen = frozenset(self.request.containers or (str(each.get("name")) for each in pod["containers"]))
        found = [
            *sidecar_request.find_setting_faults(requested),
            *sidecar_request.find_container_faults(workload, self.request),
            *sidecar_faults.find_faults(pod, requested, chosen),
        ]
        faults += (f"{name}: {fault}" for fault in found)
        self.outcome.faults += faults
        self.outcome.warnings += (f"{name}: {warning}" for warning in sidecar_faults.find_warnings(pod))
        if faults:
            return pod
        self._note_surroundings(workload, requested)
        result = sidecar.add_sidecar(pod, requested, chosen)
        if result == pod:
            self.outcome.kept.append(name)
        elif any(sidecar.is_broker(each) for each in pod.get("initContainers") or ()):
            self.outcome.changed.append(f"{name}: has a sidecar that differs from what inject would write")
        else:
            self.outcome.changed.append(f"{name}: lacks the sidecar")
        return result

    def _note_surroundings(self, workload: Workload, requested: sidecar.SidecarSpec) -> None:
        """Add the warnings about the workload's kind, and the ConfigMap that its pods would mount."""
        line = self.line + yaml_text.get_line(workload.spec_key)
        place = f"{self.place}, line {line}, {workload.name}"
        if workload.group in pod_templates.WARNINGS_BY_GROUP:
            self.outcome.warnings.append(f"{place}: {pod_templates.WARNINGS_BY_GROUP[workload.group]}")
        if requested.config_map:
            reference = Reference(name=requested.config_map, namespace=workload.namespace, place=place)
            self.outcome.references.append(reference)


def _explain_layout(document: yaml_text.Document, workload: Workload) -> yaml_text.UneditableYaml:
    """Return the error for a pod whose text cannot be edited."""
    anchor = yaml_text.find_anchor(document, workload.spec_node)
    if anchor is None:
        return yaml_text.UneditableYaml(
            f"{workload.name} has a layout that cannot be edited. Write it in plain block style, "
            "and end its last line with a line break",
            yaml_text.get_line(workload.spec_node),
        )
    return yaml_text.UneditableYaml(
        f"{workload.name} has an anchor (&) whose aliases (*) would change with it. "
        "Write out the value in place of the aliases",
        yaml_text.get_line(anchor),
    )


def _is_as_planned(
    before: yaml_text.Document, workloads: list[Workload], specs: list[sidecar.Tree], result: str
) -> bool:
    """Return whether the new text, parsed, has exactly these pod specs, and everything else unchanged."""
    try:
        after = yaml_text.compose(result)
        written = [each for root in after.roots for each in manifests.find_workloads(root)]
    except (yaml.YAMLError, yaml_text.UneditableYaml):
        return False
    rest_before = [yaml_text.build_comparable(root, [each.spec_node for each in workloads]) for root in before.roots]
    rest_after = [yaml_text.build_comparable(root, [each.spec_node for each in written]) for root in after.roots]
    return [each.spec for each in written] == specs and rest_before == rest_after
