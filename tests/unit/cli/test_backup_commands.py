"""`dicomrelay backup` and `restore`, as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result

from dicomrelay.cli.main import cli
from dicomrelay.ledger.migrate import migrate
from dicomrelay.runtime import home
from dicomrelay.settings import load


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


def test_a_home_is_backed_up_lost_and_restored(tmp_path: Path) -> None:
    """With a secret left out: the settings come first, and the rest when the secret is back."""
    there, backups = tmp_path / "there", tmp_path / "backups"
    backups.mkdir()
    settings = load(home=there)
    home.prepare(settings)
    home.spool_name(settings)
    migrate(home.ledger_url(settings))
    text = '[monitor]\nuser = "anna"\npassword = "hunter2-x"\n'
    (there / "relay.toml").write_text(text)

    made = run("backup", "--home", there, "--output", backups)
    assert made.exit_code == 0, made.output
    (folder,) = backups.iterdir()
    assert made.stdout.strip() == str(folder)
    assert "left out  monitor.password: is secret" in made.stderr

    checked = run("restore", folder, "--check", "--home", tmp_path / "other")
    assert checked.exit_code is not None
    assert "whole, made by dicomrelay" in checked.stderr
    assert not (tmp_path / "other").exists()

    first = run("restore", folder, "--home", tmp_path / "other", "--json")
    said = json.loads(first.stdout)
    assert said["restored"] == ["audit", "settings"]
    assert "monitor.password" in first.stderr
    (tmp_path / "other" / "relay.toml").write_text(text)
    second = run("restore", folder, "--home", tmp_path / "other")

    assert "restored  ledger" in second.stderr
    assert "next: `dicomrelay repair`, then `dicomrelay up`" in second.stderr
    assert home.known_spool_name(load(home=tmp_path / "other")) == home.known_spool_name(settings)


def test_nothing_is_changed_while_the_relay_runs(tmp_path: Path) -> None:
    """Not the settings either; and a setting that a variable overrides is in no backup."""
    there, backups = tmp_path / "there", tmp_path / "backups"
    backups.mkdir()
    settings = load(home=there)
    home.prepare(settings)
    migrate(home.ledger_url(settings))
    config = there / "relay.toml"
    config.write_text('[monitor]\nuser = "anna"\npassword = "of-the-file"\n')
    variables = {"DICOMRELAY_MONITOR__PASSWORD": "of-the-variable"}
    made = CliRunner().invoke(cli, ["backup", "--home", str(there), "--output", str(backups)], env=variables)
    assert made.exit_code == 0, made.output
    everything = b"".join(path.read_bytes() for path in backups.rglob("*") if path.is_file())
    assert b"of-the-" not in everything

    before = "[monitor]\nenabled = false\n"
    config.write_text(before)
    lock = home.HomeLock(settings)
    lock.take()
    try:
        refused = run("restore", *backups.iterdir(), "--home", there, "--replace", "settings")
    finally:
        lock.release()

    assert refused.exit_code != 0
    assert "runs here" in str(refused.exception)
    assert config.read_text() == before


def test_a_backup_does_not_go_into_the_relays_own_folders(tmp_path: Path) -> None:
    """It would be taken for something else there."""
    settings = load(home=tmp_path)
    home.prepare(settings)

    refused = run("backup", "--home", tmp_path, "--output", tmp_path / "spool")

    assert refused.exit_code != 0
    assert "lies in" in str(refused.exception)
