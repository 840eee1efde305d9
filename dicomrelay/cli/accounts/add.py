"""`dicomrelay users add`."""

from __future__ import annotations

import click

from dicomrelay.access.users import hash_of_password
from dicomrelay.cli.accounts.asking import new_password
from dicomrelay.cli.accounts.changes import ROLES, changing, made
from dicomrelay.cli.audited import Audited
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.errors import ConfigurationError


@relay_command(
    about="Make a user. The password is asked for twice, or is the first line of standard input; with --no-password there is "
    "none, and the user comes in by tokens only. With the first user, the streamer and Flower begin to ask everybody who they "
    "are.",
    examples="dicomrelay users add anna --role operator\n"
    "dicomrelay users add ci --role operator --no-password\n"
    "dicomrelay users add anna --role viewer < password.txt",
    audited=Audited("users.add", {"name": "user", "role": "role"}, makes_home=True),
)
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(ROLES),
    required=True,
    help="viewer looks; operator also stores, retries, holds, cancels, replays; admin everything.",
)
@click.option("--no-password", is_flag=True, help="Tokens only: see `dicomrelay users token add`.")
def command(invocation: Invocation, /, name: str, role: str, no_password: bool) -> None:
    settings = invocation.settings
    made(name=name, role=role)
    hashed = None if no_password else hash_of_password(new_password(name))
    with changing(invocation) as users:
        if name in users or any(user.name == name for user in settings.users):
            raise ConfigurationError(
                f"there is a user {name!r} already: `dicomrelay users passwd {name}` gives another password, "
                f"`dicomrelay users role {name} ROLE` another role"
            )
        is_first = not users and not settings.users
        users[name] = made(name=name, role=role, password_hash=hashed)
    invocation.say(f"{name} is {role}{', without a password' if no_password else ''}")
    if is_first:
        invocation.say("from now on the streamer and Flower ask everybody who they are")
    if no_password:
        invocation.say(f"next: `dicomrelay users token add {name} NAME`")
    if invocation.as_json:
        invocation.emit({"name": name, "role": role, "password": not no_password})
