"""`dicomrelay archive export-index`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from archive.json_index import INDEX_NAME, write_index
from dicomrelay.cli.archiving.filters import asked, filter_options
from dicomrelay.cli.archiving.opening import archive_option, opened
from dicomrelay.cli.archiving.words import many
from dicomrelay.cli.options import GivenPath, Invocation, relay_command
from dicomrelay.cli.outputs import refuse_own_folders
from dicomrelay.errors import ConfigurationError, ExitCode


@relay_command(
    about="Write the index of the archive as archive_index.json: patients, studies, series and instances with the paths of "
    "their files, for other programs.",
    examples="dicomrelay archive export-index\n"
    "dicomrelay archive export-index --archive /data/archive --output index.json\n"
    "dicomrelay archive export-index --study-date 20240101- --output new.json --overwrite",
)
@archive_option
@click.option(
    "-o",
    "--output",
    type=GivenPath(path_type=Path),
    help="File to write, or a folder for archive_index.json.  [default: the archive's folder]",
)
@filter_options()
@click.option("--overwrite", is_flag=True, help="Replace the file when it is there.")
def command(
    invocation: Invocation, folder: Path | None, output: Path | None, overwrite: bool, **options: Any
) -> int:
    what = asked(options)
    with opened(invocation, folder) as archive:
        root = archive.layout.root
        path = output or root
        path = path / INDEX_NAME if path.is_dir() else path
        if path.name != INDEX_NAME and path.resolve().is_relative_to(root.resolve()):
            raise ConfigurationError(
                f"--output {path}: lies in the archive, where only {INDEX_NAME} may stand: name a place outside of it"
            )
        if not path.resolve().is_relative_to(root.resolve()):
            refuse_own_folders(invocation.settings, path, config=invocation.config)
        if path.exists() and not overwrite:
            raise ConfigurationError(
                f"{path}: exists already: --overwrite replaces it, or name another --output"
            )
        count = write_index(archive, path, what.selection(), overwrite=overwrite)
    if invocation.as_json:
        invocation.emit({"output": str(path), "instances": count})
    invocation.say(f"{many(count, 'instance')} written to {path}")
    return ExitCode.OK
