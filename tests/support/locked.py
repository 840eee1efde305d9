"""What the lock files pin: `locks/*.txt`, and the packages of the viewer's bundle."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.markdown import ROOT

RUNTIME = ROOT / "locks" / "runtime.txt"
VIEWER = ROOT / "streamer" / "viewer" / "package-lock.json"
_PIN = re.compile(
    r"^(?P<name>[A-Za-z0-9._-]+)(\[[^]]*\])?==(?P<version>[^ ;\\]+)( ; (?P<marker>[^\\]+?))? *\\?$"
)
_HASH = re.compile(r"^ +--hash=sha256:(?P<digest>[0-9a-f]{64})( \\)?$")


@dataclass(frozen=True, slots=True)
class Pinned:
    """One package.

    Attributes
    ----------
    marker : str
        Where it is installed, as PEP 508 says it; "" for everywhere.
    digests : tuple of (str, str)
        Algorithm as CycloneDX names it, and hexadecimal digits, of every file that may be installed.
    licence : str
        As the lock says it, where it does.
    """

    kind: str
    name: str
    version: str
    marker: str = ""
    digests: tuple[tuple[str, str], ...] = ()
    licence: str = ""

    @property
    def purl(self) -> str:
        """The package URL (https://github.com/package-url/purl-spec)."""
        return f"pkg:{self.kind}/{self.name.replace('@', '%40')}@{self.version}"


def of_python(path: Path = RUNTIME) -> list[Pinned]:
    """What a lock of pip pins.

    Raises
    ------
    ValueError
        A line is none of a lock; its number is named.
    """
    found: list[Pinned] = []
    digests: list[tuple[str, str]] = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if pin := _PIN.match(line):
            digests = []
            name = re.sub(r"[-_.]+", "-", pin["name"]).lower()
            found.append(Pinned("pypi", name, pin["version"], pin["marker"] or ""))
        elif digest := _HASH.match(line):
            digests.append(("SHA-256", digest["digest"]))
            last = found[-1]
            found[-1] = Pinned(last.kind, last.name, last.version, last.marker, tuple(digests))
        elif line and not line.startswith("#"):
            raise ValueError(f"{path.name}:{number}: neither a pin nor a hash: {line[:60]!r}")
    return found


def of_viewer(path: Path = VIEWER) -> list[Pinned]:
    """What the bundle of the viewer may be made of: no tools of its making."""
    return sorted(_of_viewer(json.loads(path.read_text("utf-8"))["packages"]), key=lambda each: each.purl)


def _of_viewer(packages: dict[str, dict[str, str]]) -> Iterator[Pinned]:
    seen = set()
    for place, package in packages.items():
        if not place or package.get("dev") or package.get("optional"):
            continue
        name = place.rpartition("node_modules/")[2]
        if (name, package["version"]) in seen:
            continue
        seen.add((name, package["version"]))
        algorithm, _, digest = package["integrity"].partition("-")
        yield Pinned(
            "npm",
            name,
            package["version"],
            digests=((f"SHA-{algorithm.removeprefix('sha')}", base64.b64decode(digest).hex()),),
            licence=package.get("license", ""),
        )
