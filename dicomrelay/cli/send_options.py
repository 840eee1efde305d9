"""The options of `dicomrelay send`: what goes with what, and whom they name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from dicomrelay.errors import ConfigurationError
from dicomrelay.routing import parse_address
from dicomrelay.routing.destinations import resolve
from dicomrelay.settings import Settings

DIRECT_ONLY: Final = ("retries", "window", "transcode")


def split(options: Mapping[str, Any], settings: Settings) -> tuple[list[Path], str]:
    """The paths, and the one destination that was named in one of three ways, or "".

    Raises
    ------
    ConfigurationError
        Options that do not go together, or an address or a name that is none.
    """
    address = (options["ae_title"], options["host"], options["port"])
    named = [options["name"]] if options["name"] else []
    if any(address):
        if not all(address):
            raise ConfigurationError("--ae-title, --host and --port go together")
        named.append(f"{address[0]}@{address[1]}:{address[2]}")
    paths = []
    for text in (*options["paths"], *options["inputs"]):
        if "@" in text and not Path(text).exists():
            named.append(text)
        else:
            paths.append(Path(text))
    if len(named) > 1:
        raise ConfigurationError(f"one destination at a time, please: {', '.join(named)}")
    if not paths:
        raise ConfigurationError("name the files or folders to send")
    if named and "@" in named[0]:
        parse_address(named[0])
    elif named:
        resolve(named[0], settings.destinations)
    _check(options, is_named=bool(named))
    return paths, named[0] if named else ""


def _check(options: Mapping[str, Any], *, is_named: bool) -> None:
    if options["direct"] and not is_named:
        raise ConfigurationError("--direct needs a destination: --to NAME, AET@host:port, or -a, -H and -p")
    if options["direct"] and options["no_wait"]:
        raise ConfigurationError(
            "--no-wait goes with the queue: --direct ends when everything has its answer"
        )
    for key in DIRECT_ONLY:
        if options[key] is not None and not options["direct"]:
            raise ConfigurationError(
                f"--{key} goes with --direct; for the queue the settings of the destination say it"
            )
