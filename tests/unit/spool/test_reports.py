"""Reports of storage commitment as files: durable, whole or not at all, bounded."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from dicomrelay.dimse.commitment import CommitmentReport
from dicomrelay.errors import SpoolCorrupt, SpoolError, SpoolFull
from dicomrelay.spool import reports
from dicomrelay.spool.operations import OperatingSystem
from dicomrelay.spool.reports import KeptReport, ReportBox


def kept(transaction: str = "2.25.1") -> KeptReport:
    report = CommitmentReport(transaction, frozenset({"1.2.3", "1.2.4"}), {"1.2.5": 0x0112})
    return KeptReport(report, "ARCHIVE", "a1", 1_700_000_000_000)


@pytest.fixture
def box(tmp_path: Path) -> ReportBox:
    (tmp_path / "spool").mkdir()
    return ReportBox(tmp_path / "spool" / "reports")


def test_what_is_put_can_be_read_in_its_order_and_removed(box: ReportBox) -> None:
    assert box.is_empty()
    assert list(box.waiting()) == []
    for number in range(5):
        box.put(kept(f"2.25.{number}"))
    names = list(box.waiting())
    assert {box.read(name).report.transaction_uid for name in names} == {f"2.25.{n}" for n in range(5)}
    assert box.read(names[0]) == kept(box.read(names[0]).report.transaction_uid)
    for name in names:
        box.remove(name)
        box.remove(name)
    assert box.is_empty()


def test_it_is_flushed_before_it_has_its_name_and_the_name_before_it_is_told(
    box: ReportBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of invariant 1."""
    done: list[str] = []
    really_rename = Path.rename
    monkeypatch.setattr(OperatingSystem, "sync_data", lambda *_: done.append("data"))
    monkeypatch.setattr(OperatingSystem, "sync_directory", lambda *_: done.append("folder"))

    def rename(self: Path, target: Path) -> Path:
        done.append("rename")
        return really_rename(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    box.put(kept())
    assert done[-3:] == ["data", "rename", "folder"]


@pytest.mark.parametrize("fails", ["sync_data", "sync_directory"])
def test_what_is_not_durable_is_an_error(box: ReportBox, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    box.put(kept())
    with monkeypatch.context() as patched:
        patched.setattr(OperatingSystem, fails, broken)
        with pytest.raises(SpoolError, match="a report cannot be kept: Input/output error"):
            box.put(kept())
    assert not list(box.folder.glob("*.part"))


def test_a_folder_that_is_full_takes_no_more(box: ReportBox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "MAX_WAITING", 3)
    for _ in range(3):
        box.put(kept())
    with pytest.raises(SpoolFull, match="3 reports wait for the workers already"):
        box.put(kept())
    assert len(list(box.waiting())) == 3


def test_every_changed_byte_is_noticed(box: ReportBox) -> None:
    """Or it changes nothing: the spaces of JSON are nobody's business."""
    box.put(kept())
    (name,) = box.waiting()
    path = box.folder / name
    raw = path.read_bytes()
    noticed = 0
    for position in range(len(raw)):
        path.write_bytes(raw[:position] + bytes([raw[position] ^ 1]) + raw[position + 1 :])
        try:
            assert box.read(name) == kept()
        except SpoolCorrupt:
            noticed += 1
    assert noticed > len(raw) * 0.9
    path.write_bytes(raw[:-10])
    with pytest.raises(SpoolCorrupt, match="not as it was written"):
        box.read(name)
    box.set_aside(name)
    box.set_aside(name)  # another worker was faster
    assert box.is_empty()
    assert (box.folder.parent / "corrupt" / f"report-{name}").exists()


def test_what_was_never_whole_is_swept_once_nobody_writes_it(box: ReportBox) -> None:
    box.put(kept())
    part = box.folder / "0123.part"
    part.write_bytes(b"{")
    assert box.sweep() == 0
    assert len(list(box.waiting())) == 1
    os.utime(part, (0, 0))
    assert box.sweep() == 1
    assert not part.exists()
    assert ReportBox(box.folder.parent / "nowhere").sweep() == 0


def test_many_threads_lose_none(box: ReportBox) -> None:
    threads = [
        threading.Thread(target=lambda: [box.put(kept()) for _ in range(20)], daemon=True) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(list(box.waiting())) == 160


def test_a_report_is_for_our_user_only(box: ReportBox) -> None:
    box.put(kept())
    assert box.folder.stat().st_mode & 0o077 == 0


def test_reports_take_so_many_bytes_and_no_more(box: ReportBox, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few they are; what is taken makes room."""
    box.put(kept())
    (name,) = box.waiting()
    monkeypatch.setattr(reports, "MAX_BYTES", 2 * (box.folder / name).stat().st_size - 1)
    with pytest.raises(SpoolFull, match="bytes of reports would wait"):
        box.put(kept("2.25.2"))
    assert list(box.waiting()) == [name]
    box.remove(name)
    box.put(kept("2.25.2"))


def test_under_the_low_water_mark_no_report_is_kept(box: ReportBox) -> None:
    """As no instance is: the peer is told, and reports again."""
    full = ReportBox(box.folder, min_free_bytes=1 << 62)
    with pytest.raises(SpoolFull, match="low-water mark"):
        full.put(kept())
    assert box.is_empty()
    assert not list(box.folder.glob("*"))
