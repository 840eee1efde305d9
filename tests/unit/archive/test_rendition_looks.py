"""Windows, tables, palettes and colours, by the words of the standard; what can be asked for."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive.renditions.colour import as_bytes, rgb_of_ybr, unfolded_422
from archive.renditions.gray import GrayLook, LookUpTable, brightness, through
from archive.renditions.request import (
    PictureRequest,
    Region,
    Window,
    parse_fractions,
    parse_quality,
    parse_viewport,
    parse_window,
)
from archive.renditions.tables import expanded
from dicomrelay.errors import ConfigurationError, NotTranscodable


def test_a_linear_window_has_the_steps_of_the_standard() -> None:
    """PS3.3 Section C.11.2.1.2.1: c = 2048, w = 4096 on 12 bits."""
    x = np.array([0, 1, 2048, 4095, 5000])
    assert through(x, Window(2048, 4096)) == pytest.approx([0, 255 / 4095, 2048 * 255 / 4095, 255, 255])
    # A width of 1 is a threshold.
    assert through(np.array([99, 100]), Window(100, 1)).tolist() == [0, 255]


def test_linear_exact_and_sigmoid() -> None:
    """PS3.3 Sections C.11.2.1.3.2 and C.11.2.1.3.1."""
    assert through(np.array([-1, 0, 50, 100, 101]), Window(50, 100, "LINEAR_EXACT")).tolist() == [
        0, 0, 127.5, 255, 255,
    ]  # fmt: skip
    sigmoid = through(np.array([-(10**9), 50, 75, 10**9]), Window(50, 100, "SIGMOID"))
    assert sigmoid == pytest.approx([0, 127.5, 255 / (1 + np.exp(-1)), 255])


@given(
    bits=st.integers(1, 16),
    signed=st.booleans(),
    slope=st.floats(0.001, 50),
    intercept=st.floats(-5000, 5000),
    inverted=st.booleans(),
    window=st.none() | st.builds(Window, st.floats(-3000, 3000), st.floats(1, 5000)),
    seed=st.integers(0, 2**32),
)
def test_the_table_gives_what_each_value_gives_alone(
    bits: int, signed: bool, slope: float, intercept: float, inverted: bool, window: Window | None, seed: int
) -> None:
    low = -(1 << (bits - 1)) if signed else 0
    kind = np.int16 if signed else np.uint16
    values = np.random.default_rng(seed).integers(low, low + (1 << bits), (5, 7)).astype(kind)
    look = GrayLook(bits, signed, slope=slope, intercept=intercept, is_inverted=inverted)
    ends = np.array([values.min(), values.max()]) * slope + intercept
    real = values * slope + intercept
    if window is not None:
        expected = through(real, window)
    elif look.spans_all:
        expected = real * (255.0 / ((1 << bits) - 1))
    elif ends[1] > ends[0]:
        expected = (real - ends[0]) * (255.0 / (ends[1] - ends[0]))
    else:
        expected = np.zeros((5, 7))
    expected = 255 - expected if inverted else expected
    assert np.abs(brightness(values, look, window) - expected).max() <= 0.5 + 1e-6


def test_padding_is_not_stretched_to_and_what_is_no_number_is_black() -> None:
    values = np.array([[-2000, 0, 50, 100]], np.int16)
    look = GrayLook(16, is_signed=True, padding=(-2000, -2000))
    assert brightness(values, look).tolist() == [[0, 0, 128, 255]]
    floats = np.array([[np.nan, 0.0, 1.0, np.inf]])
    assert brightness(floats, GrayLook(64, is_float=True)).tolist() == [[0, 0, 255, 255]]


def test_tables_end_at_their_ends() -> None:
    table = LookUpTable(10, np.array([0.0, 100.0, 255.0]), 8)
    values = np.array([[0, 10, 11, 12, 99]], np.uint8)
    assert brightness(values, GrayLook(8, voi=table)).tolist() == [[0, 0, 100, 255, 255]]


def test_segments_are_written_out() -> None:
    """PS3.3 Section C.7.9.2: three entries as they are, a line to 10, the first segment once more."""
    assert expanded([0, 3, 1, 2, 2, 1, 4, 10], entry_bytes=2) == [1, 2, 2, 4, 6, 8, 10]
    assert expanded([0, 2, 7, 8, 2, 1, 0, 0], entry_bytes=2) == [7, 8, 7, 8]
    assert expanded([0, 2, 7, 8, 2, 1, 0, 0, 0, 0], entry_bytes=1) == [7, 8, 7, 8]


@given(st.lists(st.integers(0, 65535), max_size=40), st.sampled_from([1, 2]))
def test_no_palette_takes_more_than_it_may(words: list[int], entry_bytes: int) -> None:
    with suppress(NotTranscodable):
        assert len(expanded(words, entry_bytes=entry_bytes)) <= 65_536


def test_a_palette_that_repeats_itself_is_bounded() -> None:
    """Each of 65,535 times the first segment of 65,535 entries."""
    assert len(expanded([0, 8, *range(8), 1, 65535, 9, *[2, 65535, 0, 0] * 100], entry_bytes=2)) == 65_536


def test_colours() -> None:
    ybr = np.array([[[0, 128, 128], [255, 128, 128], [76, 85, 255], [29, 255, 107]]], np.uint8)
    assert rgb_of_ybr(ybr).tolist() == [[[0, 0, 0], [255, 255, 255], [254, 0, 0], [0, 0, 254]]]
    assert unfolded_422(np.array([1, 2, 3, 4], np.uint8), 1, 2).tolist() == [[[1, 3, 4], [2, 3, 4]]]
    assert as_bytes(np.array([0, 4095], np.uint16), 12).tolist() == [0, 255]
    assert as_bytes(np.array([0, 1], np.uint8), 1).tolist() == [0, 255]


def test_what_is_asked_for_is_read() -> None:
    assert parse_window("40.5,400,SIGMOID") == Window(40.5, 400, "SIGMOID")
    assert parse_viewport("10,20") == (10, 20, None)
    assert parse_viewport("10,20,,,-5,6") == (10, 20, Region(0, 0, 5, 6, mirror_x=True))
    assert parse_fractions("0,0.25,1,1") == Region(0, 0.25, 1, 0.75, is_fraction=True)
    wanted = PictureRequest(region=Region(1, 2, 3, 4), window=Window(1, 2))
    assert PictureRequest.from_json(wanted.as_json()) == wanted
    assert wanted.key != PictureRequest().key


@given(st.text(alphabet="0123456789,.-+eE linear\0é", max_size=40))
def test_whatever_is_written_is_read_or_refused(text: str) -> None:
    for parse in (parse_window, parse_viewport, parse_quality, parse_fractions):
        with suppress(ConfigurationError):
            parse(text)
