"""`dicomrelay users token remove`."""

from __future__ import annotations

import click

from dicomrelay.cli.accounts.changes import changing, found
from dicomrelay.cli.audited import Audited
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.errors import ConfigurationError


@relay_command(
    about="Take a token out: who shows it is let in no more.",
    examples="dicomrelay users token remove ci nightly",
    audited=Audited("users.token_remove", {"name": "user", "token_name": "token"}),
)
@click.argument("name")
@click.argument("token_name", metavar="TOKEN")
def command(invocation: Invocation, /, name: str, token_name: str) -> None:
    with changing(invocation) as users:
        user = found(users, name, invocation.settings)
        left = [token for token in user.tokens if token.name != token_name]
        if len(left) == len(user.tokens):
            known = ", ".join(token.name for token in user.tokens) or "none"
            raise ConfigurationError(f"{name} has no token {token_name!r}; known: {known}")
        users[name] = user.model_copy(update={"tokens": left})
    invocation.say(f"token {token_name} of {name} is taken no more")
    if invocation.as_json:
        invocation.emit({"name": name, "token_name": token_name, "removed": True})
