"""What a request for pictures asks for: its parameters and its Accept, checked (PS3.18 Section 8.3.5 and 8.7.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from starlette.requests import Request

from archive.renditions.request import (
    JPEG,
    LARGEST_SIDE,
    MEDIA_TYPES,
    PNG,
    PictureRequest,
    checked_window,
    parse_fractions,
    parse_quality,
    parse_viewport,
    parse_window,
    side,
    thumbnail,
)
from streamer import media_types
from streamer.answers import HttpError
from streamer.frames import frame_numbers

_RENDERED: Final = frozenset({"viewport", "window", "quality", "iccprofile"})
_THUMBNAIL: Final = frozenset({"viewport"})


def rendered(request: Request, *, several: bool) -> tuple[PictureRequest, bool]:
    """A picture as it is asked for, and whether it comes in multipart. Raises HttpError, ConfigurationError."""
    media_type, is_multipart = _form(request, several=several)
    given = _parameters(request, _RENDERED)
    if given.get("iccprofile", "no").lower() != "no":
        raise HttpError(400, "iccprofile: pictures have no colour profile here; leave it out, or say no")
    wanted = PictureRequest(media_type)
    if "viewport" in given:
        width, height, region = parse_viewport(given["viewport"])
        wanted = replace(wanted, width=width, height=height, region=region)
    if "window" in given:
        wanted = replace(wanted, window=parse_window(given["window"]))
    if "quality" in given:
        wanted = replace(wanted, quality=parse_quality(given["quality"]))
    return _plain(wanted), is_multipart


def small(request: Request) -> PictureRequest:
    """A thumbnail as it is asked for. Raises as `rendered`."""
    media_type, is_multipart = _form(request, several=False)
    if is_multipart:
        raise HttpError(406, f"a thumbnail is there bare, as {' or '.join(MEDIA_TYPES)}")
    given = _parameters(request, _THUMBNAIL)
    if "viewport" not in given:
        return _plain(thumbnail(media_type))
    width, height, _ = parse_viewport(given["viewport"], with_region=False)
    return _plain(thumbnail(media_type, width, height))


def of_wado_uri(given: Mapping[str, str], media_type: str) -> tuple[PictureRequest, int]:
    """A picture by the parameters of WADO-URI (PS3.18 Section 9.1.2.2), and of which frame, or 0. Raises as `rendered`."""
    wanted = PictureRequest(media_type)
    if "rows" in given or "columns" in given:
        wanted = replace(
            wanted,
            width=side(given["columns"], "columns") if "columns" in given else LARGEST_SIDE,
            height=side(given["rows"], "rows") if "rows" in given else LARGEST_SIDE,
        )
    if "region" in given:
        wanted = replace(wanted, region=parse_fractions(given["region"]))
    if "windowCenter" in given:
        wanted = replace(wanted, window=checked_window(given["windowCenter"], given["windowWidth"]))
    if "imageQuality" in given:
        wanted = replace(wanted, quality=parse_quality(given["imageQuality"]))
    numbers = frame_numbers(given["frameNumber"]) if "frameNumber" in given else [0]
    if len(numbers) > 1:
        raise HttpError(400, "frameNumber is one number")
    return _plain(wanted), numbers[0]


def _plain(wanted: PictureRequest) -> PictureRequest:
    """Without what makes no difference, so that it is made once."""
    return replace(wanted, quality=PictureRequest().quality) if wanted.media_type == PNG else wanted


def _form(request: Request, *, several: bool) -> tuple[str, bool]:
    """The first media type that is wanted and that there is, and whether in multipart."""
    ranges = media_types.wanted(request.scope)
    if not ranges:
        return JPEG, several
    for entry in ranges:
        if not entry.quality:
            continue
        is_multipart = entry.name in {media_types.MULTIPART, "multipart/*"}
        if not is_multipart and several and entry.name != "*/*":
            continue
        name = entry.parameters.get("type", "*/*").lower() if is_multipart else entry.name
        inner = media_types.MediaRange(name)
        for media_type in MEDIA_TYPES:
            if media_types.accepts([inner], media_type):
                return media_type, is_multipart or several
    form = "multipart/related with the type " if several else ""
    raise HttpError(406, f"pictures are there as {form}{' or '.join(MEDIA_TYPES)}")


def _parameters(request: Request, known: frozenset[str]) -> dict[str, str]:
    """The parameters of the URL but `accept`, each once. What is not known would show another picture than was asked for."""
    given: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name == "accept":
            continue
        if name not in known:
            raise HttpError(
                400,
                f"{name[:80]!r} cannot be done here, and passing it over would show another picture than asked for",
            )
        if name in given:
            raise HttpError(400, f"{name} stands there twice")
        given[name] = value
    return given
