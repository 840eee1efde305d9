"""The quick way to read the index's attributes answers what pydicom's does, or nothing."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import archive.attributes
from archive.attributes import InstanceAttributes, read_attributes
from archive.quick_attributes import quick_values
from tests.support.archive import pydicom_files, request_for, shared_files
from tests.support.data_sets import ENCODERS, EXPLICIT, IMPLICIT

_VRS = {attribute.tag: attribute.vr for attribute in archive.attributes.ATTRIBUTES}
_TEXTS = st.sampled_from(
    [b"", b"A", b"A ", b" A\0", b"A\\B", b"\\B", b"7", b"-3 ", b"7.5", b"99999999999", b"A^B=C=", b"=",
     b"M\xfcller", b"\x1b$B", b"x" * 1100]
)  # fmt: skip
_CHARACTER_SETS = st.sampled_from(
    [b"", b"ISO_IR 6", b"ISO_IR 100", b"ISO_IR 192 ", b"ISO_IR 13", b"\\ISO 2022 IR 87"]
)


def _by_pydicom(path: Path, offset: int, syntax: str) -> InstanceAttributes:
    with patch.object(archive.attributes, "quick_values", lambda *_, **__: None):
        return read_attributes(path, data_set_offset=offset, transfer_syntax_uid=syntax)


def _same(path: Path, offset: int, syntax: str) -> None:
    assert read_attributes(path, data_set_offset=offset, transfer_syntax_uid=syntax) == _by_pydicom(
        path, offset, syntax
    )


@st.composite
def _data_sets(draw: st.DrawFn) -> tuple[str, bytes]:
    """Attributes of the index with good and odd values, in order most of the time, cut short now and then."""
    syntax = draw(st.sampled_from([EXPLICIT, IMPLICIT]))
    encoder = ENCODERS[syntax]
    data = encoder.element(0x00080005, b"CS", draw(_CHARACTER_SETS))
    tags = sorted(draw(st.sets(st.sampled_from(sorted(_VRS)), max_size=8)))
    for tag in draw(st.permutations(tags)) if draw(st.integers(0, 9)) == 0 else tags:
        vr = _VRS[tag] if draw(st.integers(0, 9)) else "UN"
        value = draw(st.binary(max_size=4)) if vr == "US" else draw(_TEXTS)
        data += encoder.element(tag, vr.encode(), value)
    data += encoder.element(0x7FE00010, b"OW", bytes(8))
    return syntax, data[: draw(st.sampled_from([len(data), len(data), len(data) // 2]))]


@given(_data_sets())
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_answers_as_pydicom_does(tmp_path: Path, made: tuple[str, bytes]) -> None:
    """Odd values, odd VRs, tags out of order, what is cut short."""
    syntax, data = made
    path = tmp_path / "data"
    path.write_bytes(data)
    _same(path, 0, syntax)


def test_it_answers_as_pydicom_does_of_the_files_of_pydicom() -> None:
    """And it answers of most of them."""
    _all(pydicom_files(), at_least=0.7)


@pytest.mark.slow
def test_it_answers_as_pydicom_does_of_real_files() -> None:
    """And it answers of most of them."""
    _all(shared_files(), at_least=0.7)


def _all(files: list[Path], *, at_least: float) -> None:
    answered = []

    def watched(head: bytes, tags: dict[int, str], **more: bool) -> dict[int, str | int | None] | None:
        found = quick_values(head, tags, **more)
        answered.append(found is not None)
        return found

    with patch.object(archive.attributes, "quick_values", watched):
        for path in files:
            request = request_for(path)
            quick = read_attributes(
                path, data_set_offset=request.data_set_offset, transfer_syntax_uid=request.transfer_syntax_uid
            )
            assert quick == _by_pydicom(path, request.data_set_offset, request.transfer_syntax_uid), path
    assert sum(answered) >= at_least * len(files)
