"""What is kept beside a text, and how several instances become one row: no database."""

from __future__ import annotations

import pytest

from archive.attributes import ATTRIBUTES
from archive.index.keys import derived, folded, fuzzy_patterns, indexed_words, sound_of, words_of
from archive.index.merging import Difference, Saying, merge, richest, with_derived

BY_COLUMN = {attribute.column: attribute for attribute in ATTRIBUTES}


def is_found(asked: str, name: str) -> bool:
    """Whether the patterns of what is asked are in what is kept of a name, as LIKE has it."""
    kept = indexed_words(name) or ""
    return all(
        any(pattern.strip("%") in kept for pattern in alternatives) for alternatives in fuzzy_patterns(asked)
    )


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("smith", "SMITH^John"),
        ("john smith", "SMITH^John"),
        ("Smi Jo", "SMITH^John"),
        ("smith", "Smythe^Ann"),
        ("Meyer", "MAIER^Karl"),
        ("Carl Mayer", "MAIER^Karl"),
        ("Mueller", "Müller^Jürgen"),
        ("Muller", "MÜLLER^Jürgen"),
        ("Stephan", "Stefan^Anna"),
        ("Wogel", "Vogel^Hans"),
        ("yamada", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("山", "Yamada^Tarou=山田^太郎"),
        ("garcia lopez", "García-López^María"),
        ("o brien", "O'Brien^Sean"),
    ],
)
def test_a_name_is_found_by_its_words_and_their_sounds(asked: str, name: str) -> None:
    """Beginnings and sounds, in any order, without accents (docs/design/archive-index.md)."""
    assert is_found(asked, name)


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("smith", "Brown^John"),
        ("john brown", "SMITH^John"),
        ("mith", "SMITH^John"),
        ("田", "Yamada^Tarou=山田^太郎"),
        ("lee", "Lopez^Ana"),
    ],
)
def test_a_name_that_is_another_one_is_not_found(asked: str, name: str) -> None:
    """Each word that is asked must be there."""
    assert not is_found(asked, name)


def test_a_sound_is_a_letter_and_three_digits() -> None:
    """Soundex, the first letter grouped; H and W do not part equal codes, vowels do."""
    assert [sound_of(word) for word in ("robert", "rupert", "ashcraft", "tymczak", "pfister")] == [
        "r163", "r163", "a261", "t522", "p236",
    ]  # fmt: skip
    assert sound_of("carl") == sound_of("karl")
    assert sound_of("philip") == sound_of("filip")
    assert (sound_of("山田"), sound_of("m2"), sound_of("")) == ("", "", "")


def test_what_is_kept_has_no_words_when_the_name_has_none() -> None:
    """Nothing to find, and no pattern that finds everything."""
    assert indexed_words("^^=") is None
    assert fuzzy_patterns("^ *") == []
    assert words_of("%_^100%") == ["100"]


def test_text_is_folded_and_a_name_loses_what_is_empty_at_its_end() -> None:
    """PS3.5 Section 6.2: trailing delimiters of a person name mean nothing, those of other text do."""
    assert folded("DOE^John^^^=", is_name=True) == "doe^john"
    assert folded("A^ ") == "a^"
    assert folded("STRASSE") == folded("Straße")


def test_every_text_has_a_key_and_nothing_else_has() -> None:
    """Names have words too; dates, UIDs and numbers compare as they stand."""
    assert derived(BY_COLUMN["study_date"], "20240101") == {}
    assert derived(BY_COLUMN["rows"], 512) == {}
    assert derived(BY_COLUMN["accession_number"], "A1 ") == {"accession_number_key": "a1"}
    assert derived(BY_COLUMN["patient_name"], None) == {"patient_name_key": None, "patient_name_words": None}
    assert with_derived({"patient_name": "Doe"})["patient_name_words"] == " doe ~d000 "


def test_what_is_missing_is_filled_and_what_differs_is_told() -> None:
    """The first value stays; each other value is told once, with the first instance that has it."""
    kept = {"patient_name": "Doe^John", "study_date": None, "study_id": "1"}
    merged = merge(
        kept,
        [
            Saying("1.1", {"patient_name": "Doe^John^^", "study_date": None, "study_id": "1"}),
            Saying("1.2", {"patient_name": "Roe^Jane", "study_date": "20240101", "study_id": None}),
            Saying("1.3", {"patient_name": "Roe^Jane", "study_date": "20240102", "study_id": "2"}),
        ],
    )

    assert merged.fill == {"study_date": "20240101"}
    assert merged.differences == [
        Difference("patient_name", "Doe^John", "Roe^Jane", "1.2"),
        Difference("study_date", "20240101", "20240102", "1.3"),
        Difference("study_id", "1", "2", "1.3"),
    ]
    assert kept["study_date"] is None


def test_who_says_most_speaks_for_a_new_row() -> None:
    """Of equals the first."""
    poor, rich, other = (
        Saying("1", {"a": None, "b": "x"}),
        Saying("2", {"a": "y", "b": "z"}),
        Saying("3", {"a": "v", "b": "w"}),
    )
    assert richest([poor, rich, other]) is rich
