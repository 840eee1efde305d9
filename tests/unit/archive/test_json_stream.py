"""JSON read piece by piece says what the standard library says, whole or byte by byte."""

from __future__ import annotations

import io
import json
from typing import Any, Final, TextIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive import json_stream
from archive.json_stream import JsonStream
from dicomrelay.errors import ArchiveError

VALUES: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


class Dripping(io.StringIO):
    """Gives a few characters at a time."""

    def read(self, size: int | None = -1) -> str:
        return super().read(3)


def walked(stream: JsonStream, like: Any) -> Any:
    """All of it, by walking where that can be."""
    if isinstance(like, dict):
        return {key: walked(stream, like[key]) for key in stream.members()}
    if isinstance(like, list):
        left = iter(like)
        return [walked(stream, next(left)) for _ in stream.elements()]
    return stream.value()


@given(VALUES, st.sampled_from([None, 1, "\t"]), st.booleans(), st.booleans())
def test_what_is_written_is_read(value: Any, indent: Any, ascii_only: bool, drips: bool) -> None:
    """Objects, arrays, numbers, text with escapes; in pieces of any size."""
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    file: TextIO = Dripping(text) if drips else io.StringIO(text)
    stream = JsonStream(file, "x")

    assert walked(stream, value) == value
    stream.end()


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[", '{"a"', '{"a":', '{"a":1', '{"a":1,', '{"a":1,}', "[1,]", "[1 2]", '{"a":1}x', "{1:2}", '["a', "nul",
        "[" * 100_000, '{"a":' + "9" * 5000 + "}",
    ],
)  # fmt: skip
def test_what_is_no_json_is_refused_with_its_place(text: str) -> None:
    """An error of ours, and no other."""
    with pytest.raises(ArchiveError, match="at character"):
        _all(JsonStream(io.StringIO(text), "x"))


def _all(stream: JsonStream) -> None:
    for _ in stream.members():
        stream.value()
    stream.end()


@given(st.text(st.sampled_from('{}[]",:019.eE+-truefalsn\\u \n'), max_size=30))
def test_noise_is_read_or_refused(text: str) -> None:
    """Never another error."""
    try:
        _all(JsonStream(io.StringIO(text), "x"))
    except ArchiveError:
        return
    assert isinstance(json.loads(text), dict)


def test_a_value_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Text without an end costs no more than the bound and a piece."""

    class Endless(io.StringIO):
        given = 0

        def read(self, size: int | None = -1) -> str:
            self.given += size or 0
            return "x" * (size or 0) if self.given > (size or 0) else '{"a": "'

    file = Endless()
    with pytest.raises(ArchiveError, match="too large"):
        _all(JsonStream(file, "x"))
    assert file.given <= json_stream.LARGEST_VALUE + 4 * 65_536


def test_bytes_that_are_no_utf_8_are_refused() -> None:
    """With the place before them."""
    file = io.TextIOWrapper(io.BytesIO(b'{"a": "\xff"}'), encoding="utf-8")
    with pytest.raises(ArchiveError, match="UTF-8"):
        _all(JsonStream(file, "x"))
