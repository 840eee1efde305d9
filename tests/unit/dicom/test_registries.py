"""SOP classes, transfer syntaxes, UIDs and status codes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from pynetdicom import _globals
from pynetdicom.presentation import AllStoragePresentationContexts

from dicomrelay.dicom.part10 import MEDIA_STORAGE_DIRECTORY
from dicomrelay.dicom.sop_class_categories import SopClassCategory, category_of
from dicomrelay.dicom.sop_classes import is_storage_sop_class, sop_class_name, storage_sop_classes
from dicomrelay.dicom.status import Outcome, status_name, status_row
from dicomrelay.dicom.transfer_syntaxes import TransferSyntaxCategory, transfer_syntax, transfer_syntaxes
from dicomrelay.dicom.uids import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    derived_uid,
    is_tolerable_uid,
    is_valid_uid,
)
from tests.support.data_sets import data_root


def test_every_storage_sop_class_of_pynetdicom_is_known_by_name() -> None:
    """180 and more, retired ones too."""
    known = storage_sop_classes()

    assert {str(context.abstract_syntax) for context in AllStoragePresentationContexts} <= known.keys()
    assert len(known) > 180
    assert [entry.uid for entry in known.values() if not entry.name or entry.name == entry.uid] == [
        "1.2.840.10008.5.1.4.1.1.12.77",  # PS3.6 gives these two retired ones no name
        "1.2.840.10008.5.1.4.1.1.40",
    ]


@pytest.mark.parametrize(
    "uid",
    [
        "1.2.840.10008.1.1",  # Verification
        "1.2.840.10008.5.1.4.1.2.1.1",  # Patient Root FIND
        "1.2.840.10008.5.1.4.31",  # Modality Worklist
        "1.2.840.10008.1.3.10",  # DICOMDIR: a file, never on an association
        "1.2.840.10008.1.20.1",  # Storage Commitment
    ],
)
def test_what_is_not_stored_by_c_store_is_no_storage_sop_class(uid: str) -> None:
    """Services and directories."""
    assert not is_storage_sop_class(uid)


def test_the_transfer_syntaxes_are_the_same_whatever_else_was_imported() -> None:
    """pynetdicom adds to pydicom's dictionary; our registry does not depend on that."""
    code = (
        "import sys; from dicomrelay.dicom.transfer_syntaxes import transfer_syntaxes as t;"
        "assert 'pynetdicom' not in sys.modules; print(*sorted(t()))"
    )
    alone = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert sorted(transfer_syntaxes()) == alone.split()
    assert len(alone.split()) >= 47


@pytest.mark.parametrize(
    ("uid", "encapsulated", "deflated", "little", "implicit", "video"),
    [
        ("1.2.840.10008.1.2", False, False, True, True, False),
        ("1.2.840.10008.1.2.1", False, False, True, False, False),
        ("1.2.840.10008.1.2.1.99", False, True, True, False, False),
        ("1.2.840.10008.1.2.2", False, False, False, False, False),
        ("1.2.840.10008.1.2.4.90", True, False, True, False, False),
        ("1.2.840.10008.1.2.4.102.1", True, False, True, False, True),
        ("1.2.840.10008.1.2.4.110", True, False, True, False, False),
        ("1.2.840.10008.1.2.5", True, False, True, False, False),
        ("1.3.46.670589.33.1.4.1", True, False, True, False, False),  # private: as Annex A.4
    ],
)
def test_a_transfer_syntax_says_how_bytes_lie(
    uid: str, encapsulated: bool, deflated: bool, little: bool, implicit: bool, video: bool
) -> None:
    """PS3.5 Annex A."""
    syntax = transfer_syntax(uid)

    assert (encapsulated, deflated, little, implicit, video) == (
        syntax.is_encapsulated,
        syntax.is_deflated,
        syntax.is_little_endian,
        syntax.is_implicit_vr,
        syntax.is_video,
    )


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (0x0000, Outcome.DELIVERED),
        *((code, Outcome.WARNING) for code in (0xB000, 0xB006, 0xB007, 0xBFFF, 0x0001, 0x0107, 0x0116)),
        *((code, Outcome.RETRY) for code in (0xA700, 0xA7FF, 0x0110, 0x0213, 0xFE00)),
        *(
            (code, Outcome.REFUSED)
            for code in (
                0xA900,
                0xC000,
                0xCFFF,
                0x0111,
                0x0112,
                0x0117,
                0x0122,
                0x0124,
                0x0210,
                0x0211,
                0x0212,
            )
        ),
        *((code, Outcome.REFUSED) for code in (0xFFFF, 0xFF00, 0x0002, 0xD000)),
    ],
)
def test_a_status_is_what_the_standard_says_and_an_unknown_one_is_not_success(
    status: int, outcome: Outcome
) -> None:
    """PS3.4 Table B.2-1, PS3.7 Annex C."""
    assert status_row(status).outcome is outcome
    assert status_name(status)


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (0xA700, "Refused: out of resources"),
        (0xA701, "Refused: out of resources 0xA701"),
        (0xA900, "Error: data set does not match SOP class"),
        (0xA9FF, "Error: data set does not match SOP class 0xA9FF"),
        (0xC000, "Error: cannot understand"),
        (0xC123, "Error: cannot understand 0xC123"),
        (0xC122, "Referenced transfer syntax not supported"),
        (0x0150, "Failure 0x0150"),
        (0x0122, "SOP class not supported"),
    ],
)
def test_a_status_among_many_of_the_same_words_has_its_number(status: int, name: str) -> None:
    """Only the number leads to the peer's conformance statement; C122 is a reason of STOW-RS (PS3.18 Table I.2-2)."""
    assert status_name(status) == name


