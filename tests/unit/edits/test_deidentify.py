"""De-identification by PS3.15 Annex E, element by element."""

from __future__ import annotations

from datetime import date

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dicomrelay.edits.values import BurnedIn, Profile, SafePrivate
from dicomrelay.errors import NotEditable
from tests.support.data_sets import BIG_ENDIAN, ENCODERS, EXPLICIT, IMPLICIT
from tests.support.edits import KEY, SECRETS, basic, decoded, edited, encoded, person

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
ULTRASOUND = "1.2.840.10008.5.1.4.1.1.6.1"
TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"


def cleaned(data_set: Dataset, profile: Profile | None = None, syntax: str = EXPLICIT) -> Dataset:
    """By the basic profile, or another."""
    return decoded(edited(encoded(data_set, syntax), syntax, profile or basic())[0], syntax)


def code(value: str, scheme: str = "DCM", meaning: str = "words") -> Dataset:
    """A coded entry."""
    made = Dataset()
    made.CodeValue, made.CodingSchemeDesignator, made.CodeMeaning = value, scheme, meaning
    return made


def days_between(one: str, other: str) -> int:
    """Of two dates."""
    first, second = (date(int(text[:4]), int(text[4:6]), int(text[6:])) for text in (one, other))
    return (second - first).days


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN])
def test_nothing_is_left_of_who_it_is_and_the_picture_stays(syntax: str) -> None:
    """In every byte order, with VRs and without."""
    before = person()
    data, made = edited(encoded(before, syntax), syntax, basic())
    for secret in SECRETS:
        assert secret.encode() not in data, secret
    after = decoded(data, syntax)
    assert after.PixelData == before.PixelData
    assert (after.Rows, after.SOPClassUID) == (4, before.SOPClassUID)
    assert made.sop_instance_uid == after.SOPInstanceUID == KEY.uid(before.SOPInstanceUID)
    assert after.StudyInstanceUID == KEY.uid(before.StudyInstanceUID)
    assert after.PatientID == after.PatientName != ""
    assert after.PatientBirthDate == after.StudyDate == ""
    # X in this IOD; inside of an item the UIDs are mapped.
    assert "ReferencedImageSequence" not in after
    assert "InstitutionName" not in after
    assert not [element for element in after if element.tag.is_private]


