"""`dicomrelay restore`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dicomrelay.cli.audited import Audited
from dicomrelay.cli.options import GivenPath, Invocation, relay_command
from dicomrelay.errors import ConfigurationError, ExitCode
from dicomrelay.settings import Settings, load
from dicomrelay.settings.load import config_path

# What alembic brings with it is not for every --help.
if TYPE_CHECKING:
    from dicomrelay.backup import Done, Part

_PARTS = ("ledger", "index", "settings")


@relay_command(
    about="Restore what `dicomrelay backup` saved, into this home, while nothing of the relay runs. The backup is looked at "
    "first, every byte. What is not there is restored; what is there stays, unless --replace puts it aside. Nothing is deleted. "
    "Then say `dicomrelay repair`, which brings it together with spool and archive, and start the relay.",
    examples="dicomrelay restore /srv/backups/dicomrelay-20261122T044500Z --check\n"
    "dicomrelay restore /srv/backups/dicomrelay-20261122T044500Z\n"
    "dicomrelay restore /srv/backups/dicomrelay-20261122T044500Z --replace ledger",
    audited=Audited("restore", {"replace": "part"}, looks=("check",), makes_home=True),
)
@click.argument("backup", type=GivenPath(path_type=Path, file_okay=False))
@click.option("--check", is_flag=True, help="Look at the backup, and restore nothing.")
@click.option(
    "--replace",
    type=click.Choice(_PARTS),
    multiple=True,
    help="What is put aside where it is there, into a folder replaced-<time>. May be repeated.",
)
@click.option(
    "--keep-revision",
    is_flag=True,
    help="Leave the ledger as old as it is: for the way back to the version of before an upgrade, which is started next.",
)
def command(
    invocation: Invocation, /, backup: Path, check: bool, replace: Sequence[str], keep_revision: bool
) -> int:
    from archive.index.database import newest_revision  # noqa: PLC0415 - as above
    from dicomrelay.backup import (  # noqa: PLC0415 - as above
        Part,
        opened,
        refuse_while_up,
        restore_databases,
        restore_settings,
        restore_trail,
    )

    folder = backup.absolute()
    done = opened(folder, newest_index=newest_revision())
    code = ExitCode.OK
    if not check:
        refuse_while_up(invocation.settings)
        parts = [Part(name) for name in replace]
        restore_trail(invocation.settings.home, folder, done)
        # As it is found next time: what was just restored is not in force before that.
        in_force = config_path(invocation.config, invocation.settings.home)
        restore_settings(invocation.settings.home, folder, done, replace=parts, config=in_force)
        try:
            settings = _settings_now(invocation, done)
        except ConfigurationError as error:
            invocation.say(f"dicomrelay: {error}")
            done.missing.append(
                "the databases: the settings are restored, and miss something: put it in, then say this again"
            )
            code = ExitCode.USAGE
        else:
            restore_databases(settings, folder, done, replace=parts, keep_revision=keep_revision)
            code = ExitCode.OK if done.restored else ExitCode.USAGE
    if invocation.as_json:
        invocation.emit(_as_json(folder, done, int(code)))
    else:
        _tell(invocation, folder, done, check=check, keep_revision=keep_revision)
    return code


def _settings_now(invocation: Invocation, done: Done) -> Settings:
    """What was restored may say where the archive is, or which database."""
    if "settings" not in done.restored:
        return invocation.settings
    return load(config=invocation.config, home=invocation.settings.home)


def _as_json(folder: Path, done: Done, code: int) -> dict[str, object]:
    return {
        "folder": str(folder),
        "exit_code": code,
        "restored": list(done.restored),
        "kept": list(done.kept),
        "aside": [str(path) for path in done.aside],
        "elsewhere": [{"file": str(path), "belongs": where} for path, where in done.elsewhere],
        "missing": done.missing,
        "migrated_from": done.migrated_from,
        "manifest": done.manifest.model_dump(mode="json"),
    }


def _tell(invocation: Invocation, folder: Path, done: Done, *, check: bool, keep_revision: bool) -> None:
    manifest = done.manifest
    rows = sum(manifest.ledger.rows.values())
    invocation.say(
        f"{folder}: whole, made by dicomrelay {manifest.version}, {len(manifest.files)} files, {rows} rows of the ledger, "
        f"revision {manifest.ledger.revision}"
    )
    for part in done.restored:
        invocation.say(f"restored  {part}")
    if done.migrated_from is not None:
        invocation.say(
            f"          the ledger was of revision {done.migrated_from} and is of this version's now"
        )
    for part in done.kept:
        invocation.say(f"kept      {part}: is there, and another: `--replace {part}` puts it aside")
    for path in done.aside:
        invocation.say(f"aside     what was there is in {path}")
    for path, where in done.elsewhere:
        invocation.say(f"put away  {path}: belongs to {where}")
    for words in manifest.left_out:
        invocation.say(f"not in it {words}")
    for words in done.missing:
        invocation.say(f"missing   {words}")
    if check:
        return
    if _has(done, "ledger") and keep_revision:
        invocation.say(f"next: `dicomrelay repair` and `dicomrelay up` of version {manifest.version}")
    elif _has(done, "ledger"):
        invocation.say("next: `dicomrelay repair`, then `dicomrelay up`")
    elif not done.restored:
        invocation.say("nothing was restored")


def _has(done: Done, name: str) -> bool:
    parts: list[Part] = done.restored
    return name in parts
