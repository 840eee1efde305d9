"""The short way of reading attributes gives what pydicom gives, or gives up."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread

from archive import attributes
from archive.attributes import read_attributes
from archive.quick_attributes import quick_values
from dicomrelay.errors import DataSetError
from tests.support.archive import pydicom_file, pydicom_files, request_for, shared_files
from tests.support.archive_writing import write_instance


def _both(path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[object, object, bool]:
    """What the two ways say of a file, and whether the short one did not give up."""
    try:
        request = request_for(path)
    except DataSetError:
        return None, None, False
    asked = {
        "data_set_offset": request.data_set_offset,
        "transfer_syntax_uid": request.transfer_syntax_uid,
    }
    quick = read_attributes(path, **asked)  # type: ignore[arg-type]
    answers: list[bool] = []

    def never(*args: object, **options: object) -> None:
        answers.append(quick_values(*args, **options) is not None)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(attributes, "quick_values", never)
        return quick, read_attributes(path, **asked), any(answers)  # type: ignore[arg-type]


def test_every_file_of_pydicom_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """And most of them the short way."""
    quick = 0
    paths = pydicom_files()
    for path in paths:
        one, other, is_quick = _both(path, monkeypatch)
        assert one == other, path.name
        quick += is_quick
    assert quick > len(paths) // 2


def test_every_file_of_other_people_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The corpus."""
    for path in shared_files():
        one, other, _ = _both(path, monkeypatch)
        assert one == other, path.name


@settings(max_examples=200, deadline=None)
@given(at=st.integers(0, 700), byte=st.integers(0, 255))
def test_a_changed_byte_changes_both_ways_alike(
    tmp_path_factory: pytest.TempPathFactory, at: int, byte: int
) -> None:
    """Or the short one gives up; it never raises and never tells something else."""
    folder = tmp_path_factory.mktemp("changed")
    path = write_instance(folder)
    request = request_for(path)
    data = bytearray(path.read_bytes())
    data[min(request.data_set_offset + at, len(data) - 1)] = byte
    path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        quick = read_attributes(
            path,
            data_set_offset=request.data_set_offset,
            transfer_syntax_uid=request.transfer_syntax_uid,
        )
        patch.setattr(attributes, "quick_values", lambda *_, **__: None)
        slow = read_attributes(
            path,
            data_set_offset=request.data_set_offset,
            transfer_syntax_uid=request.transfer_syntax_uid,
        )
    if not slow.problem:
        assert quick == slow


@pytest.mark.parametrize("data", [b"", b"\x08", bytes(7), bytes(100), b"\xff" * 100])
@pytest.mark.parametrize("implicit", [False, True])
def test_what_is_no_data_set_is_for_pydicom(data: bytes, implicit: bool) -> None:
    """It gives up, whatever it gets."""
    found = quick_values(data, {0x00100010: "PN"}, implicit=implicit, is_whole=True)
    assert found in (None, {})


@pytest.mark.parametrize(
    ("date", "time", "read"),
    [
        ("2004.12.31", "14:05:30.5", ("20041231", "140530.5")),
        ("2004.12.31", "14:05", ("20041231", "1405")),
        ("notadate", "noon", ("notadate", "noon")),
        ("2004-12-", "14:05:", ("2004-12-", "14:05:")),
        ("20041231", "140530", ("20041231", "140530")),
    ],
)
def test_dates_and_times_of_acr_nemas_day_are_read_in_todays_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, date: str, time: str, read: tuple[str, str]
) -> None:
    """PS3.5 Section 6.2; what is neither is kept as it came. Both ways of reading do it."""
    data_set = dcmread(pydicom_file("CT_small.dcm"))
    config = pydicom.config.settings
    monkeypatch.setattr(config, "writing_validation_mode", pydicom.config.IGNORE)
    monkeypatch.setattr(config, "reading_validation_mode", pydicom.config.IGNORE)
    data_set.StudyDate, data_set.StudyTime = date, time
    path = tmp_path / "old.dcm"
    data_set.save_as(path)
    one, other, _ = _both(path, monkeypatch)
    assert one == other
    assert isinstance(one, attributes.InstanceAttributes)
    assert (one.text("study_date"), one.text("study_time")) == read
