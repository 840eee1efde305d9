"""`dicomrelay users token`."""

from __future__ import annotations

from typing import Final

from dicomrelay.cli.lazy_group import LazyGroup

_HERE: Final = "dicomrelay.cli.accounts"

command = LazyGroup(
    "token",
    modules={
        "add": (f"{_HERE}.token_add", "A new token of a user; it is shown once."),
        "remove": (f"{_HERE}.token_remove", "Take a token out."),
    },
    help="Tokens of users, for programs: 256 random bits in `Authorization: Bearer`.",
)
