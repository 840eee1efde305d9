"""The home: its folders, its lock, the socket of its broker."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

import pytest

from dicomrelay.errors import ConfigurationError, ServiceError
from dicomrelay.runtime import home
from dicomrelay.settings import Settings, load


def _settings(path: Path) -> Settings:
    return load(home=path)


def test_the_folders_are_for_our_user_only(tmp_path: Path) -> None:
    """They hold images of patients."""
    settings = _settings(tmp_path / "home")
    home.prepare(settings)

    for name in home.FOLDERS:
        assert stat.S_IMODE(settings.path(name).stat().st_mode) == 0o700


def test_a_new_home_is_for_our_user_only_and_an_old_one_keeps_its_mode(tmp_path: Path) -> None:
    """What stands in the home itself, relay.toml with its passwords, is nobody else's business either."""
    home.prepare(_settings(tmp_path / "deep" / "home"))
    assert stat.S_IMODE((tmp_path / "deep" / "home").stat().st_mode) == 0o700

    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o755)
    home.prepare(_settings(shared))
    assert stat.S_IMODE(shared.stat().st_mode) == 0o755
    assert {stat.S_IMODE((shared / name).stat().st_mode) for name in home.FOLDERS} == {0o700}


def test_the_name_of_the_spool_is_made_once_and_flushed_before_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """File first, then its folder; a machine that is renamed changes nothing."""
    settings = _settings(tmp_path)
    home.prepare(settings)
    flushed: list[str] = []

    def note(fd: int) -> None:
        (file,) = settings.path("spool").iterdir()
        flushed.append("folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else file.read_text("ascii"))

    monkeypatch.setattr(home.os, "fsync", note)
    monkeypatch.setattr(home.socket, "gethostname", lambda: "caf\u00e9 1")
    name = home.spool_name(settings)

    assert name.startswith("caf??1-")
    assert flushed == [f"{name}\n", "folder"]
    monkeypatch.setattr(home.socket, "gethostname", lambda: "renamed")
    assert home.spool_name(settings) == name
    assert [each.name for each in settings.path("spool").iterdir()] == ["identity"]


@pytest.mark.parametrize(
    ("content", "word"), [(b"", "empty"), (b" \n", "empty"), (b"\0" * 20, "damaged"), (b"\xff-1", "damaged")]
)
def test_an_identity_that_is_no_name_is_said_in_words_and_left_alone(
    tmp_path: Path, content: bytes, word: str
) -> None:
    """A new name would orphan everything that is registered under the old one."""
    settings = _settings(tmp_path)
    home.prepare(settings)
    path = settings.path("spool", "identity")
    path.write_bytes(content)

    with pytest.raises(ConfigurationError, match=f"identity.*it is {word}.*column `host`"):
        home.spool_name(settings)

    assert path.read_bytes() == content


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """With what to do."""
    (tmp_path / "file").touch()

    with pytest.raises(ConfigurationError, match=r"file.*--home"):
        home.prepare(_settings(tmp_path / "file"))


def test_a_second_up_finds_the_first_ones_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two supervisors of one spool would fight over ports and sockets."""
    monkeypatch.setattr(home.time, "sleep", lambda _: None)
    settings = _settings(tmp_path)
    home.prepare(settings)
    first, second = home.HomeLock(settings), home.HomeLock(settings)
    first.take()

    with pytest.raises(ServiceError, match=f"already runs here \\(process {os.getpid()}\\)"):
        second.take()

    first.release()
    second.take()
    second.release()


def test_asking_for_the_lock_writes_nothing_and_takes_nothing(tmp_path: Path) -> None:
    """`dicomrelay status` may look while `up` runs, or before it ever ran."""
    settings = _settings(tmp_path)
    home.prepare(settings)
    lock, asking = home.HomeLock(settings), home.HomeLock(settings)
    path = settings.path("run", "up.lock")

    assert not asking.is_held()
    assert not path.exists()
    lock.take()
    path.write_text("4711")
    assert asking.is_held()
    lock.release()
    assert not asking.is_held()
    assert path.read_text() == "4711"


def test_an_up_that_starts_while_somebody_asks_is_not_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asking holds the lock, shared, for a moment: it is tried again, and others may ask meanwhile."""
    settings = _settings(tmp_path)
    home.prepare(settings)
    fd = os.open(settings.path("run", "up.lock"), os.O_RDONLY | os.O_CREAT, 0o600)
    fcntl.flock(fd, fcntl.LOCK_SH)
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            fcntl.flock(fd, fcntl.LOCK_UN)

    monkeypatch.setattr(home.time, "sleep", sleep)
    lock = home.HomeLock(settings)

    assert not lock.is_held()
    lock.take()
    assert sum(waited) == pytest.approx(0.3)
    assert settings.path("run", "up.lock").read_text() == str(os.getpid())
    lock.release()
    os.close(fd)


def test_the_brokers_socket_fits_in_its_address_however_deep_the_home(tmp_path: Path) -> None:
    """sockaddr_un holds 108 bytes."""
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    path = home.broker_socket(_settings(deep))

    assert len(os.fsencode(path)) < 108
    assert path != home.broker_socket(_settings(deep / "other"))
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert home.broker_socket(_settings(Path("/x"))) == Path("/x/run/broker.sock")
