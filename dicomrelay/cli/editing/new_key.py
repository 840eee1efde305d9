"""`dicomrelay edits key`."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

import click

from dicomrelay.cli.options import GivenPath, Invocation, relay_command
from dicomrelay.edits.keys import Key
from dicomrelay.errors import ConfigurationError

_KEY_BYTES: Final = 32


@relay_command(
    about="Make a key for `key_file` of a de-identification, which only its owner may read. A file that is there stays as it is. "
    "Keep a copy where it is safe: without the key, what comes later does not match what was sent.",
    examples="dicomrelay edits key /etc/dicomrelay/research.key",
)
@click.argument("file", type=GivenPath(path_type=Path, dir_okay=False))
def command(invocation: Invocation, /, file: Path) -> None:
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise ConfigurationError(f"{file}: is there, and may be in use: it stays as it is") from None
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be made: {error.strerror}") from error
    with os.fdopen(descriptor, "w", encoding="ascii") as out:
        out.write(secrets.token_hex(_KEY_BYTES) + "\n")
        out.flush()
        os.fsync(out.fileno())
    invocation.say(f"{file}: a new key. Keep a copy where it is safe")
    if invocation.as_json:
        invocation.emit({"file": str(file), "fingerprint": Key.read(file).fingerprint})
