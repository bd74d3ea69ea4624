"""`sts-broker inject`: read manifests, add the sidecar to their pods, and print them.

Rules:
- All or nothing: with any fault, nothing is printed, and the faults of all documents are reported at once.
- Text outside of pods stays unchanged, byte for byte.
- Idempotent: injecting its own output changes nothing.

`sidecar` defines what is added, `sidecar_request` what a pod requests, `yaml_edit` how the text is changed.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from broker.core.errors import ConfigurationError
from broker.inject import (
    manifests,
    service_accounts,
    service_mesh,
    sidecar,
    sidecar_faults,
    sidecar_request,
    sidecar_warnings,
    yaml_edit,
    yaml_text,
)
from broker.inject.finding import find_line
from broker.inject.sidecar_request import PREFIX, format_annotation

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

    from broker.inject.finding import Finding
    from broker.inject.manifests import Workload
    from broker.inject.sidecar_request import Request

EXIT_LACKING = 1
"""`--check`: a workload lacks the sidecar, or has a different one."""
_FAST_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True, kw_only=True)
class Outcome:
    """The result for some manifests.

    `text` is the new text. `changed`, `kept` and `skipped` name the workloads whose sidecar was added or replaced, was
    right already, or was not requested. `accounts` are annotated for EKS's webhook, `uses` are the pods that may have
    such an account, which another document can define.
    """

    text: str = ""
    changed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    accounts: list[service_accounts.Account] = field(default_factory=list)
    uses: list[service_accounts.Use] = field(default_factory=list)


def run(files: Sequence[str], request: Request, *, check: bool, stdin: BinaryIO, output: BinaryIO) -> int:
    """Print the manifests in these files with the sidecar or, with `check`, only report what would change.

    Return the exit code. Raises ConfigurationError with all faults.
    """
    outcome = Outcome()
    for file in files:
        text = _read_file(file, stdin, outcome.faults)
        needs_marker = outcome.text and not text.startswith(("---", "%"))
        if outcome.text and not outcome.text.endswith("\n"):
            outcome.text += "\n"
        outcome.text += "---\n" if needs_marker else ""
        inject(text, request, outcome, where="" if len(files) == 1 else f"{file}, ")
    is_for_all = bool(request.options.get("role_arn") or request.options.get("config_map"))
    if is_for_all and not (outcome.faults or outcome.changed or outcome.kept):
        kinds = ", ".join(manifests.KINDS)
        outcome.faults.append(f"no workload found to add the sidecar to; expected one of {kinds}, or a List of them")
    outcome.warnings += service_accounts.find_account_warnings(outcome.uses, outcome.accounts)
    for warning in outcome.warnings:
        sys.stderr.write(f"sts-broker: {warning}\n")
    if outcome.faults:
        raise ConfigurationError(tuple(outcome.faults))
    for name in outcome.skipped:
        sys.stderr.write(
            f"sts-broker: {name}: skipped, because it requests no sidecar. "
            f"To add one, set annotation {format_annotation('role_arn')} or --role-arn\n"
        )
    if check:
        sys.stderr.writelines(f"sts-broker: {each}\n" for each in outcome.changed)
        return EXIT_LACKING if outcome.changed else 0
    output.write(outcome.text.encode())
    return 0


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
    for number, part in enumerate(manifests.split_documents(text), start=1):
        place = f"{where}document {number}"
        try:
            outcome.text += _Injection(request, outcome, place, line).inject_document(part)
        except yaml.YAMLError as error:
            outcome.faults.append(f"{place}, {_describe_syntax_error(error, part, line)}")
        except yaml_text.UneditableYaml as error:
            outcome.faults.append(f"{place}, line {line + error.line}: {error}")
        except RecursionError:
            outcome.faults.append(f"{place}: nested too deeply to be read")
        line += part.count("\n")


def _describe_syntax_error(error: yaml.YAMLError, part: str, line: int) -> str:
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if "{{" in part:
        problem = f"{problem}. If this is a template, render it first"
    if mark is None:  # a character that YAML does not allow
        position = getattr(error, "position", 0)
        mark_line, problem = part.count("\n", 0, position), getattr(error, "reason", problem)
        return f"line {line + mark_line + 1}: not valid YAML: {problem}"
    return f"line {line + mark.line + 1}, column {mark.column + 1}: not valid YAML: {problem}"


@dataclass(frozen=True, slots=True)
class _Injection:
    """The injection into one document. `place` identifies it in messages, `line` is its first line, from 0."""

    request: Request
    outcome: Outcome
    place: str
    line: int

    def inject_document(self, part: str) -> str:
        """Return the document with the sidecar in its pods. Raises YAMLError, UneditableYaml."""
        if service_accounts.ROLE_ANNOTATION in part:
            for root in yaml_text.compose(part).roots:
                self.outcome.accounts += service_accounts.find_accounts(root, self.place)
        if not manifests.can_have_pod(part):
            for _ in yaml.compose_all(part, Loader=_FAST_LOADER):
                pass
            return part
        document = yaml_text.compose(part)
        workloads = [each for root in document.roots for each in manifests.find_workloads(root)]
        specs: list[sidecar.Tree] = []
        edits: list[yaml_edit.Edit] = []
        for workload in workloads:
            spec = self._plan_spec(workload)
            edits += yaml_edit.compute_edits(document, workload.spec_node, workload.spec_key, (workload.spec, spec))
            specs.append(spec)
        result = yaml_edit.apply_edits(part, edits)
        if edits and not _is_as_planned(document, workloads, specs, result):
            first = next(each for each, spec in zip(workloads, specs, strict=True) if each.spec != spec)
            raise yaml_text.UneditableYaml(
                f"{first.name} has a layout that cannot be edited. Write it in plain block style, "
                "and end its last line with a line break",
                yaml_text.get_line(first.spec_node),
            )
        return result

    def _plan_spec(self, workload: Workload) -> sidecar.Tree:
        """Return the pod's spec with the sidecar; unchanged if none is requested or the pod cannot take it."""
        pod, name = workload.spec, f"{self.place}, {workload.name}"
        requested = sidecar_request.resolve_spec(workload, self.request)
        faults = [
            f"{self.place}, line {self.line + line}, {workload.name}: {fault}"
            for line, fault in sidecar_request.find_annotation_faults(workload)
        ]
        if requested is None:
            if not faults and sidecar_request.has_annotations(workload.annotations):
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
        result = sidecar.add_sidecar(pod, requested, chosen)
        if result == pod:
            self.outcome.kept.append(name)
        elif any(sidecar.is_broker(each) for each in pod.get("initContainers") or ()):
            self.outcome.changed.append(f"{name}: has a sidecar that differs from what inject would write")
        else:
            self.outcome.changed.append(f"{name}: lacks the sidecar")
        return result

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
