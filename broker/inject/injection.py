"""`sts-broker inject`: manifests in, the same with the sidecar out.

Rules: all or nothing, so that on any fault nothing is printed, and every fault of every document is told at once; what
is not a pod's own stays byte for byte; what comes out, put in again, comes out the same. An option stands before the
pod's annotation, which the policy in deploy/admission reads too.

What the sidecar is, `sidecar` says; how a text is changed, `yaml_edit`.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import yaml

from broker.core.errors import ConfigurationError
from broker.core.model import DEFAULT_PROFILE
from broker.inject import manifests, sidecar, sidecar_faults, yaml_edit, yaml_text
from broker.inject.sidecar import DEFAULT_IMAGE, Wanted
from broker.settings.loader import load

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    from broker.inject.manifests import Workload

EXIT_LACKING = 1
PREFIX: Final = "sts-broker/"
ANNOTATED: Final = ("role_arn", "region", "profile", "audience", "duration_seconds", "config_map")
"""What both an option and an annotation of the pod may say, by the names of `Wanted`."""
_SETTING = {
    "AWS_ROLE_ARN": "role_arn",
    "AWS_REGION": "region",
    "BROKER_AUDIENCE": "audience",
    "BROKER_DURATION_SECONDS": "duration_seconds",
}
_FAST = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_FORMS = {
    "profile": re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"),
    "config_map": re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?"),
}
_ANY_ROLE = "arn:aws:iam::123456789012:role/any"  # stands for those of a file that is not at hand


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the command line asks for: `options` by the names of `Wanted`; no `containers` stands for all of the app."""

    options: dict[str, str]
    image: str = DEFAULT_IMAGE
    containers: tuple[str, ...] = ()
    sets_group: bool = True


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of some manifests: their new text, whose sidecar is changed, or kept, who has none, what to tell."""

    text: str = ""
    changed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def run(files: Sequence[str], request: Request, *, check: bool, stdin: BinaryIO, output: BinaryIO) -> int:
    """Print the manifests of these files with the sidecar, or only look. Return the exit code.

    Raises ConfigurationError with all faults.
    """
    outcome = Outcome()
    for file in files:
        text = _read(file, stdin, outcome.faults)
        begins_anew = outcome.text and not text.startswith(("---", "%"))
        if outcome.text and not outcome.text.endswith("\n"):
            outcome.text += "\n"
        outcome.text += "---\n" if begins_anew else ""
        inject(text, request, outcome, where="" if len(files) == 1 else f"{file}, ")
    is_meant_for_all = bool(request.options.get("role_arn") or request.options.get("config_map"))
    if is_meant_for_all and not (outcome.faults or outcome.changed or outcome.kept):
        kinds = ", ".join(manifests.KINDS)
        outcome.faults.append(f"there is no workload to add the sidecar to: expected one of {kinds}, or a List of them")
    if outcome.faults:
        raise ConfigurationError(tuple(outcome.faults))
    for warning in outcome.warnings:
        sys.stderr.write(f"sts-broker: {warning}\n")
    for name in outcome.passed_over:
        sys.stderr.write(f"sts-broker: {name}: left as it is, without {_annotation('role_arn')} and --role-arn\n")
    if check:
        sys.stderr.writelines(f"sts-broker: {each}\n" for each in outcome.changed)
        return EXIT_LACKING if outcome.changed else 0
    output.write(outcome.text.encode())
    return 0


def _read(file: str, stdin: BinaryIO, faults: list[str]) -> str:
    try:
        data = stdin.read() if file == "-" else Path(file).read_bytes()
        return data.decode()
    except OSError as error:
        faults.append(f"{file}: {error.strerror}")
    except UnicodeDecodeError as error:
        faults.append(f"{file}: byte {error.start + 1} is no UTF-8: save it as that")
    return ""


def inject(text: str, request: Request, outcome: Outcome, *, where: str = "") -> None:
    """Add a stream of documents, with the sidecar in its pods, to the outcome."""
    line = 0
    for number, part in enumerate(manifests.split(text), start=1):
        place = f"{where}document {number}"
        try:
            outcome.text += _with_sidecar(part, request, outcome, place)
        except yaml.YAMLError as error:
            outcome.faults.append(f"{place}, {_told(error, part, line)}")
        except yaml_text.Unchangeable as error:
            outcome.faults.append(f"{place}, line {line + error.line}: {error}")
        except RecursionError:
            outcome.faults.append(f"{place}: nested too deep to be read")
        line += part.count("\n")


def _told(error: yaml.YAMLError, part: str, line: int) -> str:
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if "{{" in part:
        problem = f"{problem}; is this a template? Render it first"
    if mark is None:  # a character that YAML does not take
        position = getattr(error, "position", 0)
        mark_line, problem = part.count("\n", 0, position), getattr(error, "reason", problem)
        return f"line {line + mark_line + 1}: no valid YAML: {problem}"
    return f"line {line + mark.line + 1}, column {mark.column + 1}: no valid YAML: {problem}"


def _with_sidecar(part: str, request: Request, outcome: Outcome, place: str) -> str:
    """Return one document with the sidecar in its pods. Raises YAMLError, Unchangeable."""
    if not manifests.may_have_pod(part):
        for _ in yaml.compose_all(part, Loader=_FAST):
            pass
        return part
    document = yaml_text.compose(part)
    found = [each for root in document.roots for each in manifests.workloads(root)]
    specs: list[sidecar.Tree] = []
    edits: list[yaml_edit.Edit] = []
    for workload in found:
        spec = _wanted_spec(workload, request, outcome, f"{place}, {workload.name}")
        edits += yaml_edit.changes(document, workload.spec_node, workload.spec_key, (workload.spec, spec))
        specs.append(spec)
    result = yaml_edit.applied(part, edits)
    if edits and not _is_as_meant(document, found, specs, result):
        first = next(each for each, spec in zip(found, specs, strict=True) if each.spec != spec)
        told = "is laid out in a way that cannot be added to: write it in plain block style, and end its last line"
        raise yaml_text.Unchangeable(f"{first.name} {told}", yaml_text.line_of(first.spec_node))
    return result


def _wanted_spec(workload: Workload, request: Request, outcome: Outcome, name: str) -> sidecar.Tree:
    """Return the pod's spec as it ought to be; as it is, where it cannot be mended or nobody asks for the sidecar."""
    spec = workload.spec
    wanted = _wanted(workload, request)
    faults = list(_annotation_faults(workload))
    if wanted is None:
        if not faults and any(name.startswith(PREFIX) for name in workload.annotations):
            faults.append(f"annotations {PREFIX}… need {_annotation('role_arn')}, or {_annotation('config_map')}")
        outcome.faults += (f"{name}: {fault}" for fault in faults)
        outcome.passed_over.append(name)
        return spec
    chosen = frozenset(request.containers or (str(each.get("name")) for each in spec["containers"]))
    faults += [*_setting_faults(wanted), *_choice_faults(workload, request)]
    faults += sidecar_faults.faults(spec, wanted, chosen)
    outcome.faults += (f"{name}: {fault}" for fault in faults)
    outcome.warnings += (f"{name}: {warning}" for warning in sidecar_faults.warnings(spec))
    if faults:
        return spec
    result = sidecar.injected(spec, wanted, chosen)
    if result == spec:
        outcome.kept.append(name)
    elif any(sidecar.is_ours(each) for each in spec.get("initContainers") or ()):
        outcome.changed.append(f"{name}: has another sidecar than inject would write")
    else:
        outcome.changed.append(f"{name}: lacks the sidecar")
    return result


