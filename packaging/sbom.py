"""Write a package's bill of materials (CycloneDX 1.6, JSON) and its copyright file from what it really holds.

    python packaging/sbom.py --tree DIR --report FILE --package NAME --version V --machine arm64
        --lock requirements/device.txt --sbom FILE --copyright FILE

The tree's `*.dist-info` say what is there; pip's report and the lock say with which digests it came. Time and
serial number follow from SOURCE_DATE_EPOCH and the contents, so that the same package has the same bill.
"""

import argparse
import email
import email.message
import json
import os
import re
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.dependency import Dependency
from cyclonedx.model.license import DisjunctiveLicense, LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from stage import FROM_SOURCE

_OURS = "preroll"
_NAMESPACE = uuid.UUID("6f2f9a39-6b0f-5d7b-9a63-51d0a0e6c2ad")
_COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: Preroll
Comment: The package carries the Python distributions that are named below, each with its own
 licence texts in its .dist-info directory, and with the libraries that their wheels bundle
 (FFmpeg in av, OpenSSL in cryptography).

Files: *
Copyright: 2026 the Preroll authors
License: Apache-2.0

License: Apache-2.0
 On Debian systems the full text is in /usr/share/common-licenses/Apache-2.0.
"""


def normal(name: str) -> str:
    """Return a distribution's name as the index spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def metadata_of(tree: Path) -> dict[str, email.message.Message]:
    """Read METADATA of every distribution in the tree: name of its .dist-info directory to contents."""
    files = sorted(tree.glob("*.dist-info/METADATA"))
    return {file.parent.name: email.message_from_string(file.read_text(encoding="utf-8")) for file in files}


def wheel_digests(report: Path) -> dict[str, str]:
    """Return the SHA-256 of each wheel that pip took from the index."""
    items = json.loads(report.read_text(encoding="utf-8"))["install"]
    return {
        normal(item["metadata"]["name"]): item["download_info"]["archive_info"]["hashes"]["sha256"]
        for item in items
    }


def source_digests(lock: str) -> dict[str, str]:
    """Return the locked SHA-256 of each source that a wheel was built from."""
    found = re.findall(r"^([\w.-]+)==[^\n]*\n\s+--hash=sha256:(\w+)", lock, re.MULTILINE)
    return {normal(name): digest for name, digest in found if normal(name) in FROM_SOURCE}


def licence_of(data: email.message.Message) -> str:
    """Return what a distribution says of its licence, in one line."""
    classifiers = data.get_all("Classifier", [])
    named = [line.rpartition(" :: ")[2] for line in classifiers if line.startswith("License ::")]
    text = data["License-Expression"] or "; ".join(named) or str(data["License"] or "see its licence files")
    return text.splitlines()[0]


def component_of(data: email.message.Message, digests: dict[str, str], *, built: bool) -> Component:
    """Make the entry of one distribution."""
    name = normal(data["Name"])
    purl = PackageURL("pypi", None, name, data["Version"])
    expression = data["License-Expression"]
    licence = LicenseExpression(expression) if expression else DisjunctiveLicense(name=licence_of(data))
    hashes = [HashType(alg=HashAlgorithm.SHA_256, content=digests[name])] if name in digests else []
    properties = [Property(name="preroll:digest-of", value="source")] if built else []
    return Component(
        name=data["Name"],
        version=data["Version"],
        type=ComponentType.LIBRARY,
        bom_ref=str(purl),
        purl=purl,
        licenses=[licence],
        hashes=hashes,
        properties=properties,
    )


def requirements_of(data: email.message.Message) -> set[str]:
    """Return the names that a distribution requires, whatever extra or marker they are under."""
    return {normal(re.split(r"[^\w.-]", line, maxsplit=1)[0]) for line in data.get_all("Requires-Dist", [])}


def make_bom(options: argparse.Namespace) -> str:
    """Return the bill as text, valid by CycloneDX's own schema."""
    every = metadata_of(options.tree).values()
    built = source_digests(options.lock.read_text(encoding="utf-8"))
    digests = {**wheel_digests(options.report), **built}
    parts = {
        normal(data["Name"]): component_of(data, digests, built=normal(data["Name"]) in built)
        for data in every
        if normal(data["Name"]) != _OURS
    }
    qualifiers = {"arch": options.machine, "distro": "bookworm"}
    purl = PackageURL("deb", _OURS, options.package, options.version, qualifiers)
    bom = Bom(components=parts.values())
    bom.metadata.component = Component(
        name=options.package,
        version=options.version,
        type=ComponentType.APPLICATION,
        bom_ref=options.package,
        purl=purl,
        licenses=[LicenseExpression("Apache-2.0")],
    )
    made = datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), UTC)
    bom.metadata.timestamp = made
    bom.metadata.tools.components.clear()
    contents = json.dumps(sorted((*parts, *digests.values(), str(purl))))
    bom.serial_number = uuid.uuid5(_NAMESPACE, contents)
    for data in every:
        name = normal(data["Name"])
        ref = bom.metadata.component.bom_ref if name == _OURS else parts[name].bom_ref
        needs = [Dependency(parts[other].bom_ref) for other in sorted(requirements_of(data) & parts.keys())]
        bom.dependencies.add(Dependency(ref, dependencies=needs))
    text = JsonV1Dot6(bom).output_as_string(indent=2)
    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if wrong is not None:
        raise ValueError(f"the bill of materials does not hold to its schema: {wrong}")
    return text + "\n"


def copyright_of(tree: Path) -> str:
    """Return Debian's copyright file: ours, and a stanza for each distribution that the package carries."""
    stanzas = [_COPYRIGHT]
    for where, data in metadata_of(tree).items():
        if normal(data["Name"]) == _OURS:
            continue
        who = data["Author"] or data["Author-email"] or data["Maintainer"] or f"the authors of {data['Name']}"
        stanzas.append(
            f"Files: usr/lib/preroll/python/{where}/*\n"
            f"Copyright: {who.splitlines()[0]}\n"
            f"License: {normal(data['Name'])}\n"
            f" {licence_of(data)}; the texts are in /usr/lib/preroll/python/{where}.\n"
        )
    return "\n".join(stanzas)


def main() -> int:
    """Write both files."""
    parser = argparse.ArgumentParser(description="Write a package's bill of materials and copyright file.")
    for name in ("tree", "report", "lock", "sbom", "copyright"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("package", "version", "machine"):
        parser.add_argument(f"--{name}", required=True)
    options = parser.parse_args()
    options.sbom.write_text(make_bom(options), encoding="utf-8")
    options.copyright.write_text(copyright_of(options.tree), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
