"""`dicomrelay users remove`."""

from __future__ import annotations

import click

from dicomrelay.cli.accounts.changes import changing, found
from dicomrelay.cli.audited import Audited
from dicomrelay.cli.options import Invocation, relay_command


@relay_command(
    about="Take a user out, with its tokens. With the last one gone, nobody comes in by the users file, and the doors go on "
    "asking: to have them ask nobody, remove the file and start again.",
    examples="dicomrelay users remove anna",
    audited=Audited("users.remove", {"name": "user"}),
)
@click.argument("name")
def command(invocation: Invocation, /, name: str) -> None:
    with changing(invocation) as users:
        found(users, name, invocation.settings)
        del users[name]
        is_last = not users and not invocation.settings.users
    invocation.say(f"{name} is no user any more")
    if is_last:
        invocation.say(
            "nobody is left: the streamer and Flower let nobody in by users. To have them ask nobody, remove "
            f"{invocation.settings.users_path} and start again"
        )
    if invocation.as_json:
        invocation.emit({"name": name, "removed": True})
