"""`dicomrelay users list`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from dicomrelay.access import users_file
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.settings import AccountSettings


@relay_command(
    about="The users of the settings and of the users file: role, whether they have a password, and their tokens by name.",
    examples="dicomrelay users list\ndicomrelay users list --json",
)
def command(invocation: Invocation, /) -> None:
    settings = invocation.settings
    path = settings.users_path
    kept = users_file.read(path) if users_file.identity(path) is not None else ()
    rows = [_row(user, "settings") for user in settings.users] + [_row(user, "file") for user in kept]
    if invocation.as_json:
        invocation.emit(rows)
        return
    for row in rows:
        click.echo(_line(row))
    if not rows and settings.streamer.access is None and settings.monitor.user is None:
        invocation.say("there are no users: the streamer and Flower ask nobody (`dicomrelay users add`)")


def _row(user: AccountSettings, origin: str) -> dict[str, Any]:
    today = datetime.now(UTC).date()
    return {
        "name": user.name,
        "role": user.role.value,
        "password": user.password_hash is not None,
        "tokens": [
            {
                "name": token.name,
                "expires": token.expires.isoformat() if token.expires else None,
                "expired": token.expires is not None and token.expires < today,
            }
            for token in user.tokens
        ],
        "from": origin,
    }


def _line(row: dict[str, Any]) -> str:
    parts = ["password"] if row["password"] else []
    for token in row["tokens"]:
        ends = (
            f" ({'expired' if token['expired'] else 'until'} {token['expires']})" if token["expires"] else ""
        )
        parts.append(f"token {token['name']}{ends}")
    place = ", in the settings" if row["from"] == "settings" else ""
    return f"{row['name']:<20} {row['role']:<9} {', '.join(parts) or 'cannot come in: no password, no token'}{place}"
