"""QIDO-RS: searching studies, series and instances (PS3.18 Section 8.3 and 10.6)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from archive import Archive
from archive.attributes import Level
from archive.index.search import LARGEST_PAGE, SearchQuery
from streamer import media_types
from streamer.addresses import base_url
from streamer.answers import HttpError
from streamer.dicom_json import is_attribute, keyword_of, row_as_json
from streamer.frames import checked_uids

DICOM_JSON: Final = "application/dicom+json"
_DEFAULT_LIMIT: Final = 100
_NO_ATTRIBUTES: Final = frozenset({"limit", "offset", "includefield", "fuzzymatching", "accept"})
_LARGEST_COUNT_DIGITS: Final = 9


class Search:
    """The search transactions."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def studies(self, request: Request) -> Response:
        """`GET /studies`."""
        return self._answer(request, Level.STUDY, levels=(Level.STUDY,))

    def series(self, request: Request) -> Response:
        """`GET /series` and `GET /studies/{study}/series`."""
        within = "study" in request.path_params
        return self._answer(
            request, Level.SERIES, levels=(Level.SERIES,) if within else (Level.STUDY, Level.SERIES)
        )

    def instances(self, request: Request) -> Response:
        """`GET /instances`, `GET /studies/{study}/instances` and `GET /studies/{study}/series/{series}/instances`."""
        levels = [Level.INSTANCE]
        if "series" not in request.path_params:
            levels.append(Level.SERIES)
        if "study" not in request.path_params:
            levels.append(Level.STUDY)
        return self._answer(request, Level.INSTANCE, levels=tuple(levels))

    def _answer(self, request: Request, level: Level, *, levels: tuple[Level, ...]) -> Response:
        ranges = media_types.parse_accept(request.headers.getlist("accept"))
        if not media_types.accepts(ranges, DICOM_JSON, "application/json"):
            raise HttpError(406, f"searches are answered as {DICOM_JSON}")
        query = _query(request, level)
        page = self._archive.search(query)
        include = frozenset(
            keyword_of(name.strip())
            for value in request.query_params.getlist("includefield")
            for name in value.split(",")
        )
        base = base_url(request)
        rows = [
            row_as_json(row, levels=levels, include=include, retrieve_url=base + _path(row, level))
            for row in page.rows
        ]
        headers = {}
        warnings = []
        if page.has_more:
            warnings.append(
                f'299 {request.url.netloc}: "There are more results than limit={query.limit}; use offset"'
            )
        if request.query_params.get("fuzzymatching", "").lower() == "true":
            warnings.append(f'299 {request.url.netloc}: "The fuzzymatching parameter is not supported"')
        if warnings:
            headers["Warning"] = ", ".join(warnings)
        # Without a match the answer is an empty list too: clients parse it without a special case.
        return Response(json.dumps(rows, ensure_ascii=False), media_type=DICOM_JSON, headers=headers)


def _query(request: Request, level: Level) -> SearchQuery:
    parameters = request.query_params
    matches: dict[str, str] = {}
    for name, value in parameters.multi_items():
        if name in _NO_ATTRIBUTES:
            continue
        if not is_attribute(name):
            raise HttpError(
                400,
                f"{name[:80]!r} is no attribute: say a keyword such as PatientID, or a tag such as 00100020",
            )
        keyword = keyword_of(name)
        # Some clients send a list of UIDs as one parameter each (PS3.18 Section 8.3.4.1 wants a comma).
        is_uid = keyword.endswith("UID") and matches.get(keyword)
        matches[keyword] = f"{matches[keyword]},{value}" if is_uid else value
    for name, keyword in (("study", "StudyInstanceUID"), ("series", "SeriesInstanceUID")):
        if name in request.path_params:
            (matches[keyword],) = checked_uids(request.path_params[name])
    return SearchQuery(
        level=level,
        matches=matches,
        limit=min(_count(parameters, "limit", _DEFAULT_LIMIT), LARGEST_PAGE),
        offset=_count(parameters, "offset", 0),
    )


def _count(parameters: QueryParams, name: str, default: int) -> int:
    text = parameters.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= _LARGEST_COUNT_DIGITS):
        raise HttpError(400, f"{name}={text[:40]!r} is no count of at most {_LARGEST_COUNT_DIGITS} digits")
    return int(text)


def _path(values: Mapping[str, Any], level: Level) -> str:
    path = f"/studies/{values['study_instance_uid']}"
    if level is not Level.STUDY:
        path += f"/series/{values['series_instance_uid']}"
    if level is Level.INSTANCE:
        path += f"/instances/{values['sop_instance_uid']}"
    return path
