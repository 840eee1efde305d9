"""What is installed with dicomrelay: pinned by hash, listed, under a licence that lets us, and asked about."""

from __future__ import annotations

import json
import re
from datetime import date
from importlib import metadata
from pathlib import Path

import pytest

from tests.support import dependency_audit, sbom
from tests.support.dependency_audit import Accepted, Hole
from tests.support.locked import of_python, of_viewer

# The last one is dateutil's: Apache and BSD.
_ALLOWED = re.compile(r"MIT|BSD|Apache|MPL|Mozilla|ISC|PSF|Zlib|CC0|Dual License", re.IGNORECASE)
# Libraries under the LGPL, used as they are, by import.
_LESSER = {"psycopg", "psycopg-binary"}


def test_every_package_is_pinned_by_version_and_hash() -> None:
    """And what pyproject.toml asks for is among them."""
    pinned = of_python()
    assert len(pinned) > 50
    assert [each.name for each in pinned if not each.digests] == []
    assert set(sbom.asked_for()) <= {each.name for each in pinned}


def test_the_bill_of_materials_lists_every_one_of_them_and_is_always_the_same() -> None:
    """CycloneDX: names, versions, package URLs and hashes of Python's packages and of the viewer's."""
    made = sbom.of_the_locks()
    assert made == json.loads(json.dumps(sbom.of_the_locks()))
    assert (made["bomFormat"], made["specVersion"]) == ("CycloneDX", "1.6")
    listed = {each["purl"]: each for each in made["components"]}
    assert len(listed) == len(made["components"])
    for each in (*of_python(), *of_viewer()):
        [where] = listed[each.purl]["externalReferences"]
        assert [(one["alg"], one["content"]) for one in where["hashes"]] == list(each.digests)
    assert set(made["dependencies"][0]["dependsOn"]) <= set(listed)
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", made["serialNumber"])


def test_a_line_that_pins_nothing_is_an_error(tmp_path: Path) -> None:
    """An address, an option or a range would be installed without being listed."""
    lock = tmp_path / "lock.txt"
    for line in ("requests>=2", "https://h/x.whl", "-e .", "--index-url https://h"):
        lock.write_text(f"# made\nx==1 \\\n    --hash=sha256:{'0' * 64}\n{line}\n")
        with pytest.raises(ValueError, match=r"lock.txt:4"):
            of_python(lock)


def test_licences_let_us() -> None:
    """Of every package of the lock that is installed here."""
    looked = 0
    for each in of_python():
        try:
            said = metadata.metadata(each.name)
        except metadata.PackageNotFoundError:
            continue  # of another system
        looked += 1
        words = [said.get("License-Expression") or "", (said.get("License") or "").split("\n")[0]]
        words += [text for text in said.get_all("Classifier", []) if text.startswith("License")]
        licence = " ".join(words)
        assert each.name in _LESSER or (_ALLOWED.search(licence) and "GPL" not in licence), (
            each.name,
            licence,
        )
    assert looked > 50


REPORT = {
    "dependencies": [
        {"name": "sound", "version": "1.0", "vulns": []},
        {"name": "holed", "version": "2.0", "vulns": [
            {"id": "PYSEC-1", "aliases": ["CVE-2026-1"], "fix_versions": ["2.1"], "description": "x"},
            {"id": "PYSEC-2", "aliases": [], "fix_versions": []},
        ]},
    ]
}  # fmt: skip


def test_a_hole_counts_until_it_is_accepted_and_again_after_its_day() -> None:
    """By any of its names, of the package it is of."""
    found = dependency_audit.holes(REPORT)
    assert found == [
        Hole("holed", "2.0", ("PYSEC-1", "CVE-2026-1"), ("2.1",)),
        Hole("holed", "2.0", ("PYSEC-2",)),
    ]
    row = Accepted("CVE-2026-1", "holed", date(2026, 12, 31), "not reached")
    assert dependency_audit.not_accepted(found, [row], date(2026, 12, 31)) == found[1:]
    assert dependency_audit.not_accepted(found, [row], date(2027, 1, 1)) == found
    other = Accepted("CVE-2026-1", "sound", date(2026, 12, 31), "another package")
    assert dependency_audit.not_accepted(found, [other], date(2026, 1, 1)) == found
    assert "mended in 2.1" in str(found[0])


def test_a_package_that_was_left_out_is_not_a_sound_one() -> None:
    """A mirror that answers for packages and not for advisories makes a report without one finding."""
    report = {
        "dependencies": [{"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "unknown"}]
    }
    assert dependency_audit.judged(report) == (
        None,
        "the service knows nothing of 1 packages, b among them",
    )
    assert dependency_audit.judged({"dependencies": report["dependencies"][:1]}) == ([], "")
    assert dependency_audit.judged(REPORT)[0]


def test_what_is_accepted_has_a_reason() -> None:
    """The file can be read."""
    assert all(row.why and row.until for row in dependency_audit.accepted_ones())


def test_a_machine_that_cannot_ask_goes_on_and_a_release_does_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says so either way."""
    monkeypatch.setattr(dependency_audit, "ask", lambda _lock: (None, "no route to host"))
    assert dependency_audit.main([]) == 0
    assert dependency_audit.main(["--require"]) == 3
    assert "not audited: no route to host" in capsys.readouterr().err
    monkeypatch.setattr(dependency_audit, "ask", lambda _lock: (dependency_audit.holes(REPORT), ""))
    assert dependency_audit.main([]) == 1
    assert "holed 2.0: PYSEC-1, CVE-2026-1" in capsys.readouterr().out
