"""`dicomrelay backup`."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from dicomrelay.cli.audited import Audited
from dicomrelay.cli.options import GivenPath, Invocation, relay_command
from dicomrelay.cli.outputs import refuse_own_folders
from dicomrelay.errors import ConfigurationError
from dicomrelay.settings.load import config_path


@relay_command(
    about="Back up ledger, archive's index, settings and audit trail into a new folder, while the relay works. Images are not "
    "copied: they are files in spool and archive. Secrets are left out, and listed, unless --secrets is given.",
    examples="dicomrelay backup --output /srv/backups\ndicomrelay backup --output /srv/backups --json\n"
    "dicomrelay backup --output /media/safe --secrets",
    audited=Audited("backup", {"with_secrets": "choice"}),
)
@click.option(
    "-o",
    "--output",
    type=GivenPath(path_type=Path, file_okay=False),
    default=Path(),
    show_default="the current folder",
    help="An existing folder, in which the backup's own folder is made: dicomrelay-<time>.",
)
@click.option(
    "--secrets",
    "with_secrets",
    is_flag=True,
    help="Passwords, tokens and private keys too, in clear: keep the folder as safe as them.",
)
def command(invocation: Invocation, /, output: Path, with_secrets: bool) -> None:
    from dicomrelay.backup import make  # noqa: PLC0415 - not for every --help

    settings = invocation.settings
    config = config_path(invocation.config, _home_given())
    if not output.is_dir():
        raise ConfigurationError(f"--output {output}: is no folder: make it first, or name one that is there")
    target = output.absolute() / time.strftime("dicomrelay-%Y%m%dT%H%M%SZ", time.gmtime())
    refuse_own_folders(settings, target, config=config)
    if output.absolute().stat().st_mode & 0o002 and not output.absolute().stat().st_mode & 0o1000:
        raise ConfigurationError(
            f"--output {output}: everybody may write there, and replace what is in a backup: name another"
        )
    began = time.monotonic()
    made = make(settings, target, config=config, environment=os.environ, with_secrets=with_secrets)
    size = sum(entry.bytes for entry in made.manifest.files)
    if invocation.as_json:
        invocation.emit(
            {
                "folder": str(made.folder),
                "bytes": size,
                "seconds": round(time.monotonic() - began, 3),
                "manifest": made.manifest.model_dump(mode="json"),
            }
        )
        return
    for words in made.manifest.left_out:
        invocation.say(f"left out  {words}")
    rows = sum(made.manifest.ledger.rows.values())
    invocation.say(
        f"{len(made.manifest.files)} files, {size} bytes, {rows} rows of the ledger, in {time.monotonic() - began:.1f} s"
    )
    if with_secrets:
        invocation.say("secrets are in it, in clear")
    click.echo(made.folder)


def _home_given() -> Path | None:
    found = click.get_current_context().params.get("home")
    return found if isinstance(found, Path) else None
