"""From one native transfer syntax to another: each value stays, and what the syntax rules changes."""

from __future__ import annotations

import itertools
import zlib
from pathlib import Path

import pytest

from dicomrelay.errors import NotTranscodable
from dicomrelay.transcode import Source, TranscodeLimits, producible
from dicomrelay.transcode.change import change
from tests.support.data_sets import BIG_ENDIAN, DEFLATED, ENCODERS, EXPLICIT, IMPLICIT, UNDEFINED, Encoder

_PLAIN = (IMPLICIT, EXPLICIT, BIG_ENDIAN)
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD


def _changed(
    folder: Path, data: bytes, was: str, becomes: str, limits: TranscodeLimits | None = None
) -> bytes:
    source = folder / "source"
    source.write_bytes(b"before" + data)
    copy = folder / "copy"
    copy.unlink(missing_ok=True)
    made = change(Source(source, 6, len(data), was), becomes, copy, limits or TranscodeLimits())
    assert made.length == copy.stat().st_size
    return copy.read_bytes()


def _numbers(encoder: Encoder, width: int, *numbers: int) -> bytes:
    order = "little" if encoder.order == "<" else "big"
    return b"".join(number.to_bytes(width, order) for number in numbers)  # type: ignore[arg-type]


def _data_set(uid: str) -> bytes:
    """The same instance in each syntax: sequences of both kinds, numbers of every width, odd text, a group length."""
    encoder = ENCODERS[uid]
    element, mark = encoder.element, encoder.mark
    code = element(0x00080100, b"SH", b"121311")
    item_of_a_length = mark(_ITEM, len(code)) + code
    item_without = mark(_ITEM, UNDEFINED) + code + mark(_ITEM_END)
    inner = element(0x00081199, b"SQ", item_of_a_length)
    nested = mark(_ITEM, len(inner)) + inner
    group_28 = b"".join(
        (
            element(0x00280010, b"US", _numbers(encoder, 2, 2)),
            element(0x00280011, b"US", _numbers(encoder, 2, 3)),
            element(0x00280100, b"US", _numbers(encoder, 2, 16)),
            element(0x00280103, b"US", _numbers(encoder, 2, 1)),
            element(0x00280106, b"SS", _numbers(encoder, 2, 0xFFFE)),
        )
    )
    return b"".join(
        (
            element(0x00080005, b"CS", b"ISO_IR 192"),
            element(0x00080016, b"UI", b"1.2.3"),
            element(
                0x00081032, b"SQ", item_without + item_of_a_length + mark(_SEQUENCE_END), length=UNDEFINED
            ),
            element(0x00081115, b"SQ", nested),
            element(0x00100010, b"PN", "Å^Ö".encode()),
            element(0x00189087, b"FD", _numbers(encoder, 8, 0x3FF0000000000001)),
            element(0x00280000, b"UL", _numbers(encoder, 4, len(group_28))),
            group_28,
            element(0x00700273, b"FL", _numbers(encoder, 4, 0x3F800001)),
            element(0x00720060, b"AT", _numbers(encoder, 2, 0x0008, 0x0016)),
            element(0x7FE00010, b"OW", _numbers(encoder, 2, *range(6))),
        )
    )


@pytest.mark.parametrize(("was", "becomes"), list(itertools.permutations(_PLAIN, 2)))
def test_each_plain_syntax_becomes_each_other(tmp_path: Path, was: str, becomes: str) -> None:
    """To the byte, with the lengths that the heads make, and back."""
    assert _changed(tmp_path, _data_set(was), was, becomes) == _data_set(becomes)


@pytest.mark.parametrize("was", _PLAIN)
def test_deflated_is_explicit_little_endian_deflated(tmp_path: Path, was: str) -> None:
    """Out of each plain syntax, and into it again; even on the wire."""
    deflated = _changed(tmp_path, _data_set(was), was, DEFLATED)
    assert len(deflated) % 2 == 0
    assert zlib.decompressobj(-15).decompress(deflated) == _data_set(EXPLICIT)
    assert _changed(tmp_path, deflated, DEFLATED, was) == _data_set(was)


