"""Errors of the driver as ours: of whose database they are, and what helps. Their text holds no parameters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from dicomrelay.errors import (
    ArchiveIndexDamaged,
    ArchiveIndexError,
    LedgerError,
    RelayError,
    ServiceUnavailable,
)

# PostgreSQL's deadlock_detected and serialization_failure: this transaction was undone, so that another one could go on.
_UNDONE: Final = ("40P01", "40001")
# What SQLite says (sqlite.org/rescode.html): of NOTADB and CORRUPT, of READONLY, of FULL.
_DAMAGED: Final = ("not a database", "malformed")
_READ_ONLY: Final = "readonly database"
_FULL: Final = "disk is full"


class Undone(ServiceUnavailable):
    """The database undid a transaction, all of it, because it and another one waited for each other."""


@dataclass(frozen=True, slots=True)
class Whose:
    """Whose database it is.

    Attributes
    ----------
    name : str
        How a sentence about it begins.
    refused, damaged : type of RelayError
        When it refused a statement, and when its file is damaged.
    if_damaged, if_read_only, if_full : str
        What helps then.
    """

    name: str
    refused: type[RelayError]
    damaged: type[RelayError]
    if_damaged: str = ""
    if_read_only: str = ""
    if_full: str = ""


LEDGER: Final = Whose("The ledger", LedgerError, LedgerError)
ARCHIVE_INDEX: Final = Whose(
    "The archive's index",
    ArchiveIndexError,
    ArchiveIndexDamaged,
    if_damaged="its file is damaged: `dicomrelay archive rebuild-index` makes it anew from the stored files",
    if_read_only="it is read-only: the archive can only be read here",
    if_full="its disk is full: make room, then run it again",
)


@contextmanager
def mapped_errors(shown_place: str, whose: Whose = LEDGER) -> Iterator[None]:
    """Errors of the driver as ours.

    Parameters
    ----------
    shown_place : str
        Where the database is, without a password.
    """
    about = f"{whose.name} {shown_place}"
    try:
        yield
    except PoolTimeout:
        raise ServiceUnavailable(f"{about} does not work: no connection is free") from None
    except DBAPIError as error:
        raise _as_ours(error, about, whose) from error


def _as_ours(error: DBAPIError, about: str, whose: Whose) -> RelayError:
    line = first_line(error)
    if whose.if_damaged and any(words in line for words in _DAMAGED):
        return whose.damaged(f"{about} does not work ({line}): {whose.if_damaged}")
    if not isinstance(error, OperationalError):
        return whose.refused(f"{about} refused a statement: {line}")
    kind = Undone if getattr(error.orig, "sqlstate", None) in _UNDONE else ServiceUnavailable
    helps = whose.if_read_only if _READ_ONLY in line else whose.if_full if _FULL in line else ""
    return kind(f"{about} does not work ({line}): {helps}" if helps else f"{about} does not work: {line}")


def first_line(error: DBAPIError) -> str:
    """What the driver says. PostgreSQL's second line (DETAIL) quotes values."""
    lines = str(error.orig).strip().splitlines()
    return lines[0] if lines else type(error.orig).__name__
