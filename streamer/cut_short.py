"""Answers that end before their end, once the status is out: a line in the log says which and why, with no traceback."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator

from dicomrelay.errors import RelayError
from dicomrelay.log import get_logger

_log = get_logger("dicomrelay.streamer")


class CutShortError(Exception):
    """Ends a connection, which tells the client that something is missing. The log has said why."""


def told(body: Iterator[bytes], path: str) -> Iterator[bytes]:
    """A body that says in the log why it cannot go on. Raises CutShortError."""
    try:
        yield from body
    except (RelayError, OSError, EOFError) as error:
        raise _cut_short(error, path) from None


async def told_later(body: AsyncIterator[bytes], path: str) -> AsyncIterator[bytes]:
    """The same of a body for coroutines."""
    try:
        async for piece in body:
            yield piece
    except (RelayError, OSError, EOFError) as error:
        raise _cut_short(error, path) from None


def without_tracebacks() -> None:
    """Have uvicorn say nothing of what was told."""
    logging.getLogger("uvicorn.error").addFilter(_is_news)


def _cut_short(error: Exception, path: str) -> CutShortError:
    # Not the whole of an OSError: its path may hold the patient id.
    why = str(error) if isinstance(error, RelayError) else getattr(error, "strerror", None)
    _log.error(
        "answer cut short", action="streamer.answer", path=path[:400], error=why or type(error).__name__
    )
    return CutShortError("answer cut short")


def _is_news(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], CutShortError))
