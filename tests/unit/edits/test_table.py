"""Our copy of Table E.1-1, and what it says of an attribute in an IOD."""

from __future__ import annotations

import pytest

from dicomrelay.edits.table import Act, Row, table
from tests.support.confidentiality_table import published
from tests.support.data_sets import data_root

STUDY_DATE, ACQUISITION_DATE, CONTENT_DATE = 0x00080020, 0x00080022, 0x00080023
PET, CT, SR = "positron-emission-tomography-image", "ct-image", "basic-text-sr"


def test_every_published_attribute_stands_in_it_as_published() -> None:
    """Against the data of the standard itself."""
    rows = published(data_root() / "standard")
    assert len(rows) == 620
    for tag, (action, options) in rows.items():
        number = int(tag.replace("x", "0"), 16)
        assert table().row(number) == Row(tuple(action.split("/")), options), tag


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
        # A time zone is no date that could be moved.
        (0x00080201, {"modified_dates"}, Act.REMOVE),
    ],
)
def test_options_change_what_is_done(tag: int, options: set[str], act: Act) -> None:
    """One, and two that speak of one attribute."""
    assert table().act(tag, frozenset(options), CT) is act
