"""Wire strings become paths in one place, and stay under the root."""

from __future__ import annotations

from pathlib import Path

import pytest

from archive.layout import Layout
from dicomrelay.dicom.file_names import NO_PATIENT_ID, component
from dicomrelay.errors import ArchiveError
from tests.support.evil_strings import EVIL


def test_a_harmless_string_stands_for_itself() -> None:
    """UIDs and ordinary patient ids can be read in the path."""
    for text in ("1.2.840.10008.1.2", "PAT-0001", "x", "a_b.c", "9" * 64):
        assert component(text) == text


@pytest.mark.parametrize("text", EVIL, ids=range(len(EVIL)))
def test_an_evil_string_becomes_one_harmless_component(text: str) -> None:
    """No separator, no dots that climb, nothing that a file system trims, never longer than a name may be."""
    made = component(text)

    assert 1 <= len(made) <= 65
    assert made.isascii()
    assert not set(made) - set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-")
    assert made[0] != "."
    assert made[-1] not in ". "


def test_evil_strings_do_not_meet() -> None:
    """Two different strings have two different components."""
    assert len({component(text) for text in EVIL}) == len(set(EVIL))


@pytest.mark.parametrize("text", EVIL, ids=range(len(EVIL)))
@pytest.mark.parametrize("field", range(4))
def test_an_evil_string_in_any_field_stays_under_the_root(tmp_path: Path, text: str, field: int) -> None:
    """Patient id, study, series and instance: the file can be made where it says, and that is under the root."""
    layout = Layout(tmp_path / "archive")
    parts = ["P1", "1.2", "1.2.3", "1.2.3.4"]
    parts[field] = text

    for relative in (layout.instance(*parts), layout.frames(*parts[1:])):
        path = layout.resolve(relative)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        assert path.resolve().is_relative_to(layout.root.resolve())


def test_a_missing_patient_id_is_told_from_one_that_says_so() -> None:
    """Nobody's images are filed with those of a patient who is called like the folder."""
    missing = Layout.instance("", "1.2", "1.3", "1.4")
    literal = Layout.instance(NO_PATIENT_ID, "1.2", "1.3", "1.4")

    assert missing == "data/NO_PATIENT_ID/1.2/1.3/1.4.dcm"
    assert literal != missing


@pytest.mark.parametrize("relative", ["", "/etc/passwd", "data/../../x", "..", "data/a\0b", "data/../x"])
def test_a_path_that_leaves_the_archive_is_refused(tmp_path: Path, relative: str) -> None:
    """Also when it comes from a database that somebody else wrote."""
    with pytest.raises(ArchiveError, match="no path in the archive"):
        Layout(tmp_path).resolve(relative)


def test_a_symbolic_link_out_of_the_archive_is_refused(tmp_path: Path) -> None:
    """A folder that was swapped for a link does not take files elsewhere."""
    root = tmp_path / "archive"
    (root / "data").mkdir(parents=True)
    (root / "data" / "P1").symlink_to(tmp_path)

    with pytest.raises(ArchiveError, match="leads out of the archive") as refused:
        Layout(root).resolve("data/P1/1.2/1.3/1.4.dcm")
    assert "P1" not in str(refused.value).replace(str(tmp_path), "")
