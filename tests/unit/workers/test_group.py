"""Grouping: what arrives comes into the ledger once, and its spool item to its place."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from dicomrelay.errors import ServiceUnavailable, SpoolCorrupt, SpoolError
from dicomrelay.ledger import Ledger
from dicomrelay.ledger.migrate import migrate
from dicomrelay.ledger.values import Arrival, AttentionKind, Registered, Verdict
from dicomrelay.runtime import home
from tests.support.rooms import rooms_at, spooled, transfers_of
from tests.support.spool import count_listings, unreadable
from workers import copies, group
from workers.group import group_arrivals
from workers.keep import archive_batch, release_batch
from workers.reconcile import reconcile
from workers.rooms import Rooms

_TOML = '[[destinations]]\nname = "pacs"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 104\n'


@pytest.fixture
def rooms(tmp_path: Path) -> Iterator[Rooms]:
    """Rooms with one destination."""
    with rooms_at(tmp_path / "home", _TOML) as (made, _):
        yield made


@pytest.fixture
def archive_only(tmp_path: Path) -> Iterator[Rooms]:
    """Rooms with no destination: what is archived may go from the spool."""
    with rooms_at(tmp_path / "archive-only") as (made, _):
        yield made


def test_new_instances_are_kept_and_routed(rooms: Rooms) -> None:
    """Without rules to every destination."""
    spooled(rooms, "1.2.3.4")
    spooled(rooms, "1.2.3.5")
    done = group_arrivals(rooms)

    assert done.verdicts == {Verdict.NEW: 2}
    assert (rooms.spool.usage().new, rooms.spool.usage().kept) == (0, 2)
    assert len(transfers_of(rooms)) == 1


def test_the_same_bytes_again_are_one_copy(rooms: Rooms) -> None:
    """Invariant 9, first half."""
    for _ in range(3):
        spooled(rooms, "1.2.3.4")
    group_arrivals(rooms)

    assert rooms.spool.usage().kept == 1
    assert not rooms.ledger.needs_attention()


def test_other_bytes_under_the_same_uid_are_set_aside_and_listed(rooms: Rooms) -> None:
    """Invariant 9, second half: both are kept."""
    spooled(rooms, "1.2.3.4")
    other = spooled(rooms, "1.2.3.4", more=b"\x20\x00\x10\x00SH\x02\x001 ")
    group_arrivals(rooms)

    assert (rooms.spool.usage().kept, rooms.spool.usage().aside) == (1, 1)
    (row,) = rooms.ledger.needs_attention()
    assert (row.kind, row.spool_id) == (AttentionKind.CONFLICT, other.id)
    assert rooms.spool.locate(other.id).exists()


class _LedgerIsAway(Ledger):
    """Answers everything but the registration."""

    def register(self, arrivals: Sequence[Arrival]) -> list[Registered]:
        raise ServiceUnavailable("the database does not answer (test)")


def test_nothing_leaves_new_before_the_ledger_has_it(rooms: Rooms) -> None:
    """Not the instance, not its copy, not the other bytes: the next run finds all of them and loses none."""
    arrived = [
        spooled(rooms, "1.2.3.4"),
        spooled(rooms, "1.2.3.4"),
        spooled(rooms, "1.2.3.4", more=b"\x20\x00\x10\x00SH\x02\x001 "),
    ]
    with pytest.raises(ServiceUnavailable):
        group_arrivals(replace(rooms, ledger=_LedgerIsAway(rooms.ledger._database)))

    assert rooms.spool.arrivals(10) == arrived
    assert (rooms.spool.usage().kept, rooms.spool.usage().aside) == (0, 0)
    assert group_arrivals(rooms).verdicts == {Verdict.NEW: 1, Verdict.DUPLICATE: 1, Verdict.CONFLICT: 1}
    assert (rooms.spool.usage().new, rooms.spool.usage().kept, rooms.spool.usage().aside) == (0, 1, 1)


def test_a_copy_takes_the_place_of_bytes_that_were_lost(rooms: Rooms) -> None:
    """The modality sends again what a broken disk ate: that copy is the only one."""
    lost = spooled(rooms, "1.2.3.4")
    group_arrivals(rooms)
    rooms.spool.remove([lost.id])
    copy = spooled(rooms, "1.2.3.4")
    group_arrivals(rooms)

    assert rooms.spool.locate(copy.id).exists()
    assert archive_batch(rooms) == 1
    assert rooms.archive.locate("1.2.3", "1.2.3.1", "1.2.3.4").exists()


def _cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def test_a_copy_takes_the_place_of_a_kept_item_that_was_damaged_and_put_away(rooms: Rooms) -> None:
    """What lies in `corrupt/` is not the instance: the good bytes that come again are kept, and become the file."""
    damaged = spooled(rooms, "1.2.3.4")
    group_arrivals(rooms)
    _cut_short(rooms.spool.locate(damaged.id))
    reconcile(rooms, stop=threading.Event())
    assert (rooms.spool.usage().kept, rooms.spool.usage().corrupt) == (0, 1)

    copy = spooled(rooms, "1.2.3.4")
    group_arrivals(rooms)

    assert (rooms.spool.usage().kept, rooms.spool.usage().corrupt) == (1, 1)
    assert rooms.spool.verify(copy.id) == copy
    assert archive_batch(rooms) == 1
    assert rooms.archive.locate("1.2.3", "1.2.3.1", "1.2.3.4").exists()


def test_a_copy_takes_the_place_of_a_kept_item_whose_damage_nobody_saw_yet(rooms: Rooms) -> None:
    """A file of another size than its record's is as good as lost."""
    damaged = spooled(rooms, "1.2.3.4")
    group_arrivals(rooms)
    _cut_short(rooms.spool.locate(damaged.id))
    copy = spooled(rooms, "1.2.3.4")
    group_arrivals(rooms)

    assert rooms.spool.verify(copy.id) == copy
    assert archive_batch(rooms) == 1
    assert rooms.archive.locate("1.2.3", "1.2.3.1", "1.2.3.4").exists()


