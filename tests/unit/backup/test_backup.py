"""A backup made beside a writer, and restored: whole, or not at all."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from archive.index import schema as index_schema
from dicomrelay.backup import Made, Part, make, opened, restore_databases, restore_settings
from dicomrelay.backup.making import INDEX_VERSION, LEDGER_VERSION, digest_of
from dicomrelay.backup.values import MANIFEST
from dicomrelay.errors import BackupDamaged, ConfigurationError, ServiceError
from dicomrelay.ledger.migrate import VERSION_TABLE, newest_revision
from dicomrelay.runtime import home
from dicomrelay.settings import Settings, load
from tests.support.rooms import Rooms, rooms_at, spooled
from workers.group import group_arrivals
from workers.integrity.check import Scope, check
from workers.integrity.findings import Severity
from workers.integrity.repair import repair
from workers.integrity.tools import Choices
from workers.keep import archive_batch

PACS = '[[destinations]]\nname = "pacs"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 11999\n'


def received(rooms: Rooms, *uids: str) -> None:
    """Instances that are in spool, ledger and archive, and wait for their destination."""
    for uid in uids:
        spooled(rooms, uid)
    group_arrivals(rooms)
    archive_batch(rooms)


@contextmanager
def a_backup(tmp_path: Path, toml: str = PACS, *, secrets: bool = False) -> Iterator[tuple[Rooms, Made]]:
    with rooms_at(tmp_path / "home", toml) as (rooms, _):
        received(rooms, "1.2.3.1", "1.2.3.2")
        yield (
            rooms,
            make(
                rooms.settings,
                tmp_path / "backup",
                config=rooms.settings.home / "relay.toml",
                environment={},
                with_secrets=secrets,
            ),
        )


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A home that nobody has open, and a backup of it: made once, copied by who changes it."""
    folder = tmp_path_factory.mktemp("once")
    with a_backup(folder) as (_, made):
        pass
    return folder / "home", made.folder


@pytest.fixture
def backup(once: tuple[Path, Path], tmp_path: Path) -> Path:
    """A backup that may be changed."""
    return Path(shutil.copytree(once[1], tmp_path / "backup"))


@pytest.fixture
def settings(once: tuple[Path, Path], tmp_path: Path) -> Settings:
    """The home that it is of, that may be changed."""
    shutil.copytree(once[0], tmp_path / "home")
    return load(home=tmp_path / "home")


def restored(settings: Settings, folder: Path, *replace: Part) -> list[Part]:
    done = opened(folder)
    restore_settings(settings.home, folder, done, replace=replace)
    restore_databases(settings, folder, done, replace=replace)
    return done.restored


def count(database: Path, table: str) -> int:
    with closing(sqlite3.connect(database)) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_a_backup_beside_open_databases_is_whole_and_says_what_it_holds(tmp_path: Path) -> None:
    """Ledger, index and settings, with their rows, for our user only; a write under way is not in it, and not kept waiting."""
    with a_backup(tmp_path) as (rooms, made):
        manifest = opened(made.folder).manifest

        assert (LEDGER_VERSION, INDEX_VERSION) == (VERSION_TABLE, index_schema.VERSION_TABLE)
        assert manifest == made.manifest
        assert manifest.ledger.revision == newest_revision()
        assert manifest.ledger.rows["instances"] == 2
        assert manifest.index is not None
        assert manifest.index.rows["archive_instances"] == 2
        assert manifest.spool == home.spool_name(rooms.settings)
        assert {entry.place for entry in manifest.files} >= {"relay.toml"}
        assert all(path.stat().st_mode & 0o077 == 0 for path in [made.folder, *made.folder.rglob("*")])
        assert not list(tmp_path.glob("*.partial"))


def test_what_came_after_the_backup_is_taken_in_by_repair_and_nothing_is_lost(tmp_path: Path) -> None:
    """The ledger is lost after more has come: restored and repaired it knows everything, and check finds no fault."""
    with a_backup(tmp_path) as (rooms, made):
        received(rooms, "1.2.3.3")
        settings = rooms.settings
    ledger = settings.path("db", "ledger.sqlite")
    ledger.unlink()

    assert restored(settings, made.folder) == [Part.LEDGER]
    list(repair(settings, Choices()))

    assert count(ledger, "instances") == 3
    assert count(ledger, "deliveries") == 3
    assert not [each for each in check(settings, Scope()) if each.severity is Severity.FAULT]


