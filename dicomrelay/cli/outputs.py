"""Where a command may write what it was asked for: anywhere but in the relay's own folders."""

from __future__ import annotations

from pathlib import Path

from dicomrelay.errors import ConfigurationError
from dicomrelay.runtime.home import FOLDERS
from dicomrelay.settings import Settings


def refuse_own_folders(settings: Settings, output: Path, *, config: Path | None = None) -> None:
    """Before anything is written to `--output`.

    Parameters
    ----------
    config : Path, optional
        The settings file, which is none of the places either.

    Raises
    ------
    ConfigurationError
        It lies, by whatever way and links, in a folder of the home that only the relay writes to, or is its settings.
    """
    # Both what a link stands for and where it stands: one kind of writer follows it, the other replaces it.
    places = {output.resolve(), output.parent.resolve() / output.name}
    own = [*(settings.path(name) for name in FOLDERS), settings.archive_path]
    for folder in own:
        if any(place.is_relative_to(folder.resolve()) for place in places):
            raise ConfigurationError(
                f"--output {output}: lies in {folder}, which holds the relay's own files: name a place outside of it"
            )
    files = [settings.home / "relay.toml", *([config] if config is not None else [])]
    if places & {file.resolve() for file in files}:
        raise ConfigurationError(f"--output {output}: is the relay's settings: name another file")
