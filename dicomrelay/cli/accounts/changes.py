"""What the commands that change users have in common: who is meant, and what is said of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pydantic import ValidationError

from dicomrelay.access import users_file
from dicomrelay.cli.options import Invocation
from dicomrelay.errors import ConfigurationError
from dicomrelay.settings import AccountSettings, Role, Settings

ROLES = [role.value for role in Role]


@contextlib.contextmanager
def changing(invocation: Invocation) -> Iterator[dict[str, AccountSettings]]:
    """The users of the file by name, to be changed in the block."""
    with users_file.changing(invocation.settings.users_path) as users:
        yield users


def found(users: dict[str, AccountSettings], name: str, settings: Settings) -> AccountSettings:
    """The user of that name.

    Raises
    ------
    ConfigurationError
        There is none in the file.
    """
    if name in users:
        return users[name]
    if any(user.name == name for user in settings.users):
        raise ConfigurationError(f"{name!r} stands in [[users]] of the settings: change it there")
    raise ConfigurationError(f"there is no user {name!r}; known: {', '.join(sorted(users)) or 'none'}")


def made(**values: object) -> AccountSettings:
    """A user.

    Raises
    ------
    ConfigurationError
        A value cannot be; it is named.
    """
    try:
        return AccountSettings.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None
