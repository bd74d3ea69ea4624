"""Write the image's bill of materials: what is in it, in which version, under which licence, by which package URL.

CycloneDX 1.6 as JSON, at `SBOM` in the image, where scanners look for `*.cdx.json`. `write_sbom(root)` reads the root
file system that was laid out, never a list of what should be there:

* Python packages, from the metadata that their wheels brought along; what is compiled into one, as far as its wheel
  carries a bill of its own (PEP 770), nested below it;
* Debian packages, from the status that `assemble` recorded for each library's owner, and their copyright files;
* the interpreter, which came from neither, from the one that runs this.

The same image gives the same bytes: everything is sorted, and there is neither a serial number nor the hour of the
build. Licences are told as their packages tell them; refuses to judge them.
"""

import email
import json
import platform
import re
import sysconfig
from email.message import Message
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

Component = dict[str, Any]

SBOM: Final = Path("/usr/share/sbom/sts-federation-broker.cdx.json")
BROKER: Final = "sts-federation-broker"
_CLASSIFIER: Final = "License :: "


def write_sbom(root: Path) -> None:
    """Write the bill of materials of the file system in `root` into it."""
    place = root / SBOM.relative_to("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(bill_of_materials(root), indent=1) + "\n", encoding="utf-8")


def bill_of_materials(root: Path) -> dict[str, Any]:
    """Give the bill of materials of the file system in `root`."""
    site = root / Path(sysconfig.get_path("purelib")).relative_to("/")
    components = [interpreter(), *python_packages(site), *debian_packages(root)]
    components.sort(key=lambda component: component["purl"])
    (broker,) = (component for component in components if component["name"] == BROKER)
    image = {"type": "container", "bom-ref": "image", "name": BROKER, "version": broker["version"]}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": image},
        "components": components,
        "dependencies": [{"ref": "image", "dependsOn": [component["bom-ref"] for component in components]}],
    }


def component(name: str, version: str, purl: str, licenses: list[Component], **more: object) -> Component:
    """Give one entry; its package URL is also what others refer to it by."""
    if not licenses:
        raise SystemExit(f"{name} {version} names no licence; look at its metadata first")
    entry = {"type": "library", "bom-ref": purl, "name": name, "version": version, "licenses": licenses, "purl": purl}
    return {**entry, **more}


def named(licences: list[str]) -> list[Component]:
    """Give licences by the names that a package uses, which need not be those of SPDX."""
    return [{"license": {"name": name}} for name in licences]


def interpreter() -> Component:
    """Give the entry of Python; the CPE is what the vulnerability databases know it by."""
    version = platform.python_version()
    cpe = f"cpe:2.3:a:python:python:{version}:*:*:*:*:*:*:*"
    return component(
        "python", version, f"pkg:generic/python@{version}", [{"expression": "Python-2.0"}], type="platform", cpe=cpe
    )


# Python packages


def python_packages(site: Path) -> list[Component]:
    """Give the entries of the packages in a site directory."""
    return [python_package(notes) for notes in sorted(site.glob("*.dist-info"))]


def python_package(notes: Path) -> Component:
    """Give the entry of one package, from its `.dist-info`."""
    metadata = email.message_from_string((notes / "METADATA").read_text(encoding="utf-8"))
    name, version = re.sub(r"[-_.]+", "-", metadata["Name"]).lower(), metadata["Version"]
    more: dict[str, object] = {}
    if within := [part for bill in sorted(notes.glob("sboms/*.cyclonedx.json")) for part in parts_of(bill, name)]:
        more["components"] = within
    if name == BROKER:  # the index of packages has none of this name, so no package URL of that kind
        return component(name, version, f"pkg:generic/{name}@{version}", licences_of(metadata), type="application")
    return component(name, version, f"pkg:pypi/{name}@{version}", licences_of(metadata), **more)


def licences_of(metadata: Message) -> list[Component]:
    """Give the licences that a package's metadata name: as an expression, or as was done before there were any."""
    if expression := metadata["License-Expression"]:
        return [{"expression": expression}]
    classifiers = [text for text in metadata.get_all("Classifier", []) if text.startswith(_CLASSIFIER)]
    names = sorted(text.rpartition(" :: ")[2] for text in classifiers)
    text = (metadata["License"] or "").strip()
    if text and "\n" not in text and len(names) < 2:  # noqa: PLR2004  (several say more than a "Dual License")
        return named([text])
    return named(names)


def parts_of(bill: Path, owner: str) -> list[Component]:
    """Give what a wheel's own bill says is compiled into it, less what leads back to the machine that built it."""
    parts = json.loads(bill.read_text(encoding="utf-8"))["components"]
    entries = [component(part["name"], part["version"], part["purl"], part["licenses"]) for part in parts]
    # Two wheels may have the same part, and a reference may not be there twice.
    return [{**entry, "bom-ref": f"{owner}#{entry['bom-ref']}"} for entry in sorted(entries, key=lambda e: e["purl"])]


# Debian packages


def debian_packages(root: Path) -> list[Component]:
    """Give the entries of the Debian packages whose status is recorded."""
    release = (root / "etc/os-release").read_text(encoding="utf-8")
    system = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', release, re.MULTILINE))
    return [debian_package(status, root, system) for status in sorted((root / "var/lib/dpkg/status.d").iterdir())]


def debian_package(status: Path, root: Path, system: dict[str, str]) -> Component:
    """Give the entry of one package; what it was built from is what advisories name."""
    fields = email.message_from_string(status.read_text(encoding="utf-8"))
    name, version = fields["Package"], fields["Version"]
    source = (fields["Source"] or name).partition(" ")[0]
    purl = (
        f"pkg:deb/{system['ID']}/{quote(name)}@{quote(version, safe=':~')}"
        f"?arch={fields['Architecture']}&distro={system['ID']}-{system['VERSION_ID']}&upstream={quote(source)}"
    )
    return component(name, version, purl, named(debian_licences(name, root)))


def debian_licences(name: str, root: Path) -> list[str]:
    """Name the licences in a package's copyright file: by its fields, else by the texts that it points to."""
    place = root / "usr/share/doc" / name / "copyright"
    if not place.exists():
        return ["not in the base image"]
    text = place.read_text(encoding="utf-8")
    fields = re.findall(r"^License:[ \t]*(\S.*?)[ \t]*$", text, re.MULTILINE)
    texts = re.findall(r"/usr/share/common-licenses/([A-Za-z0-9.-]*[A-Za-z0-9])", text)
    return sorted(set(fields or texts)) or [f"see /usr/share/doc/{name}/copyright"]