def test_what_only_its_maker_knows_becomes_un_and_keeps_its_bytes(tmp_path: Path) -> None:
    """PS3.5 Section 6.2.2; the creator is LO (Section 7.8.1)."""
    implicit, explicit = ENCODERS[IMPLICIT], ENCODERS[EXPLICIT]
    data = implicit.element(0x00090010, b"LO", b"MAKER 1.0 ") + implicit.element(
        0x00091001, b"UN", b"\1\2\3\4"
    )
    expected = explicit.element(0x00090010, b"LO", b"MAKER 1.0 ") + explicit.element(
        0x00091001, b"UN", b"\1\2\3\4"
    )
    assert _changed(tmp_path, data, IMPLICIT, EXPLICIT) == expected
    assert _changed(tmp_path, expected, EXPLICIT, IMPLICIT) == data


def test_a_private_sequence_without_length_stays_implicit_inside(tmp_path: Path) -> None:
    """UN of undefined length is implicit VR little endian whatever is around it (PS3.5 Section 6.2.2 Note 4)."""
    implicit, explicit, big = ENCODERS[IMPLICIT], ENCODERS[EXPLICIT], ENCODERS[BIG_ENDIAN]
    inside = (
        implicit.mark(_ITEM, UNDEFINED)
        + implicit.element(0x00091010, b"US", b"\1\0")
        + implicit.mark(_ITEM_END)
        + implicit.mark(_SEQUENCE_END)
    )
    in_implicit = implicit.mark(0x00091002, UNDEFINED) + inside
    in_explicit = explicit.element(0x00091002, b"UN", b"", length=UNDEFINED) + inside
    in_big = big.element(0x00091002, b"UN", b"", length=UNDEFINED) + inside
    assert _changed(tmp_path, in_implicit, IMPLICIT, EXPLICIT) == in_explicit
    assert _changed(tmp_path, in_explicit, EXPLICIT, BIG_ENDIAN) == in_big
    assert _changed(tmp_path, in_big, BIG_ENDIAN, IMPLICIT) == in_implicit


def test_a_value_too_long_for_its_vr_becomes_un(tmp_path: Path) -> None:
    """PS3.5 Section 6.2.2 Note 3: 65,534 bytes are the most that a 16-bit length holds."""
    implicit, explicit = ENCODERS[IMPLICIT], ENCODERS[EXPLICIT]
    long = b"1\\" * 40_000
    data = implicit.element(0x00283002, b"US", b"\1\0") + implicit.element(0x30060050, b"DS", long)
    expected = explicit.element(0x00283002, b"US", b"\1\0") + explicit.element(0x30060050, b"UN", long)
    assert _changed(tmp_path, data, IMPLICIT, EXPLICIT) == expected


@pytest.mark.parametrize(("signed", "vr"), [(0, b"US"), (1, b"SS")])
def test_pixel_representation_of_the_item_decides_there(tmp_path: Path, signed: int, vr: bytes) -> None:
    """`US or SS` in the dictionary; the nearest Pixel Representation counts."""
    parts = []
    for uid in (IMPLICIT, EXPLICIT):
        encoder = ENCODERS[uid]
        item = encoder.element(0x00280103, b"US", bytes([signed, 0])) + encoder.element(
            0x00280106, vr, b"\1\0"
        )
        parts.append(
            encoder.element(0x00081140, b"SQ", encoder.mark(_ITEM, len(item)) + item)
            + encoder.element(0x00280103, b"US", bytes([1 - signed, 0]))
        )
    assert _changed(tmp_path, parts[0], IMPLICIT, EXPLICIT) == parts[1]


def test_a_group_length_that_was_wrong_is_right_afterwards(tmp_path: Path) -> None:
    """It counts heads, so it is counted anew."""
    implicit, explicit = ENCODERS[IMPLICIT], ENCODERS[EXPLICIT]
    text = (0x00080016, b"UI", b"1.2.3")
    data = explicit.element(0x00080000, b"UL", b"\xff\xff\0\0") + explicit.element(*text)
    expected = implicit.element(0x00080000, b"UL", b"\x0e\0\0\0") + implicit.element(*text)
    assert _changed(tmp_path, data, EXPLICIT, IMPLICIT) == expected