def test_uids_are_checked_strictly_when_written_and_kindly_when_read() -> None:
    """PS3.5 Section 9.1."""
    assert is_valid_uid("1.2.840.10008.1.1")
    assert not is_valid_uid("1.02.3")
    assert is_tolerable_uid("1.02.3")
    for evil in ("", ".", "..", "1..2", "1.2.", "../1", "1/2", "1.2\n", "1.2\0", "1.a", "１.2", "1" * 65):
        assert not is_tolerable_uid(evil), evil


def test_our_own_uids_are_valid_and_derived_ones_stay_the_same() -> None:
    """What is filed under a derived UID is found again."""
    assert is_valid_uid(IMPLEMENTATION_CLASS_UID)
    assert len(IMPLEMENTATION_VERSION_NAME) <= 16
    assert derived_uid("study", "1.2.3") == derived_uid("study", "1.2.3") != derived_uid("series", "1.2.3")
    assert is_valid_uid(derived_uid("study", "1.2.3"))
    assert sop_class_name("1.2.840.10008.5.1.4.1.1.2") == "CT Image Storage"


def test_the_registry_has_what_the_standard_and_pynetdicom_have() -> None:
    """PS3.6 as JSON from elsewhere, and pynetdicom's lists: nothing is missing, and names agree."""
    listed = json.loads((data_root() / "standard" / "sops.json").read_text("utf-8"))
    standard = {entry["id"]: entry["name"] for entry in listed if entry["id"] != MEDIA_STORAGE_DIRECTORY}
    known = storage_sop_classes()

    assert len(standard) > 170
    assert standard.keys() <= known.keys()
    # PS3.4 and PS3.6 differ on this one.
    standard["1.2.840.10008.5.1.4.1.1.79.1"] += " Storage"
    assert {uid: name for uid, name in standard.items() if known[uid].name != name} == {}
    assert set(_globals.ALL_TRANSFER_SYNTAXES) <= transfer_syntaxes().keys()


def test_every_storage_sop_class_has_a_category_of_its_own_accord() -> None:
    """No class of the standard falls through the table, and the table has no row that nothing falls into."""
    assert [uid for uid in storage_sop_classes() if category_of(uid) is None] == []
    found = {entry.category for entry in storage_sop_classes().values()}
    assert found == set(SopClassCategory) - {SopClassCategory.PRIVATE}


@pytest.mark.parametrize(
    ("number", "category"),
    [
        ("1", "x-ray"),  # CR
        ("1.2", "mammography"),
        ("2.1", "ct"),
        ("12.1.1", "x-ray"),
        ("13.1.3", "mammography"),
        ("66", "other"),
        ("66.4", "derived"),
        ("77.1.1", "visible-light"),
        ("77.1.1.1", "video"),
        ("77.1.5.4", "ophthalmology"),
        ("9.1.1", "waveform"),
        ("9.100.1", "presentation-state"),
        ("88.59", "structured-report"),
        ("481.3", "radiotherapy"),
        ("104.1", "document"),
    ],
)
def test_the_longest_root_decides_the_category(number: str, category: str) -> None:
    """As people would look for them."""
    assert category_of(f"1.2.840.10008.5.1.4.1.1.{number}") == category
    assert category_of("1.2.3") is None


def test_every_transfer_syntax_has_a_category() -> None:
    """Private is what the standard does not know."""
    found = {entry.category for entry in transfer_syntaxes().values()}

    assert found == set(TransferSyntaxCategory) - {TransferSyntaxCategory.PRIVATE}
    assert transfer_syntax("1.2.3").category is TransferSyntaxCategory.PRIVATE
    assert transfer_syntax("1.2.840.10008.1.2.2").category is TransferSyntaxCategory.RETIRED
    assert transfer_syntax("1.2.840.10008.1.2.4.202").category is TransferSyntaxCategory.HTJ2K


def test_the_registry_does_without_pynetdicom() -> None:
    """Its import takes a fifth of a second, which every command would pay."""
    code = (
        "import sys; from dicomrelay.dicom.sop_classes import storage_sop_classes as s;"
        "n = len(s()); assert 'pynetdicom' not in sys.modules; print(n)"
    )
    alone = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert int(alone) == len(storage_sop_classes())


def test_the_dictionary_is_pydicoms_and_costs_no_import_of_it() -> None:
    """The same entries; and who only wants these has neither pydicom nor numpy in his process."""
    from pydicom._uid_dict import UID_dictionary  # noqa: PLC0415

    from dicomrelay.dicom.uid_dictionary import UID_DICTIONARY  # noqa: PLC0415

    # Libraries that are loaded beside it may have added to pydicom's, at run time.
    assert UID_DICTIONARY.items() <= UID_dictionary.items()
    assert len(UID_DICTIONARY) > 450
    code = (
        "import sys, dicomrelay.dicom.sop_classes, dicomrelay.dicom.transfer_syntaxes;"
        "print([name for name in ('pydicom', 'numpy') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
