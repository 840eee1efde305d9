"""`dicomrelay users passwd`."""

from __future__ import annotations

import click
from pydantic import SecretStr

from dicomrelay.access.users import hash_of_password
from dicomrelay.cli.accounts.asking import new_password
from dicomrelay.cli.accounts.changes import changing, found
from dicomrelay.cli.audited import Audited
from dicomrelay.cli.options import Invocation, relay_command


@relay_command(
    about="Give a user another password: asked for twice, or the first line of standard input. Its tokens stay.",
    examples="dicomrelay users passwd anna\ndicomrelay users passwd anna < password.txt",
    audited=Audited("users.passwd", {"name": "user"}),
)
@click.argument("name")
def command(invocation: Invocation, /, name: str) -> None:
    with changing(invocation) as users:
        found(users, name, invocation.settings)
    hashed = SecretStr(hash_of_password(new_password(name)))  # nobody waits for the lock while it is typed
    with changing(invocation) as users:
        users[name] = found(users, name, invocation.settings).model_copy(update={"password_hash": hashed})
    invocation.say(f"{name} has another password; the one before is taken no more")
    if invocation.as_json:
        invocation.emit({"name": name, "password": True})
