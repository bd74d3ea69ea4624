"""Write an image's bill of materials: the name, version, license and package URL of every package in it.

The format is CycloneDX 1.6 as JSON. The file is in `DIRECTORY`, where scanners look for `*.cdx.json`. `write_sbom`
reads the root file system that was laid out, not a list of what should be in it:

* Python packages, from the metadata in their wheels. Components compiled into a package are nested below it, if its
  wheel has a bill of materials of its own (PEP 770).
* Debian packages, from the status that `assemble` recorded for each library's owner, and from their copyright files.
* The interpreter, from the one that runs this script.

The same image gives the same bytes: all entries are sorted, and there is no serial number and no build time. Licenses
are copied as the packages state them. This script does not interpret them.
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

DIRECTORY: Final = Path("/usr/share/sbom")
BROKER: Final = "sts-federation-broker"
_CLASSIFIER: Final = "License :: "


def sbom_path(image: str) -> Path:
    """Return the path of the bill of materials in the image of that name."""
    return DIRECTORY / f"{image}.cdx.json"


def write_sbom(root: Path, image: str) -> None:
    """Write the bill of materials of the file system in `root` into it. `image` is the image's name."""
    path = root / sbom_path(image).relative_to("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(describe_contents(root, image), indent=1) + "\n", encoding="utf-8")


def describe_contents(root: Path, image_name: str) -> dict[str, Any]:
    """Return the bill of materials of the file system in `root`."""
    site = root / Path(sysconfig.get_path("purelib")).relative_to("/")
    components = [describe_interpreter(), *describe_python_packages(site), *describe_debian_packages(root)]
    components.sort(key=lambda component: component["purl"])
    (broker,) = (component for component in components if component["name"] == BROKER)
    image = {"type": "container", "bom-ref": "image", "name": image_name, "version": broker["version"]}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": image},
        "components": components,
        "dependencies": [{"ref": "image", "dependsOn": [component["bom-ref"] for component in components]}],
    }


def make_component(name: str, version: str, purl: str, licenses: list[Component], **more: object) -> Component:
    """Return one entry. Its package URL is also its reference. A package without a license fails the build."""
    if not licenses:
        raise SystemExit(f"{name} {version} names no license. Check its metadata.")
    entry = {"type": "library", "bom-ref": purl, "name": name, "version": version, "licenses": licenses, "purl": purl}
    return {**entry, **more}


def named_licenses(names: list[str]) -> list[Component]:
    """Return licenses by the names that a package uses. These need not be SPDX names."""
    return [{"license": {"name": name}} for name in names]


def describe_interpreter() -> Component:
    """Return the entry of Python. Vulnerability databases identify it by its CPE."""
    version = platform.python_version()
    cpe = f"cpe:2.3:a:python:python:{version}:*:*:*:*:*:*:*"
    return make_component(
        "python", version, f"pkg:generic/python@{version}", [{"expression": "Python-2.0"}], type="platform", cpe=cpe
    )


# Python packages


def describe_python_packages(site: Path) -> list[Component]:
    """Return the entries of the packages in a site directory."""
    return [describe_python_package(info) for info in sorted(site.glob("*.dist-info"))]


def describe_python_package(info: Path) -> Component:
    """Return the entry of one package, from its `.dist-info` directory."""
    metadata = email.message_from_string((info / "METADATA").read_text(encoding="utf-8"))
    name, version = re.sub(r"[-_.]+", "-", metadata["Name"]).lower(), metadata["Version"]
    more: dict[str, object] = {}
    if parts := [part for bill in sorted(info.glob("sboms/*.cyclonedx.json")) for part in read_parts(bill, name)]:
        more["components"] = parts
    if name == BROKER:  # PyPI has no package of this name, so a pkg:pypi URL would be wrong
        purl = f"pkg:generic/{name}@{version}"
        return make_component(name, version, purl, read_licenses(metadata), type="application")
    return make_component(name, version, f"pkg:pypi/{name}@{version}", read_licenses(metadata), **more)


def read_licenses(metadata: Message) -> list[Component]:
    """Return the licenses in a package's metadata: the SPDX expression, else the older fields."""
    if expression := metadata["License-Expression"]:
        return [{"expression": expression}]
    classifiers = [text for text in metadata.get_all("Classifier", []) if text.startswith(_CLASSIFIER)]
    names = sorted(text.rpartition(" :: ")[2] for text in classifiers)
    text = (metadata["License"] or "").strip()
    if text and "\n" not in text and len(names) < 2:  # noqa: PLR2004  (several classifiers say more than "Dual License")
        return named_licenses([text])
    return named_licenses(names)


def read_parts(bill: Path, owner: str) -> list[Component]:
    """Return the components in a wheel's own bill, without paths of the machine that built the wheel."""
    parts = json.loads(bill.read_text(encoding="utf-8"))["components"]
    entries = [make_component(part["name"], part["version"], part["purl"], part["licenses"]) for part in parts]
    # Two wheels may contain the same component, but references must be unique.
    return [{**entry, "bom-ref": f"{owner}#{entry['bom-ref']}"} for entry in sorted(entries, key=lambda e: e["purl"])]


# Debian packages


def describe_debian_packages(root: Path) -> list[Component]:
    """Return the entries of the Debian packages whose status is recorded."""
    release = (root / "etc/os-release").read_text(encoding="utf-8")
    system = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', release, re.MULTILINE))
    statuses = sorted((root / "var/lib/dpkg/status.d").iterdir())
    return [describe_debian_package(status, root, system) for status in statuses]


def describe_debian_package(status: Path, root: Path, system: dict[str, str]) -> Component:
    """Return the entry of one package. Its URL names the source package, as advisories do."""
    fields = email.message_from_string(status.read_text(encoding="utf-8"))
    name, version = fields["Package"], fields["Version"]
    source = (fields["Source"] or name).partition(" ")[0]
    purl = (
        f"pkg:deb/{system['ID']}/{quote(name)}@{quote(version, safe=':~')}"
        f"?arch={fields['Architecture']}&distro={system['ID']}-{system['VERSION_ID']}&upstream={quote(source)}"
    )
    return make_component(name, version, purl, named_licenses(read_debian_licenses(name, root)))


def read_debian_licenses(name: str, root: Path) -> list[str]:
    """Return the licenses in a package's copyright file: its License fields, else the license files it points to."""
    path = root / "usr/share/doc" / name / "copyright"
    if not path.exists():
        return ["not in the base image"]
    text = path.read_text(encoding="utf-8")
    fields = re.findall(r"^License:[ \t]*(\S.*?)[ \t]*$", text, re.MULTILINE)
    texts = re.findall(r"/usr/share/common-licenses/([A-Za-z0-9.-]*[A-Za-z0-9])", text)
    return sorted(set(fields or texts)) or [f"see /usr/share/doc/{name}/copyright"]
