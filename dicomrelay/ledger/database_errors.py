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
# read_only_sql_transaction: this server is a standby now, or was made read-only; idle_in_transaction_session_timeout: we were
# stopped in the midst of a transaction, and it is over. Both are errors of the session: with another one it may be well.
_READ_ONLY_SERVER: Final = "25006"
_OF_THE_SESSION: Final = (_READ_ONLY_SERVER, "25P03")
# What SQLite says (sqlite.org/rescode.html): of NOTADB and CORRUPT, of READONLY, of FULL.
_DAMAGED: Final = ("not a database", "malformed")
_READ_ONLY: Final = "readonly database"
_FULL: Final = "disk is full"


_IF_STANDBY: Final = (
    "this server can only be read: where another one is the primary now, name both in database.url as host1,host2, "
    "with target_session_attrs=read-write"
)


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
    if not isinstance(error, OperationalError) and not is_of_the_session(error.orig):
        return whose.refused(f"{about} refused a statement: {line}")
    kind = Undone if _sqlstate(error.orig) in _UNDONE else ServiceUnavailable
    helps = whose.if_read_only if _READ_ONLY in line else whose.if_full if _FULL in line else ""
    if _sqlstate(error.orig) == _READ_ONLY_SERVER:
        helps = _IF_STANDBY
    return kind(f"{about} does not work ({line}): {helps}" if helps else f"{about} does not work: {line}")


def is_of_the_session(error: BaseException | None) -> bool:
    """Whether PostgreSQL's error says that no connection to this server is worth keeping."""
    return _sqlstate(error) in _OF_THE_SESSION


def _sqlstate(error: BaseException | None) -> str:
    return str(getattr(error, "sqlstate", None) or "")


def first_line(error: DBAPIError) -> str:
    """What the driver says. PostgreSQL's second line (DETAIL) quotes values."""
    lines = str(error.orig).strip().splitlines()
    return lines[0] if lines else type(error.orig).__name__
