"""[[edits]]: what may be changed, and what is refused before anything is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicomrelay.edits import profile
from dicomrelay.errors import ConfigurationError
from dicomrelay.settings import Settings, load

KEY = "k" * 32


def settings(tmp_path: Path, text: str) -> Settings:
    """Those of a file with that text."""
    key = tmp_path / "key"
    key.write_text(KEY)
    key.chmod(0o600)
    path = tmp_path / "relay.toml"
    path.write_text(text.replace("KEY", str(key)))
    return load(config=path, home=tmp_path)


def edits(text: str) -> str:
    """A profile with that in it."""
    return f'[[edits]]\nname = "site"\n{text}\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('remove = ["PatientNam"]', "there is no attribute 'PatientNam' in PS3.6"),
        ('set = { SOPInstanceUID = "1.2" }', "SOP Instance UID says which instance it is"),
        ('remove = ["StudyInstanceUID"]', "Study Instance UID says which instance it is"),
        ('set = { "(0002,0010)" = "1.2" }', "group 0002 is not of the data set"),
        ('set = { Rows = "5" }', "it belongs to the pixels"),
        ('remove = ["PixelData"]', "it belongs to the pixels"),
        ('set = { SpecificCharacterSet = "ISO_IR 192" }', "how all text is to be read"),
        ('set = { Modality = "x y z" }', "Modality: "),
        ('set = { StationName = "more than sixteen characters" }', "StationName: "),
        ('set = { SeriesNumber = "five" }', "SeriesNumber: "),
        ('set = { SmallestImagePixelValue = "5" }', "it belongs to the pixels"),
        ('set = { OriginalAttributesSequence = "5" }', "its VR is SQ; what can be set is text"),
        ('set = { "(0019,1001)" = "5" }', "its VR is not known"),
        ('copy = { StationName = "Institution" }', "there is no attribute 'Institution'"),
        ('copy = { InstitutionName = "ProcedureCodeSequence" }', "its VR is SQ; what can be copied is text"),
        ('map = [{ attribute = "PatientID", values = {} }]', "at least 1 item"),
        ('shrink = ["PatientID"]', "there is no such setting"),
        ('deidentify = { profile = "basic" }', "key_file: Field required"),
        ('deidentify = { key_file = "KEY", options = ["clean_pixel_data"] }', "what is in a picture"),
        ('deidentify = { key_file = "KEY", options = ["all"] }', "Input should be 'clean_descriptors'"),
        (
            'deidentify = { key_file = "KEY", options = ["full_dates", "modified_dates"] }',
            "dates stay, or are moved",
        ),
        ('deidentify = { key_file = "KEY", words = ["CT"] }', "no option cleans descriptions"),
        (
            'deidentify = { key_file = "KEY", safe_private = ["(0019,xx01) A"] }',
            "add the option retain_safe_private",
        ),
        (
            'deidentify = { key_file = "KEY", options = ["retain_safe_private"], safe_private = ["(0018,xx01) A"] }',
            "with an odd group",
        ),
        ('private = "keep"\ndeidentify = { key_file = "KEY" }', "with deidentify they go"),
    ],
)
def test_what_cannot_be_is_refused_with_its_key_and_reason(tmp_path: Path, text: str, words: str) -> None:
    """Before a service starts."""
    with pytest.raises(ConfigurationError) as error:
        settings(tmp_path, edits(text))
    assert words in str(error.value)
    assert "edits.0" in str(error.value)


def test_names_must_agree(tmp_path: Path) -> None:
    """Between the sections."""
    pacs = '[[destinations]]\nname = "pacs"\nae_title = "PACS"\nhost = "h"\n'
    with pytest.raises(ConfigurationError, match=r"destinations\.0\.edits: there is no profile 'site'"):
        settings(tmp_path, pacs + 'edits = "site"\n')
    with pytest.raises(ConfigurationError, match=r"rules\.0\.edits: there is no profile 'site'"):
        settings(tmp_path, pacs + '[[rules]]\nsend_to = ["pacs"]\nedits = "site"\n')
    with pytest.raises(ConfigurationError, match="the name 'site' stands twice"):
        settings(tmp_path, edits("") + edits(""))
    both = pacs + 'edits = "site"\nverification = "find"\n'
    with pytest.raises(ConfigurationError, match="asked for UIDs that it never saw"):
        settings(tmp_path, both + edits('deidentify = { key_file = "KEY" }'))
    settings(tmp_path, both + edits('deidentify = { key_file = "KEY", options = ["retain_uids"] }'))
    with pytest.raises(ConfigurationError, match="of 'pacs' forbids any change"):
        settings(tmp_path, pacs + 'edits = "site"\ntransfer_syntax_policy = "never"\n' + edits(""))


def test_a_version_is_of_what_a_profile_does(tmp_path: Path) -> None:
    """Not of where its key lies; but of the key."""
    text = edits('set = { StationName = "CT1" }\ndeidentify = { key_file = "KEY" }')
    one = profile(settings(tmp_path, text), "site")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert profile(settings(elsewhere, text), "site").version == one.version
    assert profile(settings(tmp_path, text.replace("CT1", "CT2")), "site").version != one.version
    assert len(one.version) == 12
    changed = settings(tmp_path, text)
    (tmp_path / "key").write_text("l" * 32)
    assert profile(changed, "site").version != one.version
    with pytest.raises(ConfigurationError, match=r"no profile 'other' in .* known: site"):
        profile(changed, "other")