def test_zeros_at_the_end_are_left_out(tmp_path: Path) -> None:
    """Padding of a file, and no element."""
    data = ENCODERS[EXPLICIT].element(0x00080016, b"UI", b"1.2.3")
    assert _changed(tmp_path, data + bytes(32), EXPLICIT, IMPLICIT) == ENCODERS[IMPLICIT].element(
        0x00080016, b"UI", b"1.2.3"
    )


def _bad() -> dict[str, tuple[str, str, bytes]]:
    explicit, implicit, big = ENCODERS[EXPLICIT], ENCODERS[IMPLICIT], ENCODERS[BIG_ENDIAN]
    uid = (0x00080016, b"UI", b"1.2.3")
    open_sequence = explicit.element(0x00081032, b"SQ", b"", length=UNDEFINED)
    depth = (open_sequence + explicit.mark(_ITEM, UNDEFINED)) * 100
    words = ENCODERS[BIG_ENDIAN].element(0x00280100, b"US", b"\0\x20") + big.element(
        0x7FE00010, b"OW", bytes(8)
    )
    return {
        "has no VR": (EXPLICIT, IMPLICIT, implicit.element(*uid)),
        "are left": (EXPLICIT, IMPLICIT, explicit.element(*uid, length=100)),
        "ends inside an element": (EXPLICIT, IMPLICIT, explicit.element(*uid) + b"\x08\0"),
        "an item does not end": (EXPLICIT, IMPLICIT, open_sequence + explicit.mark(_ITEM, UNDEFINED)),
        "no item where one should be": (EXPLICIT, IMPLICIT, open_sequence + explicit.element(*uid)),
        "more than 64 deep": (EXPLICIT, IMPLICIT, depth),
        "which are no numbers": (EXPLICIT, BIG_ENDIAN, explicit.element(0x00189087, b"FD", bytes(6))),
        "whose byte order nobody knows": (
            EXPLICIT,
            BIG_ENDIAN,
            explicit.element(0x00189087, b"ZZ", b"12"),
        ),
        "programs differ": (BIG_ENDIAN, EXPLICIT, words),
        "says they are not": (
            EXPLICIT,
            IMPLICIT,
            explicit.element(0x7FE00010, b"OB", b"", length=UNDEFINED) + explicit.mark(_SEQUENCE_END),
        ),
        "deflated stream is damaged": (DEFLATED, EXPLICIT, b"\xff\xff\xff\xff"),
        "deflated stream is cut off": (DEFLATED, EXPLICIT, zlib.compress(bytes(999), wbits=-15)[:-4]),
        "cannot be decoded here": ("1.2.840.10008.1.2.4.102", EXPLICIT, b""),
    }


@pytest.mark.parametrize("words", list(_bad()))
def test_what_is_not_understood_is_refused_with_the_reason(tmp_path: Path, words: str) -> None:
    """And nothing is guessed."""
    was, becomes, data = _bad()[words]
    with pytest.raises(NotTranscodable, match=words):
        _changed(tmp_path, data, was, becomes)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (TranscodeLimits(max_elements=3), "more than 3 data elements"),
        (TranscodeLimits(max_depth=1), "more than 1 deep"),
    ],
)
def test_limits_hold(tmp_path: Path, limits: TranscodeLimits, words: str) -> None:
    """Whatever the data set is worth."""
    with pytest.raises(NotTranscodable, match=words):
        _changed(tmp_path, _data_set(EXPLICIT), EXPLICIT, IMPLICIT, limits)


def test_a_bomb_is_stopped(tmp_path: Path) -> None:
    """300 MB of zeros in 300 kB: at 200 times its size, and 64 MiB."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = bytes(1 << 20)
    bomb = b"".join(deflater.compress(block) for _ in range(300)) + deflater.flush()
    with pytest.raises(NotTranscodable, match="becomes more than"):
        _changed(tmp_path, bomb, DEFLATED, EXPLICIT)
    assert not list(tmp_path.glob("*.inflated"))


def test_nothing_is_producible_from_video_or_from_what_nobody_knows() -> None:
    """No guess."""
    assert producible("1.2.840.10008.1.2.4.102") == ()
    assert producible("1.2.3.4") == ()
    assert EXPLICIT not in producible(EXPLICIT)
