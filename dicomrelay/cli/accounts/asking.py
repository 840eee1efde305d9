"""A password from whoever sits there, or from standard input; never from the command line."""

from __future__ import annotations

import sys

import click

from dicomrelay.access.users import LONGEST_PASSWORD, refusal_of
from dicomrelay.errors import ConfigurationError


def new_password(name: str) -> str:
    """Ask for it twice in a terminal, else read the first line of standard input.

    Raises
    ------
    ConfigurationError
        It is no password, or the two are not the same.
    """
    if sys.stdin.isatty():
        password: str = click.prompt("Password", hide_input=True, confirmation_prompt="Again", err=True)
    else:
        password = sys.stdin.readline(LONGEST_PASSWORD + 2).rstrip("\r\n")
    if why := refusal_of(password, name):
        raise ConfigurationError(f"{why}; nothing was changed")
    return password
