"""Rows read page by page: memory is that of a page, and no transaction lasts while its rows are used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from sqlalchemy import Column, RowMapping, Select

from dicomrelay.ledger.engine import Database

PAGE: Final = 1000


def pages(
    database: Database, query: Select[Any], key: Column[Any], *, size: int | None = None
) -> Iterator[Sequence[RowMapping]]:
    """The rows of a query in the order of a key, which is one of its columns, unique and never NULL.

    Each page begins behind the last row of the one before: what is added or removed meanwhile moves nothing.

    Parameters
    ----------
    size : int, optional
        Rows of a page, 1000 when not given.

    Raises
    ------
    ServiceUnavailable
        The database does not answer.
    """
    size = size or PAGE
    query = query.order_by(key).limit(size)
    page = query
    while True:
        with database.read() as work:
            rows = work.connection.execute(page).mappings().all()
        if rows:
            yield rows
        if len(rows) < size:
            return
        page = query.where(key > rows[-1][key.name])