def test_a_home_is_made_anew_with_settings_identity_and_ledger(
    once: tuple[Path, Path], tmp_path: Path
) -> None:
    """On another disk, without spool and archive: what cannot be restored is said."""
    before, folder = once
    done, fresh = opened(folder), tmp_path / "fresh"

    restore_settings(fresh, folder, done)
    settings = load(home=fresh)
    restore_databases(settings, folder, done)

    assert done.restored == [Part.SETTINGS, Part.LEDGER]
    assert [destination.name for destination in settings.destinations] == ["pacs"]
    assert home.known_spool_name(settings) == home.known_spool_name(load(home=before))
    assert count(settings.path("db", "ledger.sqlite"), "instances") == 2
    assert any("is no archive" in words for words in done.missing)


def test_what_is_there_stays_or_is_put_aside(backup: Path, settings: Settings) -> None:
    """Without --replace nothing is touched; with it the old file is whole in a folder of its own."""
    ledger = settings.path("db", "ledger.sqlite")
    with closing(sqlite3.connect(ledger)) as connection:
        connection.execute("INSERT INTO series VALUES ('1.2.3', '1.2.3.9', 'CT')")
        connection.commit()
    assert restored(settings, backup) == []
    assert count(ledger, "series") == 2

    assert restored(settings, backup, Part.LEDGER) == [Part.LEDGER]

    assert count(ledger, "series") == 1
    (aside,) = settings.path("db").glob("replaced-*/ledger.sqlite")
    assert count(aside, "series") == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_what_root_puts_back_in_the_home_of_another_user_is_that_users(
    backup: Path, settings: Settings
) -> None:
    """The services could else not open the ledger that was restored for them."""
    for path in (settings.home, *settings.home.rglob("*")):
        os.chown(path, 65_534, 65_534)
    (settings.home / "relay.toml").unlink()

    assert set(restored(settings, backup, Part.LEDGER)) == {Part.LEDGER, Part.SETTINGS}

    for path in (settings.path("db", "ledger.sqlite"), settings.home / "relay.toml"):
        assert path.stat().st_uid == 65_534


def test_nothing_is_restored_under_a_process_that_has_it_open(backup: Path, settings: Settings) -> None:
    """A connection that does nothing is enough."""
    with closing(sqlite3.connect(settings.path("db", "ledger.sqlite"))) as connection:
        connection.execute("SELECT count(*) FROM instances").fetchone()
        with pytest.raises(ServiceError, match="has it open: stop everything"):
            restored(settings, backup, Part.LEDGER)


def test_nothing_is_restored_while_up_runs(backup: Path, settings: Settings) -> None:
    """It holds the home's lock."""
    lock = home.HomeLock(settings)
    lock.take()
    try:
        with pytest.raises(ServiceError, match="`dicomrelay up` runs here"):
            restored(settings, backup, Part.LEDGER)
    finally:
        lock.release()


@pytest.mark.parametrize("name", ["ledger.sqlite", "index.sqlite", "settings/relay.toml"])
@pytest.mark.parametrize("how", ["flipped", "cut", "gone", "linked"])
def test_a_damaged_backup_is_refused_before_anything_is_changed(
    backup: Path, tmp_path: Path, name: str, how: str
) -> None:
    """One bit is enough, and a link is no file."""
    path = backup / name
    content = path.read_bytes()
    path.unlink()
    if how == "flipped":
        path.write_bytes(content[:99] + bytes([content[99] ^ 1]) + content[100:])
    elif how == "cut":
        path.write_bytes(content[:-1])
    elif how == "linked":
        (tmp_path / "elsewhere").write_bytes(content)
        path.symlink_to(tmp_path / "elsewhere")
    fresh = tmp_path / "fresh"

    with pytest.raises(BackupDamaged, match=path.name):
        restored(load(home=fresh), backup)
    assert not fresh.exists()