def _flip(path: Path) -> None:
    """The last bit: the record is whole, the size is right."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_a_copy_takes_the_place_of_a_kept_item_with_a_bit_flipped(rooms: Rooms) -> None:
    """What decayed is put away, the bytes that came again become the file; one more copy is one too many."""
    decayed = spooled(rooms, "1.2.3.4")
    group_arrivals(rooms)
    _flip(rooms.spool.locate(decayed.id))
    copy, another = spooled(rooms, "1.2.3.4"), spooled(rooms, "1.2.3.4")

    assert group_arrivals(rooms).verdicts == {Verdict.DUPLICATE: 2}

    assert rooms.spool.verify(copy.id) == copy
    for gone in (decayed, another):
        with pytest.raises(SpoolCorrupt):
            rooms.spool.locate(gone.id)
    usage = rooms.spool.usage()
    assert (usage.new, usage.kept, usage.corrupt) == (0, 1, 1)
    assert archive_batch(rooms) == 1
    assert rooms.archive.locate("1.2.3", "1.2.3.1", "1.2.3.4").exists()


def test_a_copy_that_is_no_better_takes_nothing_s_place_and_is_put_away(rooms: Rooms) -> None:
    """Nothing of the two is removed."""
    decayed = spooled(rooms, "1.2.3.4")
    group_arrivals(rooms)
    _flip(rooms.spool.locate(decayed.id))
    _flip(rooms.spool.locate(spooled(rooms, "1.2.3.4").id))
    group_arrivals(rooms)

    usage = rooms.spool.usage()
    assert (usage.new, usage.kept, usage.corrupt) == (0, 1, 1)
    good = spooled(rooms, "1.2.3.4")
    group_arrivals(rooms)
    assert rooms.spool.verify(good.id) == good
    assert rooms.spool.usage().corrupt == 2


def test_so_many_bytes_are_read_again_for_one_batch_and_other_copies_wait(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New instances of the same batch do not; one item is read however large it is."""
    monkeypatch.setattr(copies, "_VERIFY_BYTES", 1)
    for number in range(3):
        spooled(rooms, f"1.2.3.{number}")
    group_arrivals(rooms)
    for number in range(4):
        spooled(rooms, f"1.2.3.{number}")

    left = []
    for _ in range(3):
        group_arrivals(rooms)
        left.append((rooms.spool.usage().new, rooms.spool.usage().kept))
    assert left == [(2, 4), (1, 4), (0, 4)]


