"""The database's clock. Every time in the ledger is read from it, so that hosts need not agree on theirs."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


class NowMs(FunctionElement[int]):
    """Epoch milliseconds, as an SQL expression."""

    type = BigInteger()
    inherit_cache = True


@compiles(NowMs, "sqlite")
def _sqlite(element: NowMs, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ARG001 # signature is SQLAlchemy's
    # 2440587.5 is the Julian day of 1970-01-01; a double holds today's to 0.05 ms.
    return "CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER)"


@compiles(NowMs, "postgresql")
def _postgresql(element: NowMs, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ARG001 # signature is SQLAlchemy's
    return "CAST(extract(epoch FROM statement_timestamp()) * 1000 AS BIGINT)"
