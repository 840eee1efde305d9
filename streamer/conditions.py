"""What a client has already, and which part it wants: ETag, If-None-Match, Range, If-Range (RFC 9110 Sections 8.8, 13, 14).

No I/O: header fields in, answers out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from streamer.answers import HttpError, Scope

_LONGEST_FIELD: Final = 4096
_TAGS: Final = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')
_SPAN: Final = re.compile(r"([0-9]+)-([0-9]*)|-([0-9]+)", re.ASCII)
_CONDITIONS: Final = frozenset({b"range", b"if-range", b"if-none-match"})
_UNIT: Final = "bytes="
Fields = list[tuple[bytes, bytes]]


_VARY: Final = (b"vary", b"Accept")
_LASTING: Final = ((b"cache-control", b"private, max-age=31536000, immutable"), _VARY)
_ASKED: Final = ((b"cache-control", b"private, no-cache"), _VARY)


@dataclass(frozen=True, slots=True)
class Span:
    """Some of the bytes of a representation: from `start` to before `end`."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """How many bytes."""
        return self.end - self.start

    def content_range(self, whole: int) -> bytes:
        """The value of Content-Range."""
        return b"bytes %d-%d/%d" % (self.start, self.end - 1, whole)


@dataclass(frozen=True, slots=True)
class Caching:
    """What `streamer.cache` says: "no-store", "revalidate" or "immutable"."""

    policy: str = "revalidate"

    @property
    def is_kept(self) -> bool:
        """Whether clients may keep anything."""
        return self.policy != "no-store"

    def fields(self, etag: str, *, lasts: bool) -> Fields:
        """The fields of an answer with that ETag.

        Parameters
        ----------
        lasts : bool
            It is about one instance's bytes, which do not change unless the archive replaces instances.
        """
        if not self.is_kept:
            return []
        lasting = lasts and self.policy == "immutable"
        return [(b"etag", etag.encode("latin-1")), *(_LASTING if lasting else _ASKED)]


def strong(digest: str, form: str) -> str:
    """The ETag of bytes that follow from a data set with that digest, in one form."""
    return f'"{digest[:32]}-{form}"'


def weak(digest: str, form: str) -> str:
    """The ETag of what means the same, with other bytes around it."""
    return f'W/"{digest[:32]}-{form}"'


def is_known(fields: Sequence[str], etag: str) -> bool:
    """Whether If-None-Match names the ETag: then 304 is the answer. Compared weakly (RFC 9110 Section 13.1.2)."""
    text = ",".join(fields)[:_LONGEST_FIELD]
    if not text:
        return False
    if text.strip() == "*":
        return True
    return etag.removeprefix("W/") in _TAGS.findall(text)


def conditions(scope: Scope) -> dict[bytes, list[str]] | None:
    """Range, If-Range and If-None-Match of a request by name; None when it has none of them, as most have."""
    found: dict[bytes, list[str]] | None = None
    for name, value in scope["headers"]:
        if name in _CONDITIONS:
            found = {} if found is None else found
            found.setdefault(name, []).append(value.decode("latin-1"))
    return found


def wanted_span(ranges: Sequence[str], if_range: Sequence[str], *, etag: str, length: int) -> Span | None:
    """The bytes that a client wants; None for all of them.

    Parameters
    ----------
    ranges, if_range : sequence of str
        The values of these fields.
    etag : str
        Of what would be sent; only a strong one holds for If-Range.
    length : int
        Of what would be sent whole, in bytes.

    Raises
    ------
    HttpError
        400: Range is malformed. 416: it begins behind the end.
    """
    if not ranges or (if_range and (if_range != [etag] or etag.startswith("W/"))):
        return None
    text = ranges[0].strip()
    if not text.lower().startswith(_UNIT):
        return None  # another unit is passed over (RFC 9110 Section 14.2)
    if len(ranges) > 1 or len(text) > _LONGEST_FIELD:
        raise _malformed(text)
    spans = [_SPAN.fullmatch(part.strip()) for part in text[len(_UNIT) :].split(",")]
    found = [span for span in spans if span is not None]
    if len(found) < len(spans) or any(_is_backward(span) for span in found):
        raise _malformed(text)
    if len(found) > 1:
        return None  # a server may answer whole; nobody here needs several at once
    first, last, suffix = found[0].groups()
    if suffix is not None:
        start, end = max(0, length - int(suffix)), length
    else:
        start, end = int(first), min(length, int(last) + 1) if last else length
    if start >= end:
        raise HttpError(
            416, f"there are {length} bytes, from 0 on", headers=((b"content-range", b"bytes */%d" % length),)
        )
    return Span(start, end)


def _is_backward(span: re.Match[str]) -> bool:
    return bool(span[1] and span[2]) and int(span[1]) > int(span[2])


def _malformed(text: str) -> HttpError:
    return HttpError(400, f"Range: {text[:80]!r} is none; write bytes=0-499, bytes=500- or bytes=-500")


def span_fields(span: Span | None, *, length: int, has_ranges: bool = True) -> Fields:
    """Content-Length, Accept-Ranges and, of a part, Content-Range."""
    fields: Fields = [
        (b"content-length", str(length if span is None else span.length).encode()),
        (b"accept-ranges", b"bytes" if has_ranges else b"none"),
    ]
    if span is not None:
        fields.append((b"content-range", span.content_range(length)))
    return fields


def as_text(fields: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Fields as Starlette takes them."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in fields}
