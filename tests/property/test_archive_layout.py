"""Any two strings, any root."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from archive.layout import Layout
from dicomrelay.dicom.file_names import component

# With unpaired surrogates, which is what a hostile character set can decode to.
ANY_TEXT = st.text(st.characters(), max_size=300)
NEAR = st.text(st.sampled_from("a.A/\\ ~_\0-1"), max_size=8)


@given(ANY_TEXT | NEAR, ANY_TEXT | NEAR)
def test_different_strings_have_different_components(one: str, other: str) -> None:
    """Replacing characters never makes two instances meet under one path."""
    assert (component(one) == component(other)) == (one == other)


@given(ANY_TEXT | NEAR)
def test_a_component_of_a_component_is_harmless_too(text: str) -> None:
    """One name: no separators, no climbing, at most 65 characters."""
    made = component(text)

    assert Path(made).name == made
    assert made not in {".", ".."}
    assert 1 <= len(made) <= 65


@given(st.lists(ANY_TEXT | NEAR, min_size=4, max_size=4))
def test_every_path_has_five_parts_under_the_root(wire: list[str]) -> None:
    """data, patient, study, series, file: whatever the strings are."""
    relative = Layout.instance(*wire)

    assert len(Path(relative).parts) == 5
    assert Layout(Path("/archive")).resolve(relative) == Path("/archive") / relative
