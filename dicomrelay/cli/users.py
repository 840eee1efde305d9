"""`dicomrelay users`: who may use the streamer's HTTP and Flower."""

from __future__ import annotations

from typing import Final

from dicomrelay.cli.lazy_group import LazyGroup

_HERE: Final = "dicomrelay.cli.accounts"

command = LazyGroup(
    "users",
    modules={
        "list": (f"{_HERE}.list_users", "Who there is, and what each may."),
        "add": (f"{_HERE}.add", "A new user, with a password or for tokens only."),
        "remove": (f"{_HERE}.remove", "Take a user out, with its tokens."),
        "passwd": (f"{_HERE}.passwd", "Another password for a user."),
        "role": (f"{_HERE}.role", "Another role for a user."),
        "token": (f"{_HERE}.token", "Tokens of users, for programs: add, remove."),
        "hash": (f"{_HERE}.hash_password", "The hash of a password, for [[users]] in the settings."),
    },
    help="Users of the streamer's HTTP and of Flower: viewer, operator, admin. As soon as there is one, both ask who comes. "
    "A relay that runs hears of a change within a second. Passwords are asked for, or read from standard input; none is "
    "ever an option.",
)
