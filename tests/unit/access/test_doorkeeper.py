"""The door by settings and file, with a clock of the test's."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from dicomrelay.access import Doorkeeper, Role, authenticate, is_asked, users_file
from dicomrelay.access.authenticating import MOST_FAILURES, Failures
from dicomrelay.access.users import hash_of_token
from dicomrelay.errors import ConfigurationError
from dicomrelay.settings import AccountSettings, MonitorSettings, Settings
from tests.support.accounts import PASSWORD, cheap_hash

HASH = cheap_hash()
TOKEN = "t" * 43


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def user(name: str = "anna", role: str = "operator", **more: object) -> AccountSettings:
    return AccountSettings.model_validate({"name": name, "role": role, "password_hash": HASH, **more})


def basic(name: str, password: str) -> bytes:
    return b"Basic " + base64.b64encode(f"{name}:{password}".encode())


def settings_of(home: Path, *users: AccountSettings, **more: Any) -> Settings:
    return Settings(home=home, users=list(users), **more)


def add(settings: Settings, *users: AccountSettings) -> None:
    with users_file.changing(settings.users_path) as found:
        found.update({each.name: each for each in users})


def test_a_door_with_nobody_to_ask_for_is_open(tmp_path: Path) -> None:
    """As it was before there were users."""
    assert not Doorkeeper(settings_of(tmp_path)).is_on


def test_a_user_of_the_settings_comes_in(tmp_path: Path) -> None:
    """The second time from memory: without scrypt."""
    keeper = Doorkeeper(settings_of(tmp_path, user()))
    assert keeper.is_on
    assert keeper.known(basic("anna", PASSWORD)) is None
    found = keeper.checked(basic("anna", PASSWORD))
    assert found is not None
    assert found.role is Role.OPERATOR
    assert keeper.known(basic("anna", PASSWORD)) == found
    assert keeper.checked(basic("anna", "wrong")) is None
    assert keeper.known(basic("anna", "wrong")) is None


def test_the_first_user_closes_the_door_of_a_process_that_runs(tmp_path: Path) -> None:
    """Within a second, by the file alone."""
    settings, clock = settings_of(tmp_path), Clock()
    keeper = Doorkeeper(settings, clock=clock)
    assert not keeper.is_on
    add(settings, user("anna", "viewer", tokens=[{"name": "ci", "hash": hash_of_token(TOKEN.encode())}]))
    clock.now = 2
    assert keeper.is_on
    assert keeper.known(b"Bearer " + TOKEN.encode()) is not None


def test_who_is_taken_out_is_out(tmp_path: Path) -> None:
    """What was checked before is forgotten; with nobody left, nobody comes in."""
    settings, clock = settings_of(tmp_path), Clock()
    add(settings, user())
    keeper = Doorkeeper(settings, clock=clock)
    assert keeper.checked(basic("anna", PASSWORD)) is not None
    with users_file.changing(settings.users_path) as found:
        del found["anna"]
    clock.now = 2
    assert keeper.is_on
    assert keeper.known(basic("anna", PASSWORD)) is None
    assert keeper.checked(basic("anna", PASSWORD)) is None


@pytest.mark.parametrize("loss", ["removed", "broken", "writable"])
def test_a_lost_file_opens_nothing(tmp_path: Path, loss: str, caplog: pytest.LogCaptureFixture) -> None:
    """The users of the settings go on."""
    settings, clock = settings_of(tmp_path, user("zoe")), Clock()
    add(settings, user())
    keeper = Doorkeeper(settings, clock=clock)
    path = settings.users_path
    if loss == "removed":
        path.unlink()
    elif loss == "broken":
        path.write_text('{"users": [{"name": "anna", "secret')
    else:
        path.chmod(0o666)
        os.utime(path, ns=(1, 1))
    clock.now = 2
    assert keeper.is_on
    assert keeper.checked(basic("anna", PASSWORD)) is None
    assert keeper.checked(basic("zoe", PASSWORD)) is not None


def test_a_file_that_cannot_be_read_ends_the_start(tmp_path: Path) -> None:
    """Named; nothing of it is quoted."""
    settings = settings_of(tmp_path)
    settings.users_path.write_text(
        json.dumps({"users": [{"name": "anna", "role": "operator", "password": "hunter2"}]})
    )
    with pytest.raises(ConfigurationError, match=r"users\.json: users\.0\.password") as caught:
        Doorkeeper(settings)
    assert "hunter2" not in str(caught.value)


def test_the_file_is_ours_alone(tmp_path: Path) -> None:
    """Written whole, 0600, with nothing left beside it but the lock."""
    settings = settings_of(tmp_path / "home")
    add(settings, user())
    add(settings, user("zoe", "admin"))
    assert [each.name for each in users_file.read(settings.users_path)] == ["anna", "zoe"]
    assert settings.users_path.stat().st_mode & 0o777 == 0o600
    assert {path.name for path in settings.home.iterdir()} == {"users.json", ".users.json.lock"}


def test_a_change_that_fails_changes_nothing(tmp_path: Path) -> None:
    """Whatever was done in the block before."""
    settings = settings_of(tmp_path)
    add(settings, user())
    before = settings.users_path.read_bytes()

    def fail() -> None:
        with users_file.changing(settings.users_path) as found:
            found.clear()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert settings.users_path.read_bytes() == before


def test_a_user_of_both_places_is_an_error(tmp_path: Path) -> None:
    """Which role would count?"""
    settings = settings_of(tmp_path, user())
    add(settings, user())
    with pytest.raises(ConfigurationError, match="stands twice"):
        Doorkeeper(settings)


def test_flower_s_door(tmp_path: Path) -> None:
    """Users, and the one of [monitor], who is an operator; too many failures from an address are not looked at."""
    settings = settings_of(
        tmp_path, user("eve", "viewer"), monitor=MonitorSettings(user="m", password="monitor's own")
    )  # type: ignore[arg-type]
    assert is_asked(settings)
    assert authenticate(settings, None) is None
    assert authenticate(settings, "Basic !!") is None
    assert authenticate(settings, "Basic \u20ac") is None
    found = [
        authenticate(settings, basic(*each).decode()) for each in (("m", "monitor's own"), ("eve", PASSWORD))
    ]
    assert [each and each.role for each in found] == [Role.OPERATOR, Role.VIEWER]
    for _ in range(MOST_FAILURES):
        assert authenticate(settings, "Basic !!", address="10.0.0.9") is None
    assert authenticate(settings, basic("eve", PASSWORD).decode(), address="10.0.0.9") is None
    assert authenticate(settings, basic("eve", PASSWORD).decode(), address="10.0.0.8") is not None


def test_failures_are_forgotten_after_a_minute() -> None:
    """Each by itself."""
    clock = Clock()
    failures = Failures(2, clock=clock)
    failures.count("a")
    clock.now = 30
    failures.count("a")
    assert failures.are_too_many("a")
    assert not failures.are_too_many("b")
    clock.now = 60
    assert not failures.are_too_many("a")
