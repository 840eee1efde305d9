"""`dicomrelay users`, on a home of its own."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dicomrelay.access import Doorkeeper, Role, User
from dicomrelay.cli.main import cli
from dicomrelay.errors import ConfigurationError
from dicomrelay.settings import Settings
from tests.support.accounts import PASSWORD, make_hashes_cheap


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    make_hashes_cheap(monkeypatch)


def run(home: Path, *words: str, typed: str = "") -> Result:
    return CliRunner().invoke(cli, ["users", *words, "--home", str(home)], input=typed, standalone_mode=False)


def comes_in(home: Path, name: str, password: str) -> User | None:
    field = b"Basic " + base64.b64encode(f"{name}:{password}".encode())
    return Doorkeeper(Settings(home=home)).checked(field)


def test_a_user_is_made_changed_and_taken_out(tmp_path: Path) -> None:
    """With a password from standard input; the first one is told that doors ask now."""
    made = run(tmp_path, "add", "anna", "--role", "operator", typed=f"{PASSWORD}\n")
    assert "from now on" in made.stderr
    assert PASSWORD not in made.output
    found = comes_in(tmp_path, "anna", PASSWORD)
    assert found is not None
    assert found.role is Role.OPERATOR

    assert run(tmp_path, "role", "anna", "admin").exception is None
    assert run(tmp_path, "passwd", "anna", typed="another long password\n").exception is None
    assert comes_in(tmp_path, "anna", PASSWORD) is None
    found = comes_in(tmp_path, "anna", "another long password")
    assert found is not None
    assert found.role is Role.ADMIN

    (row,) = json.loads(run(tmp_path, "list", "--json").stdout)
    assert row == {"name": "anna", "role": "admin", "password": True, "tokens": [], "from": "file"}
    assert "nobody is left" in run(tmp_path, "remove", "anna").stderr
    assert comes_in(tmp_path, "anna", "another long password") is None


def test_the_first_user_is_made_where_flower_waits_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container: Flower's address is open, nobody is known yet, and `up` says who has to be made."""
    monkeypatch.setenv("DICOMRELAY_MONITOR__HOST", "0.0.0.0")
    up = CliRunner().invoke(cli, ["up", "--home", str(tmp_path)], standalone_mode=False)
    assert isinstance(up.exception, ConfigurationError)
    assert "dicomrelay users add" in str(up.exception)

    assert run(tmp_path, "add", "anna", "--role", "operator", typed=f"{PASSWORD}\n").exception is None
    assert not Settings(home=tmp_path).flower_stays_shut()


def test_a_token_is_shown_once_and_ends_with_its_removal(tmp_path: Path) -> None:
    """What is kept does not let in."""
    run(tmp_path, "add", "ci", "--role", "operator", "--no-password")
    token = run(tmp_path, "token", "add", "ci", "nightly", "--days", "30").stdout.strip()
    content = (tmp_path / "users.json").read_text()
    assert token not in content
    found = Doorkeeper(Settings(home=tmp_path)).known(b"Bearer " + token.encode())
    assert found == User("ci", Role.OPERATOR, "token nightly")
    kept = json.loads(content)["users"][0]["tokens"][0]["hash"]
    assert Doorkeeper(Settings(home=tmp_path)).known(b"Bearer " + kept.encode()) is None
    assert "token nightly (until " in run(tmp_path, "list").stdout

    assert run(tmp_path, "token", "remove", "ci", "nightly").exception is None
    assert Doorkeeper(Settings(home=tmp_path)).known(b"Bearer " + token.encode()) is None


@pytest.mark.parametrize(
    ("words", "typed", "expected"),
    [
        (("add", "anna", "--role", "viewer"), "short\n", "12 to 1024"),
        (("add", "a:b", "--role", "viewer"), f"{PASSWORD}\n", "name: "),
        (("add", "eve", "--role", "viewer"), f"{PASSWORD}\n", "there is a user 'eve' already"),
        (("passwd", "nobody"), f"{PASSWORD}\n", "there is no user 'nobody'; known: eve"),
        (("remove", "nobody"), "", "there is no user"),
        (("token", "add", "nobody", "x"), "", "there is no user"),
        (("token", "remove", "eve", "x"), "", "has no token 'x'; known: none"),
    ],
)
def test_what_cannot_be_is_said_and_changes_nothing(
    tmp_path: Path, words: tuple[str, ...], typed: str, expected: str
) -> None:
    """By name."""
    run(tmp_path, "add", "eve", "--role", "viewer", "--no-password")
    before = (tmp_path / "users.json").read_bytes()
    raised = run(tmp_path, *words, typed=typed).exception
    assert isinstance(raised, ConfigurationError)
    assert expected in str(raised)
    assert (tmp_path / "users.json").read_bytes() == before


def test_no_option_or_argument_takes_a_password() -> None:
    """It would stand in the list of processes."""
    for name in ("add", "passwd", "hash"):
        said = CliRunner().invoke(cli, ["users", name, "--help"]).stdout
        assert "--password" not in said
        assert "PASSWORD" not in said.split("Options:")[0].split("\n")[0]


def test_users_of_the_settings_are_listed_and_left_alone(tmp_path: Path) -> None:
    """They are changed where they stand."""
    (tmp_path / "relay.toml").write_text('[[users]]\nname = "zoe"\nrole = "admin"\n')
    (row,) = json.loads(run(tmp_path, "list", "--json").stdout)
    assert (row["from"], row["password"]) == ("settings", False)
    assert "in [[users]] of the settings" in str(run(tmp_path, "remove", "zoe").exception)
    assert "already" in str(run(tmp_path, "add", "zoe", "--role", "viewer", "--no-password").exception)


def test_a_hash_for_the_settings(tmp_path: Path) -> None:
    """It lets in."""
    hashed = run(tmp_path, "hash", typed=f"{PASSWORD}\n").stdout.strip()
    (tmp_path / "relay.toml").write_text(
        f'[[users]]\nname = "zoe"\nrole = "admin"\npassword_hash = "{hashed}"\n'
    )
    settings = Settings(home=tmp_path, users=[{"name": "zoe", "role": "admin", "password_hash": hashed}])  # type: ignore[list-item]
    field = b"Basic " + base64.b64encode(f"zoe:{PASSWORD}".encode())
    assert Doorkeeper(settings).checked(field) is not None
