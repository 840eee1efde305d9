"""The bounded header scan: who an instance is, read while its data set flows by.

Never keeps a value it does not want, never touches pixel data, never looks further ahead than one element's
head and one short value. Values are skipped by arithmetic, so that a mapped file of gigabytes costs as little as a
small one. It is lenient where real files are: VRs left out or put in against the transfer syntax, bytes swapped, UIDs
padded with spaces, delimiters forgotten, zeros at the end.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from enum import Enum
from typing import Final

from dicomrelay.dicom.elements import (
    IMPLICIT_LITTLE_ENDIAN,
    SHORT_VRS,
    UNDEFINED_LENGTH,
    ElementSyntax,
    tag_name,
    text,
)
from dicomrelay.dicom.transfer_syntaxes import transfer_syntax
from dicomrelay.errors import MalformedDataSet

SOP_CLASS_UID: Final = 0x00080016
SOP_INSTANCE_UID: Final = 0x00080018
MODALITY: Final = 0x00080060
STUDY_INSTANCE_UID: Final = 0x0020000D
SERIES_INSTANCE_UID: Final = 0x0020000E
NUMBER_OF_FRAMES: Final = 0x00280008

_UIDS: Final = frozenset({SOP_CLASS_UID, SOP_INSTANCE_UID, STUDY_INSTANCE_UID, SERIES_INSTANCE_UID})
_WANTED: Final = _UIDS | {MODALITY, NUMBER_OF_FRAMES}
_PIXEL_DATA_GROUP: Final = 0x7FE00000
_PIXEL_DATA: Final = 0x7FE00010
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD

# A UID has 64 bytes at most (PS3.5 Section 9.1); twice that is still read, so that the refusal can name it.
MAX_VALUE_BYTES: Final = 128
_LOOK_AHEAD_BYTES: Final = 12 + MAX_VALUE_BYTES
_INFLATE_STEP_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class ScanLimits:
    """What a scan may cost, whoever wrote the data set.

    Attributes
    ----------
    max_bytes : int
        Bytes from the start of the data set (inflated, where it is deflated) to the last one looked at.
    max_elements : int
        Elements passed, those in sequences too.
    max_depth : int
        Sequences and items of undefined length that are open at once.
    """

    max_bytes: int = 1 << 32
    max_elements: int = 100_000
    max_depth: int = 64


# By whether the scan is a whole one and whether the data set is deflated: to skip costs nothing, to inflate does.
_LIMITS: Final = {
    (False, False): ScanLimits(),
    (False, True): ScanLimits(max_bytes=64 << 20),
    (True, False): ScanLimits(max_bytes=1 << 40, max_elements=10_000_000, max_depth=256),
    (True, True): ScanLimits(max_bytes=1 << 30, max_elements=10_000_000, max_depth=256),
}


@dataclass(frozen=True, slots=True)
class Header:
    """What a scan found; "" and 0 stand for what the data set does not have or the scan did not reach.

    Attributes
    ----------
    number_of_frames : int
        Only of a whole scan: it stands behind the UIDs.
    """

    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    study_instance_uid: str = ""
    series_instance_uid: str = ""
    modality: str = ""
    number_of_frames: int = 0


class _Place(Enum):
    """Where the next element stands."""

    DATA_SET = "the data set"
    ITEM = "an item"
    SEQUENCE = "a sequence"
    FRAGMENTS = "encapsulated pixel data"


class HeaderScanner:
    """Feed it a data set in pieces of any size; it says when it has seen enough.

    Parameters
    ----------
    transfer_syntax_uid : str
        What the data set is said to be in.
    limits : ScanLimits, optional
        By default 4 GiB, 64 MiB of a deflated data set, and wide ones for a whole scan.
    whole : bool
        Walk to the end of the data set, so that `finish` can tell a truncated one.
    may_list : bool
        The data set is an identifier: a UID of it may be a list of any length, which is then not kept.
    """

    def __init__(
        self,
        transfer_syntax_uid: str,
        *,
        limits: ScanLimits | None = None,
        whole: bool = False,
        may_list: bool = False,
    ) -> None:
        syntax = transfer_syntax(transfer_syntax_uid)
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS) if syntax.is_deflated else None
        self._limits = limits or _LIMITS[whole, syntax.is_deflated]
        self._whole = whole
        self._may_list = may_list
        self._syntax = ElementSyntax.of(implicit=syntax.is_implicit_vr, little_endian=syntax.is_little_endian)
        self._place = _Place.DATA_SET
        self._open: list[
            tuple[_Place, ElementSyntax]
        ] = []  # what to go back to when a sequence or an item ends
        self._values: dict[int, str] = {}
        self._elements = 0
        self._tag = 0  # of the element whose value is being skipped
        self._seen = 0  # bytes fed
        self._next = (
            0  # where the next element begins: before `_seen` with a carry, beyond it in a long value
        )
        self._carry = b""  # the bytes from `_next` to `_seen`: less than an element's head and a short value
        self._done = False

    @property
    def header(self) -> Header:
        """What was found so far."""
        found = self._values.get
        frames = found(NUMBER_OF_FRAMES, "")
        return Header(
            found(SOP_CLASS_UID, ""),
            found(SOP_INSTANCE_UID, ""),
            found(STUDY_INSTANCE_UID, ""),
            found(SERIES_INSTANCE_UID, ""),
            found(MODALITY, ""),
            int(frames) if frames.isdecimal() else 0,
        )

    def feed(self, data: memoryview) -> bool:
        """Take the next bytes of the data set.

        Returns
        -------
        bool
            True when nothing more is wanted.

        Raises
        ------
        MalformedDataSet
            The bytes are no data set, or a limit is passed.
        """
        if self._done:
            return True
        if self._inflater is None:
            self._take(data)
        else:
            self._inflate(self._inflater, data)
        return self._done

    def finish(self) -> Header:
        """The data set is complete.

        Raises
        ------
        MalformedDataSet
            It ends inside an element, or inside a deflated stream: it is truncated.
        """
        if self._done:
            return self.header
        if self._inflater is not None and not self._inflater.eof:
            raise MalformedDataSet("the deflated stream is truncated", offset=self._seen)
        if self._next > self._seen:
            raise MalformedDataSet(
                f"truncated at byte {self._seen}: the value of {tag_name(self._tag)} "
                f"goes on for {self._next - self._seen} more bytes",
                offset=self._seen,
            )
        if self._carry.strip(b"\0"):
            raise MalformedDataSet(f"truncated at byte {self._seen}: inside an element", offset=self._seen)
        if self._open:
            raise MalformedDataSet(
                f"truncated at byte {self._seen}: inside {self._place.value} of undefined length",
                offset=self._seen,
            )
        self._done = True
        return self.header

    def _inflate(self, inflater: zlib._Decompress, data: memoryview) -> None:
        """Inflate in steps, so that a small input never becomes much memory."""
        pending: bytes | memoryview = data
        full = True  # the last step filled its room, so there may be more to come without more input
        while (pending or full) and not self._done and not inflater.eof:
            try:
                inflated = inflater.decompress(pending, _INFLATE_STEP_BYTES)
            except zlib.error as error:
                raise MalformedDataSet(
                    f"the deflated stream cannot be inflated: {error}", offset=self._seen
                ) from error
            pending, full = inflater.unconsumed_tail, len(inflated) == _INFLATE_STEP_BYTES
            if self._seen + len(inflated) > self._limits.max_bytes:
                self._limit(f"the data set inflates to more than {self._limits.max_bytes} bytes", self._seen)
            self._take(memoryview(inflated))

    def _take(self, data: memoryview) -> None:
        start = self._seen
        self._seen += len(data)
        if self._carry and not self._take_carry(data, start):
            return
        if self._done or self._next >= self._seen:
            return
        stopped = self._walk(data, self._next - start, len(data), start)
        self._next = start + stopped
        if stopped < len(data) and not self._done:
            self._carry = bytes(data[stopped:])

    def _take_carry(self, data: memoryview, start: int) -> bool:
        """Walk what was left over, with the first bytes of `data` behind it; False when even that is too little."""
        joint = memoryview(self._carry + bytes(data[:_LOOK_AHEAD_BYTES]))
        base = self._next
        stopped = self._walk(joint, 0, len(self._carry), base)
        self._next = base + stopped
        if self._next < start and not self._done:
            self._carry = bytes(joint[stopped:])
            return False
        self._carry = b""
        return True

    def _walk(self, data: memoryview, pos: int, stop: int, base: int) -> int:
        """Pass the elements that begin before `stop`; where the next one begins, perhaps beyond the data.

        `base` is the offset of `data` in the data set. Stops early where an element's head, or a value that is
        wanted, is not whole.
        """
        end = len(data)
        if self._elements == 0 and end - pos >= 8:
            # The first element is believed more than the transfer syntax: real files and peers mislabel.
            self._syntax = self._syntax.as_seen(bytes(data[pos : pos + 8]))
        last = UNDEFINED_LENGTH if self._whole else SERIES_INSTANCE_UID
        max_elements, farthest = self._limits.max_elements, self._limits.max_bytes - base
        # Held in names of this call: it is the loop that every element of every instance goes through.
        elements, passed, syntax, place = self._elements, self._tag, self._syntax, self._place
        in_data_set, in_item, wanted, short = _Place.DATA_SET, _Place.ITEM, _WANTED, SHORT_VRS
        implicit, take_apart = syntax.implicit, syntax.head.unpack_from
        try:
            while pos < stop and end - pos >= 8:
                if implicit:
                    group, element, length = take_apart(data, pos)
                    vr, value = b"", pos + 8
                else:
                    group, element, vr, length = take_apart(data, pos)
                    value = pos + 8
                    if vr not in short or group == 0xFFFE:
                        vr, value, length = syntax.long_head(data, pos, group, vr)
                        if value > end:
                            return pos
                tag = group << 16 | element
                if (
                    length != UNDEFINED_LENGTH
                    and group != 0xFFFE
                    and (place is in_item or (place is in_data_set and tag <= last and tag not in wanted))
                    and tag
                ):
                    following = value + length
                elif (
                    tag in wanted
                    and place is in_data_set
                    and tag <= last
                    and length <= MAX_VALUE_BYTES
                    and value + length <= end
                ):  # as `_notable` would; it is so nearly always
                    following = value + length
                    self._values.setdefault(tag, text(bytes(data[value:following])))
                else:
                    following = self._notable(data, base + pos, tag, vr, value, length)
                    if following < 0 or self._done:
                        return pos
                    if syntax is not self._syntax:
                        syntax = self._syntax
                        implicit, take_apart = syntax.implicit, syntax.head.unpack_from
                    place = self._place
                elements += 1
                passed = tag
                pos = following
                if elements > max_elements or pos > farthest:
                    self._elements, self._tag = elements, passed
                    self._limit(self._which_limit(), base + min(pos, end))
                    if self._done:
                        return pos
            return pos
        finally:
            self._elements, self._tag = elements, passed

    def _notable(self, data: memoryview, offset: int, tag: int, vr: bytes, value: int, length: int) -> int:
        """An element that is more than something to skip: where the next begins, or -1 when its value is not all here."""
        if tag >> 16 == 0xFFFE:
            return self._delimiter(offset, tag, value, length)
        place = self._place
        if (
            place is _Place.SEQUENCE or place is _Place.FRAGMENTS
        ):  # a set would hash three enums, for every element
            raise MalformedDataSet(
                f"byte {offset}: {tag_name(tag)} stands in {place.value}, where an item must",
                offset=offset,
            )
        if tag == 0 and length == 0 and offset and not self._open:
            self._done = True  # zeros up to the end of the file
            return value
        if not self._open and not self._whole and tag > SERIES_INSTANCE_UID and self._has_enough(tag):
            self._done = True
            return value
        if length == UNDEFINED_LENGTH:
            self._begin_undefined(offset, tag, vr)
            return value
        if tag in _WANTED and not self._open:
            return self._keep(data, offset, tag, value, length)
        return value + length

    def _has_enough(self, tag: int) -> bool:
        """Whether to stop at a tag behind the UIDs: go on to pixel data if they may stand out of order."""
        return tag >= _PIXEL_DATA_GROUP or self._values.keys() >= _UIDS

    def _keep(self, data: memoryview, offset: int, tag: int, value: int, length: int) -> int:
        if length > MAX_VALUE_BYTES:
            if tag in _UIDS and not self._may_list:
                raise MalformedDataSet(
                    f"byte {offset}: {tag_name(tag)} has {length} bytes, a UID has 64 at most", offset=offset
                )
            return value + length
        if len(data) - value < length:
            return -1
        self._values.setdefault(tag, text(bytes(data[value : value + length])))
        return value + length

    def _begin_undefined(self, offset: int, tag: int, vr: bytes) -> None:
        """A sequence, or fragments, that end with a delimiter (PS3.5 Section 7.5.1, Annex A.4)."""
        if tag == _PIXEL_DATA or vr in {b"OB", b"OW", b"OD", b"OF", b"OL", b"OV"}:
            self._push(_Place.FRAGMENTS, self._syntax, offset)
        elif vr == b"UN":
            self._push(_Place.SEQUENCE, IMPLICIT_LITTLE_ENDIAN, offset)  # CP-246, PS3.5 Section 6.2.2 Note 4
        elif vr in {b"SQ", b""}:
            self._push(_Place.SEQUENCE, self._syntax, offset)
        else:
            raise MalformedDataSet(
                f"byte {offset}: {tag_name(tag)} of VR {vr.decode('latin-1')} has no length", offset=offset
            )

    def _push(self, place: _Place, syntax: ElementSyntax, offset: int) -> None:
        if len(self._open) >= self._limits.max_depth:
            raise MalformedDataSet(
                f"byte {offset}: sequences nest more than {self._limits.max_depth} deep", offset=offset
            )
        self._open.append((self._place, self._syntax))
        self._place, self._syntax = place, syntax

    def _pop(self) -> None:
        self._place, self._syntax = self._open.pop()

    def _delimiter(self, offset: int, tag: int, value: int, length: int) -> int:
        """An item, or the end of one or of a sequence; ends too many are passed over."""
        place = self._place
        if tag == _ITEM and place in {_Place.SEQUENCE, _Place.FRAGMENTS}:
            if length != UNDEFINED_LENGTH:
                return value + length
            if place is _Place.SEQUENCE:
                self._push(_Place.ITEM, self._syntax, offset)
                return value
        elif tag == _ITEM_END and place in {_Place.ITEM, _Place.DATA_SET}:
            if place is _Place.ITEM:
                self._pop()
            return value
        elif tag == _SEQUENCE_END:
            if place is _Place.ITEM:
                self._pop()  # its own end was forgotten
            if self._open:
                self._pop()
            return value
        raise MalformedDataSet(f"byte {offset}: {tag_name(tag)} cannot stand in {place.value}", offset=offset)

    def _which_limit(self) -> str:
        if self._elements > self._limits.max_elements:
            return f"more than {self._limits.max_elements} elements"
        return f"the UIDs are not within the first {self._limits.max_bytes} bytes"

    def _limit(self, reason: str, offset: int) -> None:
        """A limit is passed: the end of the scan where the UIDs were passed already, an error elsewhere."""
        if not self._whole and not self._open and self._tag > SERIES_INSTANCE_UID:
            self._done = True
            return
        raise MalformedDataSet(reason, offset=offset)
