"""No command writes what it was asked for over a file of the relay."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from dicomrelay.cli.main import cli
from dicomrelay.cli.outputs import refuse_own_folders
from dicomrelay.errors import ConfigurationError
from dicomrelay.runtime import home
from dicomrelay.settings import Settings, load


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "home").mkdir()
    settings = load(home=tmp_path / "home")
    home.prepare(settings)
    home.spool_name(settings)
    return settings


@pytest.mark.parametrize(
    "place",
    ["spool/identity", "db/new.csv", "redis/x", "run/ready", "archive/data/x.csv", "logs/x.csv", "spool"],
)
def test_its_own_folders_are_no_place_to_write_to(settings: Settings, place: str) -> None:
    with pytest.raises(ConfigurationError, match="the relay's own files"):
        refuse_own_folders(settings, settings.home / place)


def test_no_link_leads_there(settings: Settings, tmp_path: Path) -> None:
    """A folder that is one, a file that is one, and a link among ours that leads away."""
    (tmp_path / "folder").symlink_to(settings.path("spool"))
    (tmp_path / "file.csv").symlink_to(settings.path("spool", "identity"))
    (settings.path("run") / "away").symlink_to(tmp_path / "elsewhere")
    for place in (tmp_path / "folder" / "identity", tmp_path / "file.csv", settings.path("run", "away")):
        with pytest.raises(ConfigurationError, match="the relay's own files"):
            refuse_own_folders(settings, place)


def test_anywhere_else_is_the_callers_own_affair(settings: Settings, tmp_path: Path) -> None:
    """Beside those folders too, but not over the settings."""
    for place in (tmp_path / "x.csv", settings.home / "x.csv", settings.home / "received"):
        refuse_own_folders(settings, place)
    with pytest.raises(ConfigurationError, match="the relay's settings"):
        refuse_own_folders(settings, settings.home / "relay.toml")


@pytest.mark.parametrize(
    "command",
    [
        ["report", "1.2.3", "-o", "{}/spool/identity"],
        ["get", "PACS@127.0.0.1:1", "--study", "1.2.3", "-o", "{}/spool/kept"],
        ["receive", "-o", "{}/spool/new"],
    ],
    ids=lambda each: each[0],
)
def test_every_command_with_an_output_asks(settings: Settings, command: list[str]) -> None:
    """Before it looks for what to write."""
    before = settings.path("spool", "identity").read_bytes()
    argv = [each.format(settings.home) for each in command]
    result = CliRunner().invoke(cli, [*argv, "--home", str(settings.home)], standalone_mode=False)
    assert "the relay's own files" in str(result.exception)
    assert settings.path("spool", "identity").read_bytes() == before
