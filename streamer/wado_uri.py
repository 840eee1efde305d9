"""WADO-URI: one instance, or an image of it, by parameters of a URL (PS3.18 Section 9)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from archive import Archive, StoredInstance
from streamer import media_types
from streamer.answers import HttpError
from streamer.frames import checked_uids
from streamer.retrieve import Retrieve

# An image of a stored instance: what is asked for, and its media type.
Render = Callable[[Request, StoredInstance, Mapping[str, str], str], Response]
_IMAGES: Final = ("image/jpeg", "image/png")
_NAMES: Final = frozenset(
    {"requestType", "studyUID", "seriesUID", "objectUID", "contentType", "charset", "transferSyntax"}
)
# For images (PS3.18 Table 9.5-1).
IMAGE_NAMES: Final = frozenset(
    {"frameNumber", "rows", "columns", "region", "windowCenter", "windowWidth", "imageQuality"}
)
# To pass them over would show what was to be hidden, or another picture than was asked for.
_REFUSED: Final = frozenset({"anonymize", "annotation", "presentationUID", "presentationSeriesUID"})
_UIDS: Final = ("studyUID", "seriesUID", "objectUID")


class WadoUri:
    """`GET /wado?requestType=WADO&studyUID=...&seriesUID=...&objectUID=...`.

    Parameters
    ----------
    render : callable, optional
        Makes images; without it there are instances only.
    """

    def __init__(self, archive: Archive, retrieve: Retrieve, render: Render | None = None) -> None:
        self._archive = archive
        self._retrieve = retrieve
        self._render = render

    def show(self, request: Request) -> Response:
        """The instance, or an image of it."""
        given = parameters(request)
        stored = self._archive.find(*checked_uids(*(given[name] for name in _UIDS)))
        content_type = self._content_type(request, given)
        if content_type == media_types.DICOM:
            return self._instance(request, stored, given)
        if self._render is None:
            raise HttpError(406, "there are no images here: ask for contentType=application/dicom")
        image = {name: value for name, value in given.items() if name in IMAGE_NAMES}
        return self._render(request, stored, image, content_type)

    def _content_type(self, request: Request, given: Mapping[str, str]) -> str:
        """The first that is wanted and that there is; without a wish the instance, unless parameters are for images."""
        there: tuple[str, ...] = (media_types.DICOM, *(_IMAGES if self._render else ()))
        if "contentType" in given:
            ranges = media_types.parse_accept([given["contentType"]])
        else:
            ranges = media_types.parse_accept(request.headers.getlist("accept"))
            if any(name in IMAGE_NAMES for name in given):
                there = there[1:]
        wanted = [name for entry in ranges for name in there if media_types.accepts([entry], name)]
        if there and not ranges:
            return there[0]
        if not wanted:
            raise HttpError(406, f"this is there as {' or '.join(there) or 'an instance, not as an image'}")
        return wanted[0]

    def _instance(self, request: Request, stored: StoredInstance, given: Mapping[str, str]) -> Response:
        unfit = sorted(IMAGE_NAMES & given.keys())
        if unfit:
            raise HttpError(400, f"{unfit[0]} is for images: ask for contentType=image/jpeg")
        syntax = given.get("transferSyntax", "")
        if syntax in {"", stored.transfer_syntax_uid}:
            return self._retrieve.bare(request, stored, "")
        if syntax not in self._retrieve.others(stored.transfer_syntax_uid):
            raise HttpError(
                406,
                f"this instance is there in transfer syntax {stored.transfer_syntax_uid}, and cannot be sent in "
                f"{syntax[:80]!r} without loss",
            )
        return self._retrieve.bare(request, stored, syntax)


def parameters(request: Request) -> dict[str, str]:
    """What stands in the URL, each once.

    Raises
    ------
    HttpError
        400: something is missing, stands there twice, or means what cannot be done.
    """
    given: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name in given:
            raise HttpError(400, f"{name[:80]!r} stands there twice")
        if name in _REFUSED:
            raise HttpError(400, f"{name} cannot be done here, and passing it over would show something else")
        if name not in _NAMES | IMAGE_NAMES:
            raise HttpError(400, f"{name[:80]!r} is no parameter of WADO-URI (PS3.18 Section 9.1)")
        given[name] = value
    if given.get("requestType") != "WADO":
        raise HttpError(400, "requestType=WADO is needed")
    for name in _UIDS:
        if not given.get(name):
            raise HttpError(400, f"{name} is needed")
    for one, other in (("windowCenter", "windowWidth"), ("windowWidth", "windowCenter")):
        if one in given and other not in given:
            raise HttpError(400, f"{one} goes with {other}")
    return given