def test_what_was_done_stands_in_it() -> None:
    """(0012,0062), (0012,0063), (0012,0064) and (0028,0303)."""
    after = cleaned(person(), basic("modified_dates", "retain_patient_characteristics"))
    assert after.PatientIdentityRemoved == "YES"
    assert after.DeidentificationMethod == "dicomrelay research@0123456789ab"
    codes = [item.CodeValue for item in after.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113107", "113108"]
    assert {item.CodingSchemeDesignator for item in after.DeidentificationMethodCodeSequence} == {"DCM"}
    assert after.LongitudinalTemporalInformationModified == "MODIFIED"
    assert cleaned(person()).LongitudinalTemporalInformationModified == "REMOVED"
    assert cleaned(person(), basic("full_dates")).LongitudinalTemporalInformationModified == "UNMODIFIED"


def test_dates_of_a_patient_move_together_and_those_of_another_otherwise() -> None:
    """Intervals stay, times stay."""
    before, other = person(), person()
    other.PatientID = "PAT-4712"
    after = cleaned(before, basic("modified_dates"))
    back = days_between(after.StudyDate, before.StudyDate)
    assert 1 <= back <= 3650
    assert days_between(after.ContentDate, before.ContentDate) == back
    assert days_between(after.AcquisitionDate, before.AcquisitionDate) == back
    assert after.StudyTime == before.StudyTime
    assert days_between(cleaned(other, basic("modified_dates")).StudyDate, other.StudyDate) != back


def test_a_date_that_is_none_gets_what_the_profile_says() -> None:
    """A malformed value is not passed on because it cannot be moved."""
    before = person()
    before.StudyDate = ""
    raw = encoded(before, EXPLICIT).replace(b"20240312", b"Erika M.")
    after = decoded(edited(raw, EXPLICIT, basic("modified_dates"))[0], EXPLICIT)
    assert after.StudyDate == ""
    assert "AcquisitionDate" not in after


def test_the_same_patient_is_known_again_in_a_later_study() -> None:
    """By the key alone: nothing is stored."""
    later = person()
    later.StudyInstanceUID, later.SOPInstanceUID, later.AccessionNumber = "1.2.9", "1.2.9.1", "ACC-1"
    one, two = cleaned(person()), cleaned(later)
    assert one.PatientID == two.PatientID
    assert one.StudyInstanceUID != two.StudyInstanceUID
    assert one.AccessionNumber != two.AccessionNumber


def test_without_an_id_the_study_stands_for_the_patient() -> None:
    """And the id is there afterwards, so that it is known again."""
    before = person()
    del before.PatientID
    one = cleaned(before)
    assert one.PatientID.startswith("P")
    before.PatientName, before.SOPInstanceUID = "Other^Name", "1.2.9.9"
    assert cleaned(before).PatientID == one.PatientID
    palette = Dataset()
    palette.SOPInstanceUID, palette.ContentLabel = "1.2.826.0.1.11.9", "SPRING"
    after = cleaned(palette)
    assert after.SOPInstanceUID == KEY.uid("1.2.826.0.1.11.9")
    assert "PatientID" not in after


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_what_hides_behind_un_is_gone_through(syntax: str) -> None:
    """PS3.5 Section 6.2.2: the items of UN are implicit VR, and what PS3.6 knows is what it says."""
    inner = Dataset()
    inner.ReferencedSOPInstanceUID = "1.2.826.0.1.11.77"
    inner.PatientName = "Mustermann^Erika"
    body = encoded(inner, IMPLICIT)
    item = b"\xfe\xff\x00\xe0" + len(body).to_bytes(4, "little") + body
    unknown = ENCODERS[syntax].element(0x00081115, b"UN", item)  # Referenced Series Sequence
    unknown += ENCODERS[syntax].element(0x00101001, b"UN", b"Mustermann")  # Other Patient Names
    data = edited(encoded(person(), syntax) + unknown, syntax, basic())[0]
    assert b"Mustermann" not in data
    assert b"1.2.826.0.1.11.77" not in data
    assert KEY.uid("1.2.826.0.1.11.77").encode() in data


def test_a_sequence_that_holds_no_items_is_refused_where_it_would_stay() -> None:
    """What cannot be looked into cannot go out."""
    unknown = ENCODERS[EXPLICIT].element(0x00081115, b"UN", b"Mustermann^Erika")
    with pytest.raises(NotEditable, match=r"\(0008,1115\) is a sequence"):
        edited(encoded(person(), EXPLICIT) + unknown, EXPLICIT, basic())


def test_public_elements_that_nobody_knows_go() -> None:
    """Of the standard of tomorrow, or of nobody."""
    before = person()
    before.add_new(0x00187FFE, "LO", "Erika")
    before.add_new(0x60003000, "OW", b"\1\2")
    before.add_new(0x60000010, "US", 4)
    before.add_new(0x50003000, "OW", b"\1\2")
    after = cleaned(before)
    assert not {0x00187FFE, 0x60003000, 0x60000010, 0x50003000} & {int(element.tag) for element in after}


def test_structured_content_keeps_its_form_and_published_codes() -> None:
    """D of Content Sequence (0040,A730)."""
    name, private_code, finding = Dataset(), Dataset(), Dataset()
    name.RelationshipType, name.ValueType, name.PersonName = "CONTAINS", "PNAME", "Mustermann^Erika"
    finding.ValueType, finding.TextValue, finding.NumericValue = "TEXT", "seen by Referrer", "12.5"
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "121071", "DCM", "Finding"
    finding.ConceptNameCodeSequence = Sequence([code])
    own = Dataset()
    own.CodeValue, own.CodingSchemeDesignator, own.CodeMeaning = "E1", "99KLINIKUM", "Erika"
    private_code.ValueType, private_code.ConceptCodeSequence = "CODE", Sequence([own])
    before = person(TEXT_SR)
    del before.BurnedInAnnotation
    before.ContentSequence = Sequence([name, finding, private_code])
    for profile in (basic(), basic("clean_structured_content")):
        after = cleaned(before, profile).ContentSequence
        assert [item.ValueType for item in after] == ["PNAME", "TEXT", "CODE"]
        assert after[0].PersonName == "REMOVED"
        assert (after[1].TextValue, after[1].NumericValue) == ("REMOVED", 12.5)
        assert after[1].ConceptNameCodeSequence[0].CodeMeaning == "Finding"
        assert after[2].ConceptCodeSequence[0].CodeMeaning == "REMOVED"


def test_descriptions_keep_the_words_that_are_listed() -> None:
    """Others go; where none is left, the profile's word."""
    profile = basic("clean_descriptors", words=frozenset({"ct", "thorax"}))
    after = cleaned(person(), profile)
    assert after.StudyDescription == "CT"
    assert after.ProtocolName == "Thorax"
    assert "StudyDescription" not in cleaned(person(), basic("clean_descriptors"))


def test_private_elements_stay_where_they_are_safe() -> None:
    """By the settings, or by what (0008,0300) says; UIDs in them are mapped."""
    listed = frozenset({SafePrivate(0x0019, 0x02, "ACME 1"), SafePrivate(0x0019, 0x03, "ACME 1")})
    after = cleaned(person(), basic("retain_safe_private", safe_private=listed))
    block = after.private_block(0x0019, "ACME 1")
    assert block[0x02].value == 1.5
    assert block[0x03].value == KEY.uid("1.2.826.0.1.11.6")
    assert 0x01 not in block

    before = person()
    said = Dataset()
    said.add_new(0x00080301, "US", 0x0019)
    said.PrivateCreatorReference, said.BlockIdentifyingInformationStatus = "ACME 1", "MIXED"
    said.add_new(0x00080304, "US", [0x02])
    before.PrivateDataElementCharacteristicsSequence = Sequence([said])
    for syntax in (EXPLICIT, BIG_ENDIAN):
        after = cleaned(before, basic("retain_safe_private"), syntax)
        assert [element.tag.element & 0xFF for element in after if element.tag.is_private] == [0x10, 0x02]
    assert not [element for element in cleaned(before) if element.tag.is_private]


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_a_safe_private_element_is_gone_through_where_no_vr_is_said(syntax: str) -> None:
    """In implicit VR, and behind UN: a sequence is one, a UID is mapped, a date moved."""
    inner = Dataset()
    inner.PatientBirthDate, inner.OperatorsName = "19640812", "Referrer^Rudi"
    inner.ReferencedSOPInstanceUID = "1.2.826.0.1.11.55"
    body = encoded(inner, IMPLICIT)
    item = b"\xfe\xff\x00\xe0" + len(body).to_bytes(4, "little") + body
    values = {
        0x11: item,
        0x12: b"1.2.826.0.1.11.66\0",
        0x13: b"20240312",
        0x14: item[:-1] + b"\0\0\0",
        0x15: b"5.1.4.2 ",
        0x16: item + b"\xfe\xff\x00\xe0" + (70_000).to_bytes(4, "little") + bytes(70_000),
    }
    before = person()
    before.private_block(0x0029, "ACME 2", create=True)
    data = encoded(before, syntax)
    added = b"".join(
        ENCODERS[syntax].element(0x00291000 | low, b"UN", value) for low, value in values.items()
    )
    # The elements stand in their order: behind their creator.
    at = data.index(b"ACME 2") + len("ACME 2")
    listed = frozenset(SafePrivate(0x0029, low, "ACME 2") for low in values)
    profile = basic("retain_safe_private", "modified_dates", safe_private=listed)
    made = edited(data[:at] + added + data[at:], syntax, profile)[0]
    for gone in (b"19640812", b"Referrer", b"1.2.826.0.1.11.55", b"1.2.826.0.1.11.66", b"20240312"):
        assert gone not in made, gone
    after = decoded(made, syntax)
    assert KEY.uid("1.2.826.0.1.11.55").encode() in made
    assert KEY.uid("1.2.826.0.1.11.66").encode() in made
    assert 0x00291014 not in after
    assert after[0x00291015].value == b"5.1.4.2 "
    moved = after[0x00291013].value.decode()
    assert moved == after.AcquisitionDate
    for options in ((), ("full_dates",)):
        profile = basic("retain_safe_private", *options, safe_private=listed)
        made = edited(data[:at] + added + data[at:], syntax, profile)[0]
        assert (0x00291013 in decoded(made, syntax)) is bool(options)


def test_uids_stay_where_they_are_to_stay() -> None:
    """And nothing else does."""
    after = cleaned(person(), basic("retain_uids"))
    assert after.SOPInstanceUID == "1.2.826.0.1.11.1"
    assert after.ReferencedImageSequence[0].ReferencedSOPInstanceUID == "1.2.826.0.1.11.5"
    assert "Mustermann" not in str(after)


def test_what_is_still_there_stops_the_instance() -> None:
    """A description that an option keeps, and a UID in a text."""
    with pytest.raises(NotEditable, match=r"\(0008,0080\) still holds") as error:
        cleaned(person(), basic("retain_institution_identity"))
    assert "Mustermann" not in str(error.value)
    kept = cleaned(person(), basic("retain_institution_identity", names_may_be_left=True))
    assert kept.InstitutionName == "Klinikum Mustermann"
    before = person()
    before.PixelSpacingCalibrationDescription = "see 1.2.826.0.1.11.2"
    with pytest.raises(NotEditable, match=r"\(0028,0A04\) still holds"):
        cleaned(before)


@pytest.mark.parametrize(
    ("sop_class", "said", "policy", "refused"),
    [
        (ULTRASOUND, "", BurnedIn.REFUSE, True),
        (ULTRASOUND, "NO", BurnedIn.REFUSE, False),
        (ULTRASOUND, "", BurnedIn.REFUSE_YES, False),
        (SECONDARY_CAPTURE, "YES", BurnedIn.REFUSE_YES, True),
        (SECONDARY_CAPTURE, "YES", BurnedIn.SEND, False),
        ("1.2.840.10008.5.1.4.1.1.7.4", "", BurnedIn.REFUSE, True),
        ("1.2.840.10008.5.1.4.1.1.2", "", BurnedIn.REFUSE, False),
        ("1.2.840.10008.5.1.4.1.1.2", "YES", BurnedIn.REFUSE, True),
    ],
)
def test_a_picture_that_may_name_the_patient_waits_for_a_person(
    sop_class: str, said: str, policy: BurnedIn, refused: bool
) -> None:
    """PS3.3 Section C.7.6.1.1.1."""
    before = person(sop_class)
    before.BurnedInAnnotation = said
    if refused:
        with pytest.raises(NotEditable, match=r"Burned In Annotation \(0028,0301\)"):
            cleaned(before, basic(burned_in=policy))
    else:
        assert cleaned(before, basic(burned_in=policy)).PatientIdentityRemoved == "YES"


def test_an_overlay_in_the_pixels_waits_for_a_person() -> None:
    """It is removed by nobody here, and its bits are still there."""
    before = person()
    before.add_new(0x60000102, "US", 0)
    cleaned(before)
    before.add_new(0x60020102, "US", 12)
    with pytest.raises(NotEditable, match="an overlay lies in the pixels"):
        cleaned(before)


def test_a_short_name_is_looked_for_where_words_are_written_together() -> None:
    """Two letters of Kanji are a name, two of the alphabet half a word."""
    before = person()
    before.SpecificCharacterSet, before.PatientName = "ISO_IR 192", "Ng^Li=山田^太郎"
    before.InstitutionName = "Ng Li"
    profile = basic("retain_institution_identity")
    assert cleaned(before, profile).InstitutionName == "Ng Li"
    before.InstitutionName = "東京山田病院"
    with pytest.raises(NotEditable, match=r"\(0008,0080\) still holds"):
        cleaned(before, profile)


def test_an_instance_without_its_uid_is_refused() -> None:
    """A copy of it would have none."""
    before = person()
    del before.SOPInstanceUID
    with pytest.raises(NotEditable, match="no SOP Instance UID"):
        cleaned(before)


def test_pixels_that_another_has_cleaned_stay_marked_as_such() -> None:
    """Nothing here touches pixels."""
    before, code = person(), Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "113101", "DCM", "Erika"
    before.DeidentificationMethodCodeSequence = Sequence([code])
    codes = cleaned(before).DeidentificationMethodCodeSequence
    assert (codes[0].CodeValue, codes[0].CodeMeaning) == ("113101", "Clean Pixel Data Option")


def test_what_others_have_done_before_us_stays_written() -> None:
    """PS3.15 Section E.1.1: codes are added, and the text is added to; dates that are gone are not unmodified."""
    before = person()
    before.DeidentificationMethod = ["Site A anonymizer", "step 2"]
    codes = [("113105", "DCM"), ("113103", "DCM"), ("X1", "99SITE")]
    before.DeidentificationMethodCodeSequence = Sequence([code(value, scheme) for value, scheme in codes])
    before.LongitudinalTemporalInformationModified = "REMOVED"
    after = cleaned(before, basic("full_dates"))
    assert list(after.DeidentificationMethod) == [
        "Site A anonymizer",
        "step 2",
        "dicomrelay research@0123456789ab",
    ]
    made = [each.CodeValue for each in after.DeidentificationMethodCodeSequence]
    assert made == ["113105", "113103", "X1", "113100", "113106"]
    assert after.LongitudinalTemporalInformationModified == "REMOVED"
    assert cleaned(before, basic("modified_dates")).LongitudinalTemporalInformationModified == "MODIFIED"
    assert cleaned(after, basic("full_dates")) == after


def test_groups_of_directories_and_what_was_retired_go() -> None:
    """PS3.15 Section E.1.1: group 0004 has no place outside of a DICOMDIR; what else the table does not know goes too."""
    before = person()
    before.add_new(0x00041130, "CS", "JOHNS_DISK")
    before.add_new(0x00041500, "CS", ["DICOM", "IM1"])
    before.add_new(0x00041511, "UI", "1.2.826.0.1.11.1")
    before.add_new(0x00020016, "AE", "STATION")
    before.add_new(0x00203100, "CS", "SOURCE1")
    before.add_new(0x7F000010, "OW", b"\1\2")
    data = edited(encoded(before, EXPLICIT), EXPLICIT, basic("retain_uids"))[0]
    for gone in (b"JOHNS_DISK", b"IM1", b"STATION", b"SOURCE1"):
        assert gone not in data
    after = decoded(data, EXPLICIT)
    assert not {0x00041511, 0x7F000010} & {int(element.tag) for element in after}
    assert after.PixelData == before.PixelData


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("StudyDate", "20240317-20240318"),
        ("StudyDate", "20240317 Whittaker"),
        ("AcquisitionDateTime", "20240317102233-20240318"),
        ("StudyTime", "20240317102233"),
        ("AcquisitionTime", "MRN-778899"),
        ("ContentTime", "101112 Whittaker"),
    ],
)
@pytest.mark.parametrize("option", ["modified_dates", "full_dates"])
def test_a_date_with_something_behind_it_is_none(keyword: str, value: str, option: str) -> None:
    """Or the other day of a range gave away how far they moved, and anything could hide behind one."""
    before = person()
    setattr(before, keyword, "")
    data = encoded(before, EXPLICIT)
    tag = before[keyword].tag
    head = tag.group.to_bytes(2, "little") + tag.element.to_bytes(2, "little") + before[keyword].VR.encode()
    raw = value.encode() + b" " * (len(value) % 2)
    assert head + b"\0\0" in data
    data = data.replace(head + b"\0\0", head + len(raw).to_bytes(2, "little") + raw)
    made = edited(data, EXPLICIT, basic(option))[0]
    assert value[:8].encode() not in made
    assert value[-8:].encode() not in made


def test_a_date_that_says_it_is_a_text_is_held_to_the_form_of_a_date() -> None:
    """Study Date is one, whatever VR it was written with."""
    data = encoded(person(), EXPLICIT)
    value = b"20240310 Whittaker"
    text = data.replace(b"\x20\0DA\x08\x0020240310", b"\x20\0LO" + len(value).to_bytes(2, "little") + value)
    assert value in text
    assert b"Whittaker" not in edited(text, EXPLICIT, basic("full_dates"))[0]


def test_times_and_dates_in_their_old_forms_stay_what_they_are() -> None:
    """Colons and dots of ACR-NEMA, parts of a second, and an offset from UTC."""
    before = person()
    before.StudyTime, before.ContentTime = "10:11:12", "1011"
    before.AcquisitionDateTime = "20240310101112.123456+0100"
    after = cleaned(before, basic("modified_dates"))
    assert (after.StudyTime, after.ContentTime) == ("10:11:12", "1011")
    assert after.AcquisitionDateTime[8:] == "101112.123456+0100"
    assert after.AcquisitionDateTime[:8] == after.ContentDate