def test_a_copy_stays_while_nobody_can_say_whether_the_kept_item_is_good(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too many open files is no verdict on a file: neither is removed, and the next run decides."""
    kept = spooled(rooms, "1.2.3.4")
    group_arrivals(rooms)
    copy = spooled(rooms, "1.2.3.4")
    with monkeypatch.context() as patch:
        unreadable(patch, kept.id)
        with pytest.raises(SpoolError, match="Too many open files") as raised:
            group_arrivals(rooms)
    assert raised.value.retryable
    assert (rooms.spool.usage().new, rooms.spool.usage().kept) == (1, 1)

    group_arrivals(rooms)
    assert rooms.spool.verify(kept.id) == kept
    with pytest.raises(SpoolCorrupt):
        rooms.spool.locate(copy.id)


def test_a_run_stops_at_its_bound_and_says_that_there_is_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And lists the directory once for all its batches; the next run ends it."""
    monkeypatch.setattr(group, "_BATCHES", 2)
    with rooms_at(tmp_path / "small", "[worker]\nbatch_instances = 2\n") as (rooms, _):
        for number in range(5):
            spooled(rooms, f"1.2.3.{number}")
        listings = count_listings(monkeypatch)

        first = group_arrivals(rooms)
        assert (first.verdicts.total(), first.more) == (4, True)
        assert listings == ["new"]
        second = group_arrivals(rooms)
        assert (second.verdicts.total(), second.more) == (1, False)


def test_a_copy_of_what_is_archived_and_released_goes(archive_only: Rooms) -> None:
    """The archive has it."""
    rooms = archive_only
    spooled(rooms, "1.2.3.4", send_to=())
    group_arrivals(rooms)
    archive_batch(rooms)
    release_batch(rooms)
    spooled(rooms, "1.2.3.4")
    group_arrivals(rooms)

    assert (rooms.spool.usage().new, rooms.spool.usage().kept) == (0, 0)


def test_one_runner_at_a_time(rooms: Rooms) -> None:
    """The second finds the lock and stops; the work is done once."""
    for number in range(50):
        spooled(rooms, f"1.2.3.{number}")
    done: list[int] = []

    def run() -> None:
        done.append(sum(group_arrivals(rooms).verdicts.values()))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(done) == 50


def test_a_ledger_that_was_deleted_is_rebuilt_from_the_spool(rooms: Rooms, tmp_path: Path) -> None:
    """Invariant: losing the database costs a re-scan and perhaps a duplicate send, never an image."""
    spooled(rooms, "1.2.3.4")
    spooled(rooms, "1.2.3.5")
    spooled(rooms, "1.2.3.5", more=b"\x20\x00\x10\x00SH\x02\x001 ")
    group_arrivals(rooms)
    rooms.ledger.dispose()
    shutil.rmtree(rooms.settings.path("db"))
    home.prepare(rooms.settings)
    url = home.ledger_url(rooms.settings)
    migrate(url)
    again = Rooms(rooms.settings, Ledger.open(url), rooms.spool, rooms.archive, rooms.wake_ups, rooms.host)

    assert reconcile(again, stop=threading.Event()) == 3
    (study,) = again.ledger.studies()
    assert (study.instances, study.set_aside) == (2, 1)
    assert (
        reconcile(again, stop=threading.Event()) == 1
    )  # the one set aside is said again, and nothing changes
    assert len(transfers_of(again)) == 1
    again.ledger.dispose()


def test_a_lost_ledger_does_not_make_the_second_the_first(archive_only: Rooms) -> None:
    """What was set aside stays aside, though the first is in the archive only and the ledger has forgotten both."""
    rooms = archive_only
    spooled(rooms, "1.2.3.4")
    group_arrivals(rooms)
    archive_batch(rooms)
    release_batch(rooms)
    aside = spooled(rooms, "1.2.3.4", more=b"\x20\x00\x10\x00SH\x02\x001 ")
    group_arrivals(rooms)
    rooms.ledger.dispose()
    shutil.rmtree(rooms.settings.path("db"))
    home.prepare(rooms.settings)
    url = home.ledger_url(rooms.settings)
    migrate(url)
    again = Rooms(rooms.settings, Ledger.open(url), rooms.spool, rooms.archive, rooms.wake_ups, rooms.host)
    reconcile(again, stop=threading.Event())

    (row,) = again.ledger.needs_attention()
    assert (row.kind, row.spool_id) == (AttentionKind.CONFLICT, aside.id)

    spooled(rooms, "1.2.3.4", more=b"\x20\x00\x10\x00SH\x02\x002 ")
    assert group_arrivals(again).verdicts == {Verdict.CONFLICT: 1}
    assert not transfers_of(again)
    again.ledger.dispose()


def test_what_a_crash_left_behind_after_release_is_removed(archive_only: Rooms) -> None:
    """Between the ledger's mark and the removal."""
    rooms = archive_only
    record = spooled(rooms, "1.2.3.4")
    group_arrivals(rooms)
    archive_batch(rooms)
    rooms.ledger.mark_released([record.id])
    reconcile(rooms, stop=threading.Event())

    assert rooms.spool.usage().kept == 0


def test_a_job_names_its_own_destinations(rooms: Rooms) -> None:
    """An address is kept with the job, so that any worker finds it."""
    rooms.ledger.create_job("job-1", kind="send", expected=1)
    spooled(rooms, "1.2.3.4", job_id="job-1", send_to=("OTHER@127.0.0.1:11113",))
    group_arrivals(rooms)
    progress = rooms.ledger.job_progress("job-1")

    assert [row.destination for row in progress.destinations] == ["OTHER@127.0.0.1:11113"]
    address = rooms.ledger.destination("OTHER@127.0.0.1:11113")
    assert address is not None
    assert (address.ae_title, address.port) == ("OTHER", 11113)
