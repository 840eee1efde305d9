"""The last look: what must not be left, however it is written, and wherever."""

from __future__ import annotations

from time import process_time

import pytest
from pydicom.dataset import Dataset

from dicomrelay.edits.look import LastLook
from dicomrelay.edits.names import Names
from dicomrelay.edits.tree import Item, Leaf
from dicomrelay.errors import NotEditable
from tests.support.data_sets import EXPLICIT
from tests.support.edits import basic, edited, encoded, person

SEQUENCE_NAME = 0x00180024


def seen(value: bytes, vr: bytes = b"LO", tag: int = SEQUENCE_NAME, **names: list[str]) -> bool:
    """Whether the last look stops a value."""
    look = LastLook({"1.2.826.0.1.11.2"}, names.get("names", ["Whittaker^Jonathan"]), names.get("ids", []))
    try:
        look.over(Item({tag: Leaf(tag, vr, value)}))
    except NotEditable:
        return True
    return False


@pytest.mark.parametrize(
    "name",
    [
        *("Whittaker^Jonathan", "Whittaker, Jonathan", "Whittaker,Jonathan", "Whittaker_Jonathan"),
        *("Whittaker.Jonathan", "O'Whittaker^J", "von Whittaker^J=山田", "WHITTAKER"),
    ],
)
@pytest.mark.parametrize(
    "text", ["Whittaker", "WHITTAKER_HEAD", "seen by whittaker.", "xWhittaker1", "2Whittaker"]
)
def test_a_part_of_a_name_is_found_however_name_and_text_are_written(name: str, text: str) -> None:
    """All that is neither letter nor digit stands between words."""
    assert Names([name]).are_in(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("MRN-778899", True),
        ("MRN778899", True),
        ("mrn 778899", True),
        ("no 778899.", True),
        ("x_778899y", True),
        ("1778899", False),
        ("MRN", False),
        ("MRN-77", False),
    ],
)
def test_an_id_is_found_without_what_stands_in_it(text: str, found: bool) -> None:
    """A longer number is another number."""
    assert Names([], ["MRN-778899"]).are_in(text) is found
    assert Names([], ["A-12-34"]).are_in("no A1234")


@pytest.mark.parametrize(
    ("text", "found"),
    [("Mann", True), ("MANN_1", True), ("Mannheim", False), ("Herrmann", False), ("Man", False)],
)
def test_a_short_name_in_a_longer_word_is_none(text: str, found: bool) -> None:
    """Half of all words have somebody's name in them."""
    assert Names(["Mann^E"]).are_in(text) is found
    assert Names(["Mustermann^E"]).are_in("xMustermannx")


@pytest.mark.parametrize(
    ("vr", "value", "found"),
    [
        (b"CS", b"WHITTAKER ", True),
        (b"AS", b"Whittaker ", True),
        (b"IS", b"Whittaker ", True),
        (b"DS", b"Whittaker ", True),
        (b"DA", b"20240317Whittaker ", True),
        (b"TM", b"Whittaker ", True),
        (b"OB", b"\0\1\2Whittaker\0\0", True),
        (b"UN", b"Whittaker ", True),
        (b"UI", b"1.2.826.0.1.11.2\0", True),
        (b"UN", b"1.2.826.0.1.11.2\0", True),
        (b"LT", b"of 1.2.826.0.1.11.2.5.", True),
        (b"LT", b"of 11.2.826.0.1.11.2", False),
        (b"DS", b"1.5\\-2.5E3 ", False),
        (b"US", b"Wh", False),
    ],
)
def test_every_value_is_looked_at_but_numbers(vr: bytes, value: bytes, found: bool) -> None:
    """A VR says what a value should be, and not what it is."""
    assert seen(value, vr, 0x00191001) is found


def test_a_number_is_no_id_and_a_uid_of_the_standard_none_either() -> None:
    """A slice has the number 778899, and a SOP class has 10008 in its UID."""
    assert not seen(b"778899", b"IS", 0x00200013, ids=["778899"])
    assert seen(b"778899", b"SH", 0x00200013, ids=["778899"])
    assert not seen(b"1.2.840.10008.5.1.4.1.1.2\0", b"UI", 0x00080016, ids=["10008"])
    assert seen(b"1.2.840.10008.1.2\\1.2.3.10008.5", b"UI", 0x00080018, ids=["10008"])


def test_a_text_with_a_vr_that_is_not_its_own_is_one() -> None:
    """Protocol Name as OB, in the letters of the data set; and in long binary values four letters are chance."""
    tag = 0x00181030
    item = Item(
        {0x00080005: Leaf(0x00080005, b"CS", b"ISO_IR 192"), tag: Leaf(tag, b"OB", "山田病院".encode())}
    )
    with pytest.raises(NotEditable, match=r"\(0018,1030\) still holds"):
        LastLook(set(), ["Yamada=山田"]).over(item)
    assert seen(b" Mann ", b"OB", 0x00282000, names=["Mann^Whittaker"])
    assert not seen(b" Mann " + bytes(5000), b"OB", 0x00282000, names=["Mann^Whittaker"])
    assert seen(b" Whittaker" + bytes(5000), b"OB", 0x00282000, names=["Mann^Whittaker"])


def test_what_a_code_of_ones_own_means_is_looked_at() -> None:
    """Of a published scheme it is a word like others."""
    for scheme, found in ((b"DCM ", False), (b"99KLINIK", True)):
        item = Item(
            {
                0x00080102: Leaf(0x00080102, b"SH", scheme),
                0x00080104: Leaf(0x00080104, b"LO", b"for Whittaker "),
            }
        )
        look = LastLook(set(), ["Whittaker"])
        if found:
            with pytest.raises(NotEditable, match='names_left = "send"'):
                look.over(item)
        else:
            look.over(item)


def test_an_endless_number_and_an_endless_name_cost_little() -> None:
    """20 kB of digits took ten seconds once, a name of 2000 parts twenty-two."""
    before = process_time()
    assert not seen(b"1" * 200_000, b"UT")
    assert not seen(b"1." * 100_000, b"UT")
    assert process_time() - before < 1
    with pytest.raises(NotEditable, match="more than 200 parts: that is no name"):
        LastLook(set(), ["^".join(f"name{number}" for number in range(300))])


def test_such_an_instance_is_refused() -> None:
    """The whole way."""
    before: Dataset = person()
    before.BodyPartExamined = "MUSTERMANN"
    with pytest.raises(NotEditable, match=r"\(0018,0015\) still holds"):
        edited(encoded(before, EXPLICIT), EXPLICIT, basic())
