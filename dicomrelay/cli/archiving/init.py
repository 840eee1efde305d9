"""`dicomrelay archive init`."""

from __future__ import annotations

from pathlib import Path

import click

from archive import Policy
from archive.initialising import initialise
from dicomrelay.cli.archiving.opening import place_of
from dicomrelay.cli.audited import Audited
from dicomrelay.cli.options import GivenPath, Invocation, relay_command
from dicomrelay.errors import ConfigurationError, ExitCode


@relay_command(
    about="Make a new archive: a folder with an index. One that is there already is left alone, unless --force says "
    "otherwise.",
    examples="dicomrelay archive init --path /data/archive\n"
    "dicomrelay archive init --path /data/archive --policy replace\n"
    "dicomrelay archive init --path /data/archive --force",
    audited=Audited("archive.init"),
)
@click.option(
    "-p",
    "--path",
    "folder",
    type=GivenPath(path_type=Path),
    metavar="DIRECTORY",
    help="Where to make it.  [default: archive.path of the settings, or archive/ in the home]",
)
@click.option(
    "--policy",
    type=click.Choice([policy.value.replace("_", "-") for policy in Policy]),
    help="What becomes of other bytes under a SOP Instance UID that it holds: they are set aside, take the place of the first "
    "(which is set aside then), or are refused. Of the home's archive, archive.policy of the settings goes before it.  "
    "[default: archive.policy of the settings, or keep-first]",
)
@click.option(
    "--force",
    is_flag=True,
    help="Also in a folder that is not empty. An archive that is there is moved into before-<time>/ in it; nothing is deleted.",
)
def command(invocation: Invocation, folder: Path | None, policy: str | None, force: bool) -> int:
    place = place_of(invocation, folder)
    if place.is_there and place.root.is_dir() and place.database_url is None and not force:
        raise ConfigurationError(
            f"{place.root}: holds an archive already: name another folder, or let --force move it into before-<time>/ in there"
        )
    given = None if policy is None else Policy(policy.replace("-", "_"))
    written = given or place.policy or Policy.KEEP_FIRST
    made = initialise(place.root, force=force, policy=written, database_url=place.database_url)
    applies = _word(place.policy or written)
    if invocation.as_json:
        invocation.emit(
            {
                "archive": str(made.root),
                "policy": applies,
                "moved_to": str(made.moved_to) if made.moved_to else None,
                "left": list(made.left),
            }
        )
    if made.moved_to:
        invocation.say(
            f"the archive that was there is in {made.moved_to} now; remove that when nobody needs it"
        )
    if made.left:
        invocation.say(f"other files of the folder were left where they are: {', '.join(made.left)}")
    if not place.is_named:
        invocation.say(f"made: {made.root}, policy {applies}")
    else:
        invocation.say(f"made: {made.root}, policy {applies}; use it with --archive {made.root}")
    if applies != _word(written):
        invocation.say(
            f"archive.policy of the settings says {applies}, and goes before --policy {_word(written)}"
        )
    return ExitCode.OK


def _word(policy: Policy) -> str:
    """As the option has it."""
    return policy.value.replace("_", "-")
