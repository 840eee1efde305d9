"""A bill of materials of what is installed with dicomrelay: CycloneDX 1.6, from the lock files.

`python -m tests.support.sbom [FILE]` writes it, to standard output when no file is named. The same locks make the same
bytes: there is no time in it, and its serial number comes of its contents.
"""

from __future__ import annotations

import json
import sys
import tomllib
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from dicomrelay import __version__
from tests.support.locked import Pinned, of_python, of_viewer
from tests.support.markdown import ROOT

_URLS: Final = {
    "pypi": "https://pypi.org/project/{name}/{version}/",
    "npm": "https://www.npmjs.com/package/{name}/v/{version}",
}
_US: Final = f"pkg:pypi/dicomrelay@{__version__}"


def bill(python: Sequence[Pinned], viewer: Sequence[Pinned], direct: Sequence[str]) -> dict[str, Any]:
    """The whole of it.

    Parameters
    ----------
    direct : sequence of str
        Names of what is asked for by ourselves.
    """
    components = [_component(each) for each in (*python, *viewer)]
    ours = [each.purl for each in python if each.name in direct] + [each.purl for each in viewer]
    body: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": _US,
                "name": "dicomrelay",
                "version": __version__,
                "purl": _US,
                "licenses": [{"license": {"id": "MIT"}}],
            }
        },
        "components": components,
        "dependencies": [{"ref": _US, "dependsOn": sorted(ours)}],
        # All that is installed is here; of what each of them asks for itself nothing is said.
        "compositions": [
            {"aggregate": "complete", "assemblies": [_US]},
            {"aggregate": "incomplete", "dependencies": [each["bom-ref"] for each in components]},
        ],
    }
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(body, sort_keys=True))
    return {**body, "serialNumber": f"urn:uuid:{serial}"}


def _component(each: Pinned) -> dict[str, Any]:
    url = _URLS[each.kind].format(name=each.name, version=each.version)
    found: dict[str, Any] = {
        "type": "library",
        "bom-ref": each.purl,
        "name": each.name,
        "version": each.version,
        "purl": each.purl,
        "externalReferences": [
            {
                "type": "distribution",
                "url": url,
                "hashes": [{"alg": algorithm, "content": digits} for algorithm, digits in each.digests],
            }
        ],
    }
    if each.licence:
        found["licenses"] = [{"license": {"name": each.licence}}]
    if each.marker:
        found["properties"] = [{"name": "dicomrelay:marker", "value": each.marker}]
    return found


def asked_for() -> list[str]:
    """The names that `pyproject.toml` asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return [canonicalize_name(Requirement(text).name) for text in project["dependencies"]]


def of_the_locks() -> dict[str, Any]:
    """As the lock files are now."""
    return bill(of_python(), of_viewer(), asked_for())


def main(arguments: Sequence[str]) -> None:
    """Write it."""
    text = json.dumps(of_the_locks(), indent=1, sort_keys=True) + "\n"
    if not arguments:
        sys.stdout.write(text)
        return
    target = Path(arguments[0])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, "utf-8")
    sys.stderr.write(f"written: {target.name}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
