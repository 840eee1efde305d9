"""Items of the spool, from arrival to removal."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
import structlog

from dicomrelay.dicom.scan import Header
from dicomrelay.dicom.uids import derived_uid
from dicomrelay.errors import SpoolCorrupt, SpoolError, SpoolFull
from dicomrelay.spool import Spool, SpoolUsage, free_space, items
from dicomrelay.spool.layout import begun_ms, is_id
from dicomrelay.spool.operations import Buffer, OperatingSystem
from tests.support.data_sets import EXPLICIT
from tests.support.spool import (
    DATA_SET,
    FROM_MODALITY,
    HEADER,
    begin,
    count_entries,
    count_listings,
    store,
    unreadable,
)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path / "spool")
    yield spool
    spool.close()


def counts(spool: Spool) -> tuple[int, int, int, int]:
    """New, kept, aside, corrupt."""
    usage: SpoolUsage = spool.usage()
    return usage.new, usage.kept, usage.aside, usage.corrupt


def test_an_item_is_a_part_10_file_with_the_data_set_as_received(spool: Spool) -> None:
    """Read by pydicom; the data set byte for byte; the record in the private information."""
    record = store(spool)
    path = spool.locate(record.id)
    assert path.read_bytes()[record.data_set_offset :] == DATA_SET
    assert record.data_set_offset == 4096
    assert record.digest == hashlib.sha256(DATA_SET).hexdigest()
    read = pydicom.dcmread(path)
    assert read.SOPInstanceUID == read.file_meta.MediaStorageSOPInstanceUID == "1.2.3"
    assert read.file_meta.TransferSyntaxUID == EXPLICIT
    assert read.file_meta.SendingApplicationEntityTitle == "MODALITY"
    assert read.file_meta.ReceivingApplicationEntityTitle == "DICOMRELAY"
    assert spool.arrivals(10) == [record]
    assert record.provenance == FROM_MODALITY


def test_nobody_else_may_read_it(spool: Spool) -> None:
    """Directories 0700, files 0600, whatever the umask says."""
    path = spool.locate(store(spool).id)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for folder in (spool.root, *(each for each in spool.root.iterdir() if each.is_dir())):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_an_item_being_written_is_not_an_arrival(spool: Spool) -> None:
    """It appears at once and whole, by its rename."""
    writer = begin(spool)
    writer.write([DATA_SET])
    assert spool.arrivals(10) == []
    assert spool.recover().swept == 0, "its writer lives"
    writer.commit(HEADER)
    assert len(spool.arrivals(10)) == 1


def test_an_abandoned_item_leaves_nothing(spool: Spool) -> None:
    """The association died before the data set was complete."""
    writer = begin(spool)
    writer.write([DATA_SET])
    writer.abandon()
    assert counts(spool) == (0, 0, 0, 0)


def test_missing_study_and_series_are_derived_in_the_record_only(spool: Spool) -> None:
    """The data set stays as it is; the same instance gets the same study each time."""
    writer = begin(spool)
    writer.write([DATA_SET])
    record = writer.commit(Header(HEADER.sop_class_uid, "1.2.3"))
    assert record.study_instance_uid == derived_uid("study", "1.2.3")
    assert record.series_instance_uid == derived_uid("series", "1.2.3")
    assert spool.verify(record.id) == record


def test_short_writes_and_many_fragments_are_written_whole(tmp_path: Path) -> None:
    """A system call may take less than it is given, and no more than 1024 buffers."""

    class Reluctant(OperatingSystem):
        def pwritev(self, fd: int, buffers: Sequence[Buffer], offset: int) -> int:
            assert len(buffers) <= 1024
            joined = b"".join(bytes(buffer) for buffer in buffers)
            return os.pwrite(fd, joined[: max(1, len(joined) * 2 // 3)], offset)

    spool = Spool(tmp_path / "spool", operations=Reluctant())
    writer = begin(spool)
    writer.write([memoryview(DATA_SET)[n : n + 4] for n in range(0, len(DATA_SET), 4)])
    record = writer.commit(HEADER)
    assert record.data_set_bytes == len(DATA_SET)
    spool.verify(record.id)


def test_an_empty_data_set_and_one_of_nothing_but_empty_fragments(spool: Spool) -> None:
    """Zero bytes are a size too."""
    writer = begin(spool)
    writer.write([memoryview(b""), memoryview(b"")])
    assert spool.verify(writer.commit(HEADER).id).data_set_bytes == 0


def test_many_destinations_push_the_data_set_further_back(spool: Spool) -> None:
    """In whole pages; the record is found all the same."""
    send_to = tuple(f"DESTINATION{number:04d}@pacs{number}.example.org:104" for number in range(300))
    record = store(spool, send_to=send_to)
    assert record.data_set_offset > 4096
    assert record.data_set_offset % 4096 == 0
    assert spool.arrivals(1)[0].send_to == send_to


def test_arrivals_come_oldest_first_and_no_more_than_asked(spool: Spool) -> None:
    """Ids are time-ordered, and ours."""
    ids = [store(spool).id for _ in range(7)]
    assert all(is_id(item_id) for item_id in ids)
    assert ids == sorted(ids)
    assert [record.id for record in spool.arrivals(3)] == ids[:3]


def test_batches_go_through_one_listing_and_then_look_again(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backlog is listed once, not once a batch; what comes meanwhile follows, and nothing comes twice."""
    ids = [store(spool).id for _ in range(5)]
    listings = count_listings(monkeypatch)
    batches = spool.arrival_batches(2)
    assert [record.id for record in next(batches)] == ids[:2]
    late = store(spool).id
    assert [[record.id for record in batch] for batch in batches] == [ids[2:4], ids[4:], [late]]
    assert listings == ["new"] * 3