def test_a_file_of_other_rows_with_its_own_digest_is_refused(backup: Path) -> None:
    """Whoever changes the database and its digest has the rows wrong."""
    with closing(sqlite3.connect(backup / "ledger.sqlite")) as connection:
        connection.execute("DELETE FROM events")
        connection.commit()
    size, digest = digest_of(backup / "ledger.sqlite")
    facts = json.loads((backup / MANIFEST).read_text())
    for entry in facts["files"]:
        if entry["name"] == "ledger.sqlite":
            entry |= {"bytes": size, "sha256": digest}
    (backup / MANIFEST).write_text(json.dumps(facts))

    with pytest.raises(BackupDamaged, match="not those of the manifest"):
        opened(backup)


@pytest.mark.parametrize(
    "place", ["../outside", "spool/new/x.dcm", "db/ledger.sqlite", "certs/../../outside", "."]
)
def test_a_manifest_cannot_put_a_file_where_no_settings_are(backup: Path, tmp_path: Path, place: str) -> None:
    """A backup from somebody else writes into no folder of the relay's, and none outside the home."""
    facts = json.loads((backup / MANIFEST).read_text())
    next(entry for entry in facts["files"] if entry["part"] == "settings")["place"] = place
    (backup / MANIFEST).write_text(json.dumps(facts))
    fresh = tmp_path / "fresh"

    with pytest.raises(BackupDamaged, match="is no place of a settings file"):
        restore_settings(fresh, backup, opened(backup))
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", ""])
def test_a_manifest_cannot_name_a_file_outside_the_backup(backup: Path, name: str) -> None:
    """What would be read is below the folder."""
    facts = json.loads((backup / MANIFEST).read_text())
    facts["files"][0]["name"] = name
    (backup / MANIFEST).write_text(json.dumps(facts))

    with pytest.raises(BackupDamaged, match="leaves the folder"):
        opened(backup)


def test_a_newer_backup_is_refused(backup: Path) -> None:
    """By its format, and by the revision of its ledger."""
    path = backup / MANIFEST
    facts = json.loads(path.read_text())
    path.write_text(json.dumps(facts | {"format": 2}))
    with pytest.raises(BackupDamaged, match="of format 2"):
        opened(backup)
    with closing(sqlite3.connect(backup / "ledger.sqlite")) as connection:
        connection.execute("UPDATE ledger_version SET version_num = '9999'")
        connection.commit()
    size, digest = digest_of(backup / "ledger.sqlite")
    facts["ledger"]["revision"] = "9999"
    facts["files"][0] |= {"bytes": size, "sha256": digest}
    path.write_text(json.dumps(facts))
    with pytest.raises(BackupDamaged, match="of revision 9999"):
        opened(backup)


def test_an_index_of_a_newer_version_and_a_database_that_is_no_ledger_are_refused(backup: Path) -> None:
    """Else the good index would be put aside for one that this version does not open."""
    manifest = json.loads((backup / MANIFEST).read_text())

    opened(backup, newest_index=manifest["index"]["revision"])
    with pytest.raises(BackupDamaged, match="its index is of revision"):
        opened(backup, newest_index="0000")
    changed_database(backup, "ledger.sqlite", f"DELETE FROM {VERSION_TABLE}", revision=None)
    with pytest.raises(BackupDamaged, match="is no ledger of dicomrelay"):
        opened(backup)


def changed_database(backup: Path, name: str, statement: str, *, revision: str | None) -> None:
    """As by somebody who changes the manifest too."""
    with closing(sqlite3.connect(backup / name)) as connection:
        connection.execute(statement)
        connection.commit()
    manifest = json.loads((backup / MANIFEST).read_text())
    part = manifest[name.partition(".")[0]]
    part["revision"], part["rows"][VERSION_TABLE] = revision, 0
    for entry in manifest["files"]:
        if entry["name"] == name:
            entry["bytes"], entry["sha256"] = digest_of(backup / name)
    (backup / MANIFEST).write_text(json.dumps(manifest))


