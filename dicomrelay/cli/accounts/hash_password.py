"""`dicomrelay users hash`."""

from __future__ import annotations

import click

from dicomrelay.access.users import hash_of_password
from dicomrelay.cli.accounts.asking import new_password
from dicomrelay.cli.options import Invocation, relay_command


@relay_command(
    about="Ask for a password, or read the first line of standard input, and print its hash: for `password_hash` of a user in "
    "the settings.",
    examples="dicomrelay users hash\ndicomrelay users hash < password.txt",
)
def command(invocation: Invocation, /) -> None:
    hashed = hash_of_password(new_password(""))
    if invocation.as_json:
        invocation.emit({"password_hash": hashed})
    else:
        click.echo(hashed)
