"""What a stream tells its client, as words; and what the client's words mean among the frames of a request. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from streamer import media_types
from streamer.open_frames import OpenFrames
from streamer.streams.messages import WordsError
from streamer.streams.positions import Positions
from streamer.streams.wire import LARGEST_ID


def encoded(words: Mapping[str, Any]) -> str:
    """Words as they travel."""
    return json.dumps(words, separators=(",", ":"))


def put_together(position: int, ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The ranges and the position that was taken before, put together where they touch."""
    merged: list[tuple[int, int]] = []
    for first, count in sorted([*ranges, (position, 1)]):
        if merged and sum(merged[-1]) == first:
            merged[-1] = (merged[-1][0], merged[-1][1] + count)
        else:
            merged.append((first, count))
    return merged


def position_of(positions: Positions, primary: int | tuple[str, int]) -> int:
    """The position of a primary index. Raises WordsError 404."""
    if isinstance(primary, int):
        return min(primary, max(0, len(positions) - 1))
    found = positions.position(*primary)
    if found is None:
        raise WordsError(f"primary: frame {primary[1]} of {primary[0]} is not in this request", status=404)
    return found


def shown_id(words: Mapping[str, Any]) -> int:
    """The id to refuse words by; 0 when they have none."""
    found = words.get("id")
    return found if type(found) is int and 0 < found <= LARGEST_ID else 0


def described(request_id: int, row: int, frames: OpenFrames) -> dict[str, Any]:
    """The words `instance`: what a receiver of bare frames has to know."""
    header = frames.index.header
    shape = header.geometry
    return {
        "event": "instance",
        "id": request_id,
        "row": row,
        "transfer_syntax": media_types.served_transfer_syntax(header.transfer_syntax_uid),
        "media_type": media_types.frame_type(header.transfer_syntax_uid),
        "rows": shape.rows,
        "columns": shape.columns,
        "samples_per_pixel": shape.samples_per_pixel,
        "bits_allocated": shape.bits_allocated,
        "bits_stored": shape.bits_stored,
        "high_bit": shape.high_bit,
        "pixel_representation": shape.pixel_representation,
        "planar_configuration": shape.planar_configuration,
        "photometric_interpretation": shape.photometric_interpretation,
    }