def test_whether_anything_waits_is_told_by_the_first_name(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweeper asks every second, in a backlog too; what is being written does not wait yet."""
    writer = begin(spool)
    assert not spool.has_arrivals()
    writer.abandon()
    for _ in range(20):
        store(spool)
    taken = count_entries(monkeypatch)
    assert spool.has_arrivals()
    assert len([name for name in taken if not name.endswith(".part")]) == 1  # beside some of the reserve


def test_whether_something_waits_that_came_by_then(spool: Spool) -> None:
    """Its id says when it was begun; a name that is none of ours is as old as can be."""
    now_ms = time.time_ns() // 1_000_000
    assert not spool.has_arrivals_until(now_ms)
    store(spool)
    assert spool.has_arrivals_until(now_ms + 60_000)
    assert not spool.has_arrivals_until(now_ms - 60_000)
    assert begun_ms("a name.dcm") == 0


def test_a_directory_that_cannot_be_listed_is_worth_another_try(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not an empty one."""

    def refuse(path: Path) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    store(spool)
    monkeypatch.setattr(items.os, "scandir", refuse)
    for ask in (spool.has_arrivals, lambda: spool.arrivals(1), lambda: list(spool.records())):
        with pytest.raises(SpoolError, match="new: cannot be read: Too many open files"):
            ask()


def test_a_spool_is_closed_by_its_with_block(tmp_path: Path) -> None:
    """Its lock file goes, also when the block ends in an error."""
    writers = tmp_path / "spool" / "writers"
    with Spool(tmp_path / "spool") as spool:
        store(spool)
        assert len(list(writers.iterdir())) == 1
    assert list(writers.iterdir()) == []

    def fail(spool: Spool) -> None:
        with spool:
            store(spool)
            raise KeyError

    with pytest.raises(KeyError):
        fail(Spool(tmp_path / "spool"))
    assert list(writers.iterdir()) == []


def test_settling_flushes_buckets_and_their_parent_before_the_old_names_go(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a process that died made the bucket: its name is perhaps not durable."""
    record = store(spool)
    source, bucket = spool.locate(record.id), spool.root / "kept" / record.id[:8]
    bucket.mkdir()
    flushed: set[Path] = set()

    def note(path: Path) -> None:
        assert source.exists()
        flushed.add(path)

    monkeypatch.setattr(items, "sync_path", note)
    spool.settle([record.id])
    assert flushed == {bucket, bucket.parent}
    assert not source.exists()


def test_settling_that_cannot_be_flushed_leaves_both_names(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is unlinked before its other name is durable."""

    def refuse(path: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    record = store(spool)
    with monkeypatch.context() as patch:
        patch.setattr(items, "sync_path", refuse)
        with pytest.raises(SpoolError, match="items cannot be moved"):
            spool.settle([record.id])
    assert counts(spool)[:2] == (1, 1)
    spool.settle([record.id])
    assert counts(spool)[:2] == (0, 1)


def test_settling_moves_to_kept_and_can_be_repeated(spool: Spool) -> None:
    """Strangers and settled ones are passed over."""
    first, second = store(spool), store(spool)
    spool.settle([first.id])
    spool.settle([first.id, "0" * 28, "../../etc/passwd"])
    assert counts(spool) == (1, 1, 0, 0)
    assert [record.id for record in spool.arrivals(10)] == [second.id]
    assert spool.verify(first.id) == first
    assert spool.locate(first.id).parent.parent.name == "kept"


def test_a_settling_that_was_cut_off_is_finished_by_the_next(spool: Spool) -> None:
    """A crash between link and unlink leaves two names of one file."""
    record = store(spool)
    source = spool.locate(record.id)
    bucket = spool.root / "kept" / record.id[:8]
    bucket.mkdir()
    (bucket / source.name).hardlink_to(source)
    assert [each.id for each in spool.records()] == [record.id]
    spool.settle([record.id])
    assert counts(spool) == (0, 1, 0, 0)


def test_where_there_are_no_hard_links_a_rename_does(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems know none."""

    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    record = store(spool)
    monkeypatch.setattr(Path, "hardlink_to", refuse)
    spool.settle([record.id])
    assert counts(spool) == (0, 1, 0, 0)


def test_a_conflict_is_set_aside_from_new_and_from_kept(spool: Spool) -> None:
    """It stays readable, and part of a rebuilt ledger."""
    first, second = store(spool), store(spool)
    spool.settle([second.id])
    spool.set_aside([first.id, second.id])
    spool.settle([first.id])
    assert counts(spool) == (0, 0, 2, 0)
    assert [record.id for record in spool.records()] == [first.id, second.id]
    spool.verify(first.id)


def test_removing_takes_it_from_wherever_it_is(spool: Spool) -> None:
    """Empty buckets go too."""
    stored = [store(spool) for _ in range(3)]
    spool.settle([stored[0].id])
    spool.set_aside([stored[1].id])
    spool.remove([item.id for item in stored] + ["0" * 28])
    assert counts(spool) == (0, 0, 0, 0)
    assert list((spool.root / "kept").iterdir()) == []
    with pytest.raises(SpoolCorrupt, match=stored[0].id):
        spool.locate(stored[0].id)


@pytest.mark.parametrize("name", ["", "..", "../new", "0" * 27, "G" * 28, "0" * 28 + "/x"])
def test_only_ids_of_ours_reach_the_disk(spool: Spool, name: str) -> None:
    """Whatever a caller hands in."""
    with pytest.raises(SpoolCorrupt):
        spool.locate(name)
    spool.settle([name])
    spool.remove([name])


def test_a_file_cut_short_is_put_away_and_never_deleted(spool: Spool) -> None:
    """Its size is not its record's."""
    good, bad = store(spool), store(spool)
    path = spool.locate(bad.id)
    os.truncate(path, path.stat().st_size - 1)
    assert spool.arrivals(10) == [good]
    assert counts(spool) == (1, 0, 0, 1)
    assert (spool.root / "corrupt" / path.name).exists()


def test_what_was_put_away_is_found_by_nobody(spool: Spool) -> None:
    """Neither to be sent nor to stand for the instance when it comes again."""
    bad = store(spool)
    os.truncate(spool.locate(bad.id), 5000)
    assert spool.arrivals(10) == []
    for ask in (spool.locate, spool.record, spool.verify):
        with pytest.raises(SpoolCorrupt, match=f"no item {bad.id}"):
            ask(bad.id)
    spool.remove([bad.id])
    assert counts(spool) == (0, 0, 0, 1)


@pytest.mark.parametrize("error", [errno.EMFILE, errno.EACCES, errno.EIO, errno.ENOMEM])
def test_an_item_that_cannot_be_read_for_now_stays_and_the_others_go_on(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    """The error says nothing about the content: logged once, tried again, and never in the way."""
    bad, good = store(spool), store(spool)
    with monkeypatch.context() as patch, structlog.testing.capture_logs() as lines:
        unreadable(patch, bad.id, error)
        assert spool.arrivals(1) == [good]
        assert list(spool.records()) == [good]
        with pytest.raises(SpoolError, match=f"{bad.id}.*{os.strerror(error)}") as raised:
            spool.verify(bad.id)
        assert raised.value.retryable
    assert [line["action"] for line in lines] == ["spool.unreadable"]
    assert counts(spool) == (2, 0, 0, 0)
    assert spool.arrivals(10) == [bad, good]


def test_a_data_set_that_cannot_be_read_for_now_is_not_called_corrupt(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is read where it lies, on a share that hiccups; one that is gone is gone."""
    file = tmp_path / "mine.dcm"
    file.write_bytes(DATA_SET)
    record = spool.add_reference(
        file,
        header=HEADER,
        transfer_syntax_uid=EXPLICIT,
        data_set_offset=0,
        data_set_bytes=len(DATA_SET),
        digest=hashlib.sha256(DATA_SET).hexdigest(),
        provenance=FROM_MODALITY,
    )
    with monkeypatch.context() as patch:
        unreadable(patch, file.stem, errno.EIO)
        with pytest.raises(SpoolError) as raised:
            spool.verify(record.id)
    assert not isinstance(raised.value, SpoolCorrupt)
    file.unlink()
    with pytest.raises(SpoolCorrupt, match=r"mine\.dcm: is gone"):
        spool.verify(record.id)


def test_a_corrupt_item_that_cannot_be_put_away_is_left_and_said_once(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hinders nobody."""
    bad, good = store(spool), store(spool)
    os.truncate(spool.locate(bad.id), 5000)

    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "rename", refuse)
    with structlog.testing.capture_logs() as lines:
        assert [spool.arrivals(10), spool.arrivals(10)] == [[good], [good]]
    assert [line["action"] for line in lines] == ["spool.unreadable"]
    assert counts(spool) == (2, 0, 0, 0)


@pytest.mark.parametrize("position", [132, 140, 160, 500, 700, 900])
def test_a_flipped_bit_in_the_head_is_found(spool: Spool, position: int) -> None:
    """By the CRC of the record, or because the meta cannot be read; or it does not matter to the record at all."""
    record = store(spool)
    path = spool.locate(record.id)
    data = bytearray(path.read_bytes())
    data[position] ^= 0x10
    path.write_bytes(data)
    found = spool.arrivals(10)
    assert found in ([], [record])
    if not found:
        assert counts(spool) == (0, 0, 0, 1)


def test_every_flipped_bit_in_the_record_is_found(spool: Spool) -> None:
    """Each byte of the JSON, one after another."""
    record = store(spool)
    path = spool.locate(record.id)
    original = path.read_bytes()
    start = original.index(b'{"v":')
    for position in range(start, original.index(b'"}', start) + 1):
        path.write_bytes(original[:position] + bytes([original[position] ^ 1]) + original[position + 1 :])
        with pytest.raises(SpoolCorrupt):
            spool.record(record.id)


def test_a_flipped_bit_in_the_data_set_is_found_by_verify(spool: Spool) -> None:
    """The digest is of the bytes as received."""
    record = store(spool)
    path = spool.locate(record.id)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(SpoolCorrupt, match="not the one that was received"):
        spool.verify(record.id)


def test_an_item_under_another_name_is_corrupt(spool: Spool) -> None:
    """A file copied by hand is not the item that its name says."""
    record = store(spool)
    path = spool.locate(record.id)
    path.rename(path.with_name("f" * 28 + ".dcm"))
    assert spool.arrivals(10) == []
    assert counts(spool) == (0, 0, 0, 1)


def test_a_foreign_file_is_put_away(spool: Spool) -> None:
    """A Part 10 file that is none of ours has no record."""
    (spool.root / "new" / ("0" * 28 + ".dcm")).write_bytes(bytes(128) + b"DICM" + DATA_SET)
    assert spool.arrivals(10) == []
    assert counts(spool) == (0, 0, 0, 1)


def test_a_reference_stands_for_a_file_that_stays_where_it_lies(spool: Spool, tmp_path: Path) -> None:
    """Located, settled, verified and removed like an item; the file itself is never touched."""
    file = tmp_path / "mine.dcm"
    file.write_bytes(b"head" + DATA_SET)
    record = spool.add_reference(
        file,
        header=replace(HEADER, study_instance_uid=""),
        transfer_syntax_uid=EXPLICIT,
        data_set_offset=4,
        data_set_bytes=len(DATA_SET),
        digest=hashlib.sha256(DATA_SET).hexdigest(),
        provenance=replace(FROM_MODALITY, job_id="j1"),
        send_to=("PACS@10.0.0.9:104",),
    )
    assert spool.arrivals(10) == [record]
    assert record.study_instance_uid == derived_uid("study", "1.2.3")
    spool.settle([record.id])
    assert spool.locate(record.id) == file
    spool.verify(record.id)
    file.write_bytes(b"head" + DATA_SET[:-1])
    with pytest.raises(SpoolCorrupt):
        spool.verify(record.id)
    spool.remove([record.id])
    assert file.exists()
    assert counts(spool) == (0, 0, 0, 0)


def test_recovery_sweeps_what_dead_writers_left_and_nothing_else(spool: Spool, tmp_path: Path) -> None:
    """A process that is gone has no lock; one that lives has, in whichever process."""
    waiting = store(spool)
    pid = os.fork()
    if pid == 0:
        try:
            begin(Spool(spool.root)).write([DATA_SET])
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    neighbour = Spool(spool.root)
    living = begin(neighbour)
    assert len(list((spool.root / "new").glob("*.part"))) == 2
    assert len(list((spool.root / "writers").iterdir())) == 3
    recovery = spool.recover()
    assert (recovery.swept, recovery.waiting) == (1, 1)
    assert len(list((spool.root / "writers").iterdir())) == 2
    living.write([DATA_SET])
    assert [record.id for record in spool.arrivals(10)] == [waiting.id]
    assert len([living.commit(HEADER), *spool.arrivals(10)]) == 3


def test_a_forked_child_is_a_writer_of_its_own(spool: Spool) -> None:
    """Two processes never give out the same id."""
    store(spool)
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(write_end, begin(spool).id.encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        assert pipe.read()[12:22] != begin(spool).id[12:22]


def test_under_the_low_water_mark_nothing_is_taken_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file system is asked four times a second; then the door opens by itself."""
    clock, free = [100.0], [999]
    monkeypatch.setattr(free_space.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(free_space.FreeSpace, "measure", lambda self: free[0])
    spool = Spool(tmp_path / "spool", min_free_bytes=1000)
    with pytest.raises(SpoolFull, match=r"999 bytes free.*gateway\.min_free_bytes"):
        begin(spool)
    free[0] = 1000
    with pytest.raises(SpoolFull):
        begin(spool)
    clock[0] += 0.25
    store(spool)
    assert counts(spool)[0] == 1


def test_a_large_data_set_stops_when_it_eats_the_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked again each 64 MiB, in the middle of an instance."""
    free = [10_000]
    monkeypatch.setattr(free_space.FreeSpace, "measure", lambda self: free[0])
    monkeypatch.setattr("dicomrelay.spool.writer._CHECK_SPACE_EVERY_BYTES", 1 << 16)
    spool = Spool(tmp_path / "spool", min_free_bytes=1000)
    writer = begin(spool)
    free[0] = 10
    for _ in range(6):
        writer.write([DATA_SET])
    with pytest.raises(SpoolFull):
        writer.write([DATA_SET])
    assert list((spool.root / "new").iterdir()) == []


def test_a_spool_that_cannot_be_made_says_where(tmp_path: Path) -> None:
    """The directory is named."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match="file"):
        Spool(tmp_path / "file" / "spool")