def test_files_of_one_name_are_put_aside_beside_each_other(backup: Path, tmp_path: Path) -> None:
    """Two certificates that are both called ca.pem, and two restores within a second: nothing is lost."""
    manifest, there = json.loads((backup / MANIFEST).read_text()), tmp_path / "home"
    for each in ("one", "two"):
        name = f"settings/{each}-ca.pem"
        (backup / name).write_text(f"of the backup {each}")
        size, digest = digest_of(backup / name)
        entry = {"name": name, "part": "settings", "place": f"{each}/ca.pem", "bytes": size, "sha256": digest}
        manifest["files"].append(entry)
        (there / each).mkdir(parents=True)
    (backup / MANIFEST).write_text(json.dumps(manifest))
    for text in ("first", "second"):
        for each in ("one", "two"):
            (there / each / "ca.pem").write_text(f"{text} of {each}")
        restore_settings(there, backup, opened(backup), replace=[Part.SETTINGS])

    aside = sorted(path.read_text() for path in there.glob("replaced-*/**/ca.pem"))
    assert aside == ["first of one", "first of two", "second of one", "second of two"]
    assert (there / "two" / "ca.pem").read_text() == "of the backup two"


def test_settings_outside_of_the_home_are_not_shadowed(backup: Path, tmp_path: Path) -> None:
    """`./relay.toml` or --config: a relay.toml in the home would be read in their place from then on."""
    config, home_path = tmp_path / "etc" / "relay.toml", tmp_path / "fresh"
    config.parent.mkdir()
    config.write_text("# newer\n")
    done = opened(backup)

    restore_settings(home_path, backup, done, config=config)

    assert not (home_path / "relay.toml").exists()
    assert done.elsewhere == [(home_path / "restored" / "relay.toml", str(config))]
    config.write_bytes((backup / "settings" / "relay.toml").read_bytes())
    again = opened(backup)
    restore_settings(tmp_path / "other", backup, again, config=config)
    assert (again.restored, again.kept, again.elsewhere) == ([], [], [])


def test_a_folder_that_is_no_backup_or_was_not_finished_is_named(tmp_path: Path) -> None:
    """With what to do."""
    with pytest.raises(ConfigurationError, match="name a folder that `dicomrelay backup` made"):
        opened(tmp_path)
    partial = tmp_path / "x.partial"
    partial.mkdir()
    with pytest.raises(ConfigurationError, match="was not finished"):
        opened(partial)


def test_a_backup_that_fails_leaves_nothing(settings: Settings, tmp_path: Path) -> None:
    """No folder that looks like one."""
    settings.path("db", "ledger.sqlite").unlink()

    with pytest.raises(ConfigurationError, match="there is no ledger"):
        make(settings, tmp_path / "second", config=None, environment={}, with_secrets=False)
    assert not list(tmp_path.glob("second*"))


def test_secrets_are_in_a_backup_only_when_asked_for(tmp_path: Path) -> None:
    """Neither in the settings nor as a file, and the manifest says what is missing; with --secrets a home is whole again."""
    key = tmp_path / "key"
    key.write_text("the-edits-key-of-more-than-32-bytes-1234")
    toml = '[monitor]\nuser = "a"\npassword = "hunter2-x"\n[[edits]]\nname = "e"\n'
    toml += f'deidentify = {{ profile = "basic", key_file = "{key}" }}\n'
    with a_backup(tmp_path, toml) as (rooms, made):
        safe = make(
            rooms.settings,
            tmp_path / "safe",
            config=rooms.settings.home / "relay.toml",
            environment={"DICOMRELAY_MONITOR__PASSWORD": "hunter2-x"},
            with_secrets=True,
        )

    everything = b"".join(path.read_bytes() for path in made.folder.rglob("*") if path.is_file())
    assert b"hunter2-x" not in everything
    assert b"the-edits-key" not in everything
    assert {words.partition(":")[0] for words in made.manifest.left_out} == {
        "monitor.password",
        "edits.0.deidentify.key_file",
    }
    assert not safe.manifest.left_out
    done = opened(safe.folder)
    restore_settings(tmp_path / "fresh", safe.folder, done)
    monitor = load(home=tmp_path / "fresh").monitor
    assert monitor.password is not None
    assert monitor.password.get_secret_value() == "hunter2-x"
    assert {where for _, where in done.elsewhere} == {str(key), "the environment of the services"}
