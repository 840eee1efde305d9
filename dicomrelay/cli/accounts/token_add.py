"""`dicomrelay users token add`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from dicomrelay.access.users import hash_of_token, new_token
from dicomrelay.cli.accounts.changes import changing, found, made
from dicomrelay.cli.audited import Audited
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.errors import ConfigurationError


@relay_command(
    about="Make a token of a user and print it, once: what is kept is its hash. Who shows it is that user.",
    examples="dicomrelay users token add ci nightly --days 365\n"
    'curl -H "Authorization: Bearer $(cat token)" http://127.0.0.1:8080/studies',
    audited=Audited("users.token_add", {"name": "user", "token_name": "token"}),
)
@click.argument("name")
@click.argument("token_name", metavar="TOKEN")
@click.option("--days", type=click.IntRange(1, 36_500), help="For how long it is taken.  [default: for ever]")
def command(invocation: Invocation, /, name: str, token_name: str, days: int | None) -> None:
    token = new_token()
    expires = None if days is None else (datetime.now(UTC) + timedelta(days=days)).date()
    row = {"name": token_name, "hash": hash_of_token(token.encode()), "expires": expires}
    with changing(invocation) as users:
        user = found(users, name, invocation.settings)
        if any(each.name == token_name for each in user.tokens):
            raise ConfigurationError(
                f"{name} has a token {token_name!r} already: `dicomrelay users token remove {name} {token_name}` first"
            )
        more = made(name=name, role=user.role, tokens=[row]).tokens
        tokens = [*user.tokens, *more]
        users[name] = made(name=name, role=user.role, password_hash=user.password_hash, tokens=tokens)
    until = f" until {expires}" if expires else ""
    invocation.say(f"token {token_name} of {name}{until}; it is not shown again:")
    if invocation.as_json:
        ends = expires.isoformat() if expires else None
        invocation.emit({"name": name, "token_name": token_name, "token": token, "expires": ends})
    else:
        click.echo(token)
