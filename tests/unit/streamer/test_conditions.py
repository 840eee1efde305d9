"""ETags and ranges of bytes, by header fields alone (RFC 9110 Sections 13 and 14)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.answers import HttpError
from streamer.conditions import Caching, Span, conditions, is_known, strong, wanted_span, weak

TAG = '"abc-f1"'


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("bytes=0-0", Span(0, 1)),
        ("bytes=0-99", Span(0, 100)),
        ("bytes=90-", Span(90, 100)),
        ("bytes=90-4000", Span(90, 100)),
        ("bytes=90-" + "9" * 40, Span(90, 100)),
        ("bytes=-" + "9" * 40, Span(0, 100)),
        ("bytes=-10", Span(90, 100)),
        ("bytes=-4000", Span(0, 100)),
        ("Bytes= 5-9 ", Span(5, 10)),
        ("bytes=0-4,10-14", None),
        ("pages=1-2", None),
    ],
)
def test_a_range_is_what_the_standard_says(text: str, span: Span | None) -> None:
    """Of 100 bytes; several ranges and other units are answered whole."""
    assert wanted_span([text], [], etag=TAG, length=100) == span


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("bytes=100-", 416),
        ("bytes=-0", 416),
        ("bytes=9999999999999999999-", 416),
        ("bytes=", 400),
        ("bytes=a-b", 400),
        ("bytes=9-5", 400),
        ("bytes=0-4,,", 400),
        ("bytes=0-4,9-5", 400),
        ("bytes=" + "9" * 4000 + "-", 416),
        ("bytes=\u0661-", 400),
        ("bytes=" + "0-1," * 2000, 400),
    ],
)
def test_a_range_that_is_none_is_refused(text: str, status: int) -> None:
    """416 behind the end, with the length; 400 for what is no range."""
    with pytest.raises(HttpError) as refused:
        wanted_span([text], [], etag=TAG, length=100)

    assert refused.value.status == status
    assert refused.value.headers == (((b"content-range", b"bytes */100"),) if status == 416 else ())


def test_a_range_of_nothing_is_behind_its_end() -> None:
    """An empty value has no first byte."""
    with pytest.raises(HttpError, match="there are 0 bytes"):
        wanted_span(["bytes=0-"], [], etag=TAG, length=0)


@pytest.mark.parametrize(
    ("if_range", "holds"),
    [(TAG, True), ('"other"', False), (f"W/{TAG}", False), ("Sat, 29 Oct 1994 19:43:31 GMT", False)],
)
def test_if_range_holds_with_the_same_strong_etag_only(if_range: str, holds: bool) -> None:
    """Else the whole is sent, so that a client never joins parts of two things."""
    found = wanted_span(["bytes=0-9"], [if_range], etag=TAG, length=100)

    assert found == (Span(0, 10) if holds else None)


def test_a_weak_etag_never_holds_for_a_range() -> None:
    """Its bytes may be others."""
    assert wanted_span(["bytes=0-9"], [f"W/{TAG}"], etag=f"W/{TAG}", length=100) is None


@given(st.integers(0, 300), st.integers(0, 300), st.integers(1, 200))
def test_any_range_lies_inside(first: int, last: int, length: int) -> None:
    """Whatever is asked for, what is sent is there and not empty."""
    try:
        span = wanted_span([f"bytes={first}-{last}"], [], etag=TAG, length=length)
    except HttpError:
        assert first > last or first >= length
    else:
        assert span is not None
        assert 0 <= span.start < span.end <= length


@pytest.mark.parametrize(
    ("fields", "known"),
    [
        ([TAG], True),
        ([f"W/{TAG}"], True),
        ([f'"x", {TAG}'], True),
        (['"x"', TAG], True),
        (["*"], True),
        ([""], False),
        ([], False),
        (['"abc-f10"'], False),
        (["abc-f1"], False),
        (['"x",' * 2000 + TAG], False),
    ],
)
def test_if_none_match_compares_weakly(fields: list[str], known: bool) -> None:
    """RFC 9110 Section 13.1.2; at most 4 KiB of them."""
    assert is_known(fields, TAG) is known
    assert is_known(fields, f"W/{TAG}") is known


def test_what_may_be_kept_is_what_the_setting_says() -> None:
    """No ETag where nothing may be kept; a year only for what does not change."""
    lasting = dict(Caching("immutable").fields(TAG, lasts=True))
    asked = dict(Caching("immutable").fields(TAG, lasts=False))

    assert Caching("no-store").fields(TAG, lasts=True) == []
    assert (lasting[b"etag"], b"immutable" in lasting[b"cache-control"]) == (TAG.encode(), True)
    assert asked[b"cache-control"] == b"private, no-cache"
    assert dict(Caching().fields(TAG, lasts=True))[b"cache-control"] == b"private, no-cache"
    assert (strong("0" * 64, "f1"), weak("0" * 64, "m")) == (f'"{"0" * 32}-f1"', f'W/"{"0" * 32}-m"')


def test_a_request_without_conditions_costs_nothing() -> None:
    """None, and not something empty; else the values by name."""
    assert conditions({"headers": [(b"accept", b"*/*")]}) is None
    assert conditions({"headers": [(b"range", b"a"), (b"range", b"b")]}) == {b"range": ["a", "b"]}
