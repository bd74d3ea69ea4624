"""Add the sidecar to the pods of one document, and collect its faults and warnings.

`sidecar` defines what is added, `sidecar_request` what a pod requests, `pod_templates` where the pods are, and
`yaml_edit` how the text is changed.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from broker.inject import (
    config_maps,
    manifests,
    service_accounts,
    service_mesh,
    sidecar,
    sidecar_faults,
    sidecar_request,
    sidecar_warnings,
    yaml_edit,
)
from broker.inject.finding import find_line
from broker.inject.sidecar_request import format_annotation
from broker.manifests import pod_templates, yaml_text
from broker.manifests.annotations import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.inject.finding import Finding
    from broker.inject.manifests import Workload
    from broker.inject.outcome import Outcome
    from broker.inject.sidecar_request import Request


@dataclass(frozen=True, slots=True)
class DocumentInjection:
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
        self.outcome.accounts += service_accounts.find_accounts(root, self.place)
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
        ]
        faults += (f"{self._locate_setting(workload, fault)}: {fault}" for fault in found)
        faults += (self._format(workload, each) for each in sidecar_faults.find_faults(pod, requested, chosen))
        self.outcome.faults += faults
        self._warn(workload, requested, chosen)
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
            reference = config_maps.Reference(name=requested.config_map, namespace=workload.namespace, place=place)
            self.outcome.references.append(reference)

    def _warn(self, workload: Workload, requested: sidecar.SidecarSpec, chosen: frozenset[str]) -> None:
        pod, warnings = workload.spec, self.outcome.warnings
        warnings += (self._format(workload, each) for each in sidecar_warnings.find_warnings(pod, requested, chosen))
        annotations = {name: str(each.value) for name, each in workload.annotations.items()}
        given = {**workload.annotations, **workload.labels}
        for source, warning in service_mesh.find_mesh_warnings({name: str(each.value) for name, each in given.items()}):
            warnings.append(f"{self.place}, line {self.line + given[source].line}, {workload.name}: {warning}")
        line = self.line + find_line(workload.spec_node, ("serviceAccountName",))
        place = f"{self.place}, line {line}, {workload.name}"
        use = service_accounts.build_use(pod, annotations, workload.namespace, chosen, place)
        self.outcome.uses += [use] if use is not None else []

    def _format(self, workload: Workload, finding: Finding) -> str:
        line = self.line + find_line(workload.spec_node, finding.path)
        return f"{self.place}, line {line}, {workload.name}: {finding.message}"

    def _locate_setting(self, workload: Workload, fault: str) -> str:
        """Return the place of the first annotation that a fault names, if its value is not from an option."""
        for key in sidecar_request.KEYS:
            annotation = workload.annotations.get(format_annotation(key))
            if annotation and key not in self.request.options and f"annotation {format_annotation(key)})" in fault:
                return f"{self.place}, line {self.line + annotation.line}, {workload.name}"
        return f"{self.place}, {workload.name}"


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
