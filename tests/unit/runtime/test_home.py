"""The home: its folders, its lock, the socket of its broker."""

from __future__ import annotations

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


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """With what to do."""
    (tmp_path / "file").touch()

    with pytest.raises(ConfigurationError, match=r"file.*--home"):
        home.prepare(_settings(tmp_path / "file"))


def test_a_second_up_finds_the_first_ones_lock(tmp_path: Path) -> None:
    """Two supervisors of one spool would fight over ports and sockets."""
    settings = _settings(tmp_path)
    home.prepare(settings)
    first, second = home.HomeLock(settings), home.HomeLock(settings)
    first.take()

    with pytest.raises(ServiceError, match=f"already runs here \\(process {os.getpid()}\\)"):
        second.take()

    first.release()
    second.take()
    second.release()


def test_the_brokers_socket_fits_in_its_address_however_deep_the_home(tmp_path: Path) -> None:
    """sockaddr_un holds 108 bytes."""
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    path = home.broker_socket(_settings(deep))

    assert len(os.fsencode(path)) < 108
    assert path != home.broker_socket(_settings(deep / "other"))
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert home.broker_socket(_settings(Path("/x"))) == Path("/x/run/broker.sock")
