"""What `status` says of the archive, and of services that are not ready."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from archive import Archive
from archive.removal import remove
from archive.values import Selection
from dicomrelay.cli.status_services import services_step, services_words
from dicomrelay.runtime import not_ready
from dicomrelay.runtime.home import HomeLock
from dicomrelay.runtime.not_ready import NotReady
from tests.support.integrity import STUDY, Home, whole_home


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with whole_home(tmp_path) as made:
        yield made


def _remove(home: Home, *uids: str, by: str) -> None:
    archive = Archive.open(home.settings.archive_path)
    remove(archive, Selection(sop_instance_uids=uids), reason="a test", by=by)
    archive.close()


def test_what_was_removed_is_said_and_not_counted(home: Home) -> None:
    """By retention alone, and by a person too; the conflict's first bytes are gone then, and the words say so."""
    assert f"{STUDY}  " in (said := home.status()[1])
    assert "7 archived, 0 frames" in said
    assert "both are kept, these in spool/aside: 1.2.3.5" in said
    for number in range(7):
        home.release(f"{STUDY}.{number}")
    _remove(home, f"{STUDY}.0", f"{STUDY}.1", by="retention")
    by_retention = home.status()[1]
    _remove(home, f"{STUDY}.5", by="somebody@here")
    _, said = home.status()
    found = json.loads(home.status("--json")[1])["archive"]

    assert "5 archived, 2 removed from the archive by retention\n" in by_retention
    assert "both are kept" in by_retention
    assert "4 archived, 3 removed from the archive\n" in said
    assert "were removed from the archive since; these are in spool/aside alone: 1.2.3.5" in said
    assert found["held"] == {STUDY: 4}
    assert found["removed"] == {STUDY: {"instances": 3, "by": ""}}


def test_a_damaged_archived_file_needs_attention(home: Home) -> None:
    """Exit code 4, and the command that shows it."""
    home.index(f"UPDATE archive_instances SET damage = 'digest' WHERE sop_instance_uid = '{STUDY}.2'")
    lock = HomeLock(home.settings)
    lock.take()
    home.settings.path("run", "ready").touch()
    code, said = home.status()
    lock.release()

    assert code == 4
    assert "1 damaged archived file: 1.2.3.2: `dicomrelay archive check --damaged`" in said
    assert said.splitlines()[-1].startswith("next: `dicomrelay archive check --damaged`")


def test_what_waits_for_the_archive_is_told_with_the_reason(home: Home) -> None:
    """The bucket does not answer: it is tried again by itself."""
    home.sql(
        "UPDATE stages SET state = 'pending', attempts = 3, reason = 's3://images: does not answer', "
        "due_at = CAST(strftime('%s', 'now') AS INTEGER) * 1000 + 3600000 WHERE stage = 'archive'"
    )
    _, said = home.status()

    assert "7 instances wait for the archive after 3 attempts, tried again in 3" in said
    assert "s: s3://images: does not answer" in said


def test_an_index_that_does_not_answer_is_said(home: Home) -> None:
    """The ledger's word counts then."""
    index = home.settings.archive_path / "index.sqlite"
    for path in index.parent.glob("index.sqlite*"):
        path.unlink()
    index.write_bytes(b"no database" * 500)
    _, said = home.status()

    assert "archive does not answer: " in said
    assert "7 archived, 0 frames" in said


def test_a_service_that_is_held_back_is_named(home: Home) -> None:
    """`up` runs: nobody is told to start it."""
    lock = HomeLock(home.settings)
    before = home.status()[1]
    lock.take()
    not_ready.show(home.settings.path("run"), [NotReady("worker-keep", 4e9), NotReady("streamer")])
    _, said = home.status()
    lock.release()

    assert "start `dicomrelay up`" in before
    assert "`dicomrelay up` runs; worker-keep ended and is started again in " in said
    assert "streamer is starting" in said
    assert "start `dicomrelay up`" not in said
    assert "worker-keep.log says why worker-keep ended" in said


def test_the_words_of_services() -> None:
    """Each state has its own, and what is broken says nothing."""
    held = [NotReady("worker-keep", 107.4)]
    assert services_words(is_up=True, not_ready=held, now_s=100) == (
        "`dicomrelay up` runs; worker-keep ended and is started again in 7 s"
    )
    assert services_words(is_up=True, not_ready=held, now_s=200).endswith("again now")
    assert "starting or stopping" in services_words(is_up=True, not_ready=())
    assert services_step(Path("/h"), is_up=True, not_ready=[NotReady("one")]).startswith("next: wait")


@pytest.mark.parametrize("content", ["", "[1]", '[{"name": "a", "more": 1}]', "{}"])
def test_a_file_of_services_that_is_broken_says_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / not_ready.FILE).write_text(content)
    assert not_ready.shown(tmp_path) == ()
