"""`sts-broker inject`: read manifests, add the sidecar to their pods, and print them.

Rules:
- All or nothing: with any fault, no manifest is printed, and all faults and warnings are reported at once.
- Nothing is passed over in silence: an annotation without a sidecar is a fault. With a role for all pods, objects whose
  containers are in no pod template are named, and `--check` reports them as lacking the sidecar.
- Text outside of pods stays unchanged, byte for byte.
- Idempotent: injecting its own output changes nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from broker.core.errors import ConfigurationError
from broker.inject import config_maps, service_accounts
from broker.inject.document_injection import DocumentInjection
from broker.inject.outcome import Outcome, report_rest
from broker.manifests import documents, pod_templates, yaml_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

    from broker.inject.sidecar_request import Request

EXIT_LACKING = 1
"""`--check`: a workload lacks the sidecar, or has a different one."""


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
    outcome.warnings += service_accounts.find_account_warnings(outcome.uses, outcome.accounts)
    report_rest(outcome)
    if outcome.faults:
        raise ConfigurationError(tuple(dict.fromkeys(outcome.faults)))  # two readers may meet the same one
    if check:
        sys.stderr.writelines(f"sts-broker: {each}\n" for each in outcome.changed)
        return EXIT_LACKING if outcome.changed or outcome.passed_over else 0
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
    for number, part in enumerate(documents.split_documents(text), start=1):
        place = f"{where}document {number}"
        mark = documents.BYTE_ORDER_MARK if part.startswith(documents.BYTE_ORDER_MARK) else ""
        try:
            outcome.text += mark + DocumentInjection(request, outcome, place, line).inject_document(
                part.removeprefix(mark)
            )
        except yaml.YAMLError as error:
            outcome.faults.append(f"{place}, {documents.describe_syntax_error(error, part, line)}")
        except yaml_text.UneditableYaml as error:
            outcome.faults.append(f"{place}, line {line + error.line}: {error}")
        except RecursionError:
            outcome.faults.append(f"{place}, line {line + 1}: nested too deeply to be read")
        line += part.count("\n")
