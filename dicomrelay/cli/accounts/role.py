"""`dicomrelay users role`."""

from __future__ import annotations

import click

from dicomrelay.cli.accounts.changes import ROLES, changing, found
from dicomrelay.cli.audited import Audited
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.settings import Role


@relay_command(
    about="Give a user another role: viewer looks; operator also stores, retries, holds, cancels and replays; admin everything.",
    examples="dicomrelay users role anna admin",
    audited=Audited("users.role", {"name": "user", "role": "role"}),
)
@click.argument("name")
@click.argument("role", type=click.Choice(ROLES))
def command(invocation: Invocation, /, name: str, role: str) -> None:
    with changing(invocation) as users:
        before = found(users, name, invocation.settings)
        users[name] = before.model_copy(update={"role": Role(role)})
    invocation.say(f"{name} is {role}, and was {before.role.value}")
    if invocation.as_json:
        invocation.emit({"name": name, "role": role, "before": before.role.value})
