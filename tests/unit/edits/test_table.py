"""Our copy of Table E.1-1, and what it says of an attribute in an IOD."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from dicomrelay.edits.content_items import content_items
from dicomrelay.edits.table import Act, Row, table
from tests.support.confidentiality_table import EDITION, WRITTEN_SHA256, attributes, published
from tests.support.confidentiality_table import content_items as content_items_of
from tests.support.data_sets import data_root

STUDY_DATE, ACQUISITION_DATE, CONTENT_DATE = 0x00080020, 0x00080022, 0x00080023
PET, CT, SR = "positron-emission-tomography-image", "ct-image", "basic-text-sr"


# Of 655 attributes, the one that got another column between the editions.
CHANGED_SINCE_2024E = {"00321033": {"clean_descriptors": "C"}}
DOCBOOK = """<book xmlns="http://docbook.org/ns/docbook"><table xml:id="table_E.1-1"><thead><tr>
<th><para>Tag</para></th><th><para>Basic Prof.</para></th><th><para>Rtn. UIDs Opt.</para></th><th>Clean Desc. Opt.</th>
</tr></thead>
<tbody><tr><td><para>(0008,\u200b0018)</para></td><td><para>U</para></td><td><para>K</para></td><td/></tr>
<tr><td>(50xx,xxxx)</td><td>X / Z</td><td/><td>
C </td></tr><tr><td>(gggg,eeee) where gggg is odd</td><td>X</td><td/><td/></tr></tbody></table>
<table xml:id="table_E.3.4-1"><thead><tr><th>Code Meaning</th><th>Code Value</th><th>Coding Scheme Designator</th>
<th>Value Type</th><th>Basic Prof.</th><th>Rtn. UIDs Opt.</th></tr></thead><tbody>
<tr><td>Procedure DateTime</td><td>52</td><td>NCDR [2.0b]</td><td>DATETIME</td><td>D</td><td/></tr>
<tr><td>Finding Site</td><td>363698007</td><td>SCT</td><td>TEXT</td><td>X/D</td><td>K</td></tr></tbody></table></book>"""


def test_the_tables_are_what_was_made_of_the_docbook_of_one_edition() -> None:
    """A line that somebody changed by hand is found; each table names its edition."""
    for path, digest in WRITTEN_SHA256.items():
        text = Path(path).read_bytes()
        assert hashlib.sha256(text).hexdigest() == digest, path
        assert f"PS3.15 {EDITION}".encode() in text
    assert len(table().rows) + len(table().repeating) == 655
    assert sum(map(len, content_items().rows.values())) == 225


def test_the_docbook_is_read_cell_by_cell() -> None:
    """With marks where a line may be broken, and columns that are not there in an edition."""
    assert attributes(DOCBOOK.encode()) == {
        "00080018": ("U", {"retain_uids": "K"}),
        "50xxxxxx": ("X/Z", {"clean_descriptors": "C"}),
    }
    assert [str(row) for row in content_items_of(DOCBOOK.encode())] == [
        "NCDR 52 DATETIME D ; Procedure DateTime",
        "SCT 363698007 TEXT X/D retain_uids=K ; Finding Site",
        "SRT G-C0E3 TEXT X/D retain_uids=K ; Finding Site",
    ]


def test_every_published_attribute_stands_in_it_as_published() -> None:
    """Against another edition, which others have read."""
    rows = published(data_root() / "standard")
    assert len(rows) == 620
    for tag, (action, options) in rows.items():
        number = int(tag.replace("x", "0"), 16)
        expected = Row(tuple(action.split("/")), CHANGED_SINCE_2024E.get(tag, options))
        assert table().row(number) == expected, tag


@pytest.mark.parametrize(
    ("tag", "iod", "act"),
    [
        (STUDY_DATE, CT, Act.EMPTY),
        (ACQUISITION_DATE, CT, Act.REMOVE),  # X/Z, Type 3
        (ACQUISITION_DATE, PET, Act.EMPTY),  # X/Z, Type 2
        (ACQUISITION_DATE, None, Act.EMPTY),
        (CONTENT_DATE, CT, Act.EMPTY),  # Z/D, Type 2C
        (CONTENT_DATE, SR, Act.DUMMY),  # Z/D, Type 1
        (0x00081111, SR, Act.EMPTY),  # X/Z/D, Type 2
        (0x00081140, CT, Act.REMOVE),  # X/Z/U*, not of Type 1 or 2
        (0x00081140, None, Act.UID),
        (0x00181030, CT, Act.REMOVE),  # X/D, Type 3
        (0x00181030, None, Act.DUMMY),
        (0x00080018, CT, Act.UID),
        (0x50020010, CT, Act.REMOVE),  # curves, group 50xx
        (0x60043000, CT, Act.REMOVE),  # overlays, group 60xx
        (0x60040010, CT, None),
        (0x00280010, CT, None),
    ],
)
def test_a_choice_of_the_profile_is_made_by_the_type_in_the_iod(
    tag: int, iod: str | None, act: Act | None
) -> None:
    """PS3.15 Table E.1-1a."""
    assert table().act(tag, frozenset(), iod) is act


@pytest.mark.parametrize(
    ("tag", "options", "act"),
    [
        (STUDY_DATE, {"full_dates"}, Act.KEEP),
        (STUDY_DATE, {"modified_dates"}, Act.SHIFT),
        (0x00080018, {"retain_uids"}, Act.KEEP),
        (0x00081030, {"clean_descriptors"}, Act.WORDS),
        (0x0040A730, {"clean_structured_content"}, Act.STRUCTURE),
        # The date of a calibration goes with the other dates, whose device is known.
        (0x0018700C, {"retain_device_identity", "modified_dates"}, Act.SHIFT),
        (0x0018700C, {"retain_device_identity"}, Act.KEEP),
        (0x00080080, {"retain_device_identity"}, Act.REMOVE),
        # Of a later edition, with its options.
        (0x00181010, {"retain_device_identity"}, Act.KEEP),
        (0x00102162, {"retain_patient_characteristics"}, Act.KEEP),
        (0x0040A034, {"modified_dates"}, Act.SHIFT),
        (0x0040B020, {"clean_structured_content"}, Act.STRUCTURE),
        # A time zone is no date that could be moved.
        (0x00080201, {"modified_dates"}, Act.REMOVE),
    ],
)
def test_options_change_what_is_done(tag: int, options: set[str], act: Act) -> None:
    """One, and two that speak of one attribute."""
    assert table().act(tag, frozenset(options), CT) is act