def _is_as_meant(before: yaml_text.Document, workloads: list[Workload], specs: list[sidecar.Tree], result: str) -> bool:
    """Read what was written, and compare it with what was meant: rather nothing than something else."""
    try:
        after = yaml_text.compose(result)
        written = [each for root in after.roots for each in manifests.workloads(root)]
    except (yaml.YAMLError, yaml_text.Unchangeable):
        return False
    rest_before = [yaml_text.shape(root, [each.spec_node for each in workloads]) for root in before.roots]
    rest_after = [yaml_text.shape(root, [each.spec_node for each in written]) for root in after.roots]
    return [each.spec for each in written] == specs and rest_before == rest_after


def _wanted(workload: Workload, request: Request) -> Wanted | None:
    """Return what the pod asks for, or is asked to have; None where nobody asks."""
    said = {key: workload.annotations.get(_annotation(key)) for key in ANNOTATED}
    values = {key: str(value) for key, value in said.items() if value} | request.options
    if not values.get("role_arn") and not values.get("config_map"):
        return None
    return Wanted(
        role_arn=values.get("role_arn", ""),
        region=values.get("region", ""),
        image=request.image,
        profile=values.get("profile", ""),
        audience=values.get("audience", ""),
        duration_seconds=values.get("duration_seconds", ""),
        config_map=values.get("config_map", ""),
        sets_group=request.sets_group,
    )


def _annotation(key: str) -> str:
    return PREFIX + key.replace("_", "-")


def _name_of(key: str) -> str:
    """Return what a user may write a setting as."""
    return f"--{key.replace('_', '-')} or annotation {_annotation(key)}"


def _annotation_faults(workload: Workload) -> Iterator[str]:
    known = [_annotation(key) for key in ANNOTATED]
    for name in workload.outer_annotations:
        if name.startswith(PREFIX):
            yield f"annotation {name} stands where no pod gets it: write it into the pod template's metadata"
    for name, value in workload.annotations.items():
        if name.startswith(PREFIX) and name not in known:
            yield f"annotation {name}: there is no such; there are {', '.join(known)}"
        elif name in known and not isinstance(value, str):
            yield f"annotation {name}: annotations are text: write it in quotes"
        elif name in known and not value:
            yield f"annotation {name}: it is empty: write a value, or remove it"


def _setting_faults(wanted: Wanted) -> Iterator[str]:
    """Yield what the broker would say of these settings, by the names that they have here."""
    if not wanted.region:
        yield f"no Region: write {_name_of('region')}"
    if wanted.profile not in ("", DEFAULT_PROFILE) and not wanted.config_map:
        yield f"{_name_of('profile')}: {wanted.profile} needs a ConfigMap with profiles: write {_name_of('config_map')}"
    for key, form in _FORMS.items():
        text = getattr(wanted, key)
        if text and not form.fullmatch(text):
            yield f"{_name_of(key)}: {text!r:.60} is no name"
    variables = {"AWS_ROLE_ARN": _ANY_ROLE, "AWS_REGION": "eu-west-1"} | sidecar.settings(wanted)
    try:
        load(variables)
    except ConfigurationError as error:
        for fault in error.faults:
            name, colon, rest = fault.partition(":")
            yield f"{_name_of(_SETTING[name]) if name in _SETTING else name}{colon}{rest}"


def _choice_faults(workload: Workload, request: Request) -> Iterator[str]:
    spec = workload.spec
    names = [str(each.get("name")) for each in (*spec["containers"], *(spec.get("initContainers") or ()))]
    for name in request.containers:
        if name not in names or name == sidecar.NAME:
            yield f"--container {name}: it has {', '.join(each for each in names if each != sidecar.NAME)}"
