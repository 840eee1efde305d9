"""What the key makes of ids: the same for ever, nothing that leads back, and known again."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicomrelay.dicom.uids import is_valid_uid
from dicomrelay.edits.keys import ACCESSION, PATIENT, STUDY, Key
from dicomrelay.errors import ConfigurationError
from tests.support.edits import KEY

OTHER = Key(b"another key of thirty-two bytes..")
UIDS = st.from_regex(r"[0-2](\.(0|[1-9][0-9]{0,11})){2,5}", fullmatch=True)


@settings(max_examples=30, deadline=None)
@given(UIDS)
def test_a_uid_becomes_one_that_is_valid_known_again_and_of_the_key(uid: str) -> None:
    """PS3.5 Section 9.1 and Annex B.2."""
    made = KEY.uid(uid)
    if uid.startswith("1.2.840.10008."):
        assert made == uid
        return
    assert is_valid_uid(made)
    assert made != uid
    assert (int(made.removeprefix("2.25.")) >> 76) & 0xF == 8
    assert KEY.uid(made) == made == KEY.uid(uid)
    assert not OTHER.is_our_uid(made)
    assert OTHER.uid(uid) != made


def test_mappings_are_those_of_the_first_version() -> None:
    """Later studies of a patient must match those that were sent years ago: these values may never change."""
    assert KEY.uid("1.2.3.4") == "2.25.325006473718108557414658444548125447942"
    assert KEY.pseudonym(PATIENT, "4711", "") == "P22LLVCMFHW3DF5CKHK3"
    assert KEY.pseudonym(ACCESSION, "A-1") == "AB4K5KLD3EXWXFLI"
    assert KEY.days("P", 3650) == 45


def test_uids_of_the_standard_and_no_uid_stay() -> None:
    """A transfer syntax is no secret."""
    assert KEY.uid("1.2.840.10008.5.1.4.1.1.2") == "1.2.840.10008.5.1.4.1.1.2"
    assert KEY.uid("") == ""
    assert not KEY.is_our_uid("2.25.1")
    assert not KEY.is_our_uid("2.25." + "9" * 39)
    assert not KEY.is_our_uid("2.25.")


@given(st.text(min_size=1, max_size=30), st.text(max_size=10))
def test_an_id_becomes_a_pseudonym_that_is_known_again(value: str, issuer: str) -> None:
    """The form is that of its VR."""
    for kind, longest in ((PATIENT, 64), (ACCESSION, 16), (STUDY, 16)):
        made = KEY.pseudonym(kind, value, issuer)
        assert len(made) == kind.characters <= longest
        assert made.isalnum()
        assert made.isascii()
        assert KEY.is_pseudonym(kind, made)
        assert KEY.pseudonym(kind, made, "other") == made
        assert not OTHER.is_pseudonym(kind, made)


def test_the_issuer_tells_two_patients_of_one_number_apart() -> None:
    """And where one part ends is no matter of luck."""
    assert KEY.pseudonym(PATIENT, "1", "A") != KEY.pseudonym(PATIENT, "1", "B")
    assert KEY.pseudonym(PATIENT, "1A", "") != KEY.pseudonym(PATIENT, "1", "A")
    assert KEY.pseudonym(PATIENT, "") == ""


@given(st.text(max_size=10), st.integers(1, 36_500))
def test_days_lie_within_what_is_asked(patient: str, most: int) -> None:
    """Never none: a patient's dates always move."""
    assert 1 <= KEY.days(patient, most) <= most


def test_a_key_that_is_short_or_missing_is_refused(tmp_path: Path) -> None:
    """The message names the file and what to do."""
    path = tmp_path / "key"
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Key.read(path)
    path.write_text("short\n")
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match="32 bytes or more, this has 5"):
        Key.read(path)
    path.write_text("k" * 32 + "\n")
    assert Key.read(path).secret == b"k" * 32


def test_a_key_does_not_stand_in_its_text() -> None:
    """Nor in the fingerprint that is part of versions."""
    assert "0123" not in repr(KEY)
    assert KEY.fingerprint not in KEY.secret.decode()
    assert KEY.fingerprint != OTHER.fingerprint
