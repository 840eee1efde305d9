"""The process that edits: one line of JSON in, one out, until its input ends (`transcode.child` has its bounds)."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

from dicomrelay.dicom.elements import ElementSyntax
from dicomrelay.dicom.transfer_syntaxes import transfer_syntax
from dicomrelay.edits.files import Edited, edit
from dicomrelay.edits.reading import TreeLimits
from dicomrelay.edits.wire import from_wire
from dicomrelay.errors import NotEditable
from dicomrelay.transcode import TranscodeLimits
from dicomrelay.transcode.child import serve
from dicomrelay.transcode.deflate import deflate, inflate
from dicomrelay.transcode.writer import digest_of

_MAX_UID: Final = 64
# An answer is one short line: whoever looks at a profile sees so many characters of what it did.
_MAX_WORDS: Final = 24_000


def main(parent: int, limits: TranscodeLimits) -> None:
    """Edit until the input ends."""

    def work(asked: dict[str, Any]) -> dict[str, Any]:
        edited = edited_copy(asked, limits)
        return {
            "length": edited.length,
            "digest": edited.digest,
            "uid": edited.sop_instance_uid[:_MAX_UID],
            "changes": list(_in_words(edited)),
        }

    serve(parent, limits, work)


def edited_copy(asked: dict[str, Any], limits: TranscodeLimits) -> Edited:
    """What is asked for, in the file that it is to be in.

    Raises
    ------
    NotEditable, NotTranscodable
        It cannot be done, or not within the limits.
    OSError
        A file cannot be read or written.
    """
    syntax = transfer_syntax(asked["from"])
    path = Path(asked["copy"])
    profiles = [from_wire(text) for text in asked["profiles"]]
    # Of an instance whose arrival nobody knows: when its file was written, which no attempt changes.
    at_ms = asked["at_ms"] or int(Path(asked["source"]).stat().st_mtime * 1000)
    try:
        elements = ElementSyntax.of(implicit=syntax.is_implicit_vr, little_endian=syntax.is_little_endian)
        tree_limits = TreeLimits(max_depth=limits.max_depth)
        with Path(asked["source"]).open("rb") as source, path.open("x+b") as out:
            begin, length = asked["offset"], asked["length"]
            if not syntax.is_deflated:
                return edit(
                    profiles,
                    source,
                    out,
                    begin=begin,
                    end=begin + length,
                    syntax=elements,
                    at_ms=at_ms,
                    limits=tree_limits,
                )
            with _beside(path, ".inflated") as whole, _beside(path, ".plain") as plain:
                source.seek(begin)
                inflated = inflate(source, length, whole, limits)
                whole.flush()
                made = edit(
                    profiles,
                    whole,
                    plain,
                    begin=0,
                    end=inflated,
                    syntax=elements,
                    at_ms=at_ms,
                    limits=tree_limits,
                )
                if not made.changes:
                    return made
                plain.flush()
                plain.seek(0)
                deflate(plain, made.length, out)
            out.flush()
            size = os.fstat(out.fileno()).st_size
            return Edited(made.changes, made.sop_instance_uid, size, digest_of(out))
    except RecursionError:
        raise NotEditable("sequences stand too deep inside one another") from None


def _in_words(edited: Edited) -> Iterator[str]:
    left = _MAX_WORDS
    for change in edited.changes:
        words = str(change)
        left -= len(words)
        if left < 0:
            yield "more"
            return
        yield words


@contextmanager
def _beside(path: Path, suffix: str) -> Iterator[BinaryIO]:
    """A file that has no name any more when it is used."""
    beside = path.with_suffix(suffix)
    with beside.open("x+b") as file:
        beside.unlink()
        yield file


if __name__ == "__main__":
    main(int(sys.argv[1]), TranscodeLimits(**json.loads(sys.argv[2])))
