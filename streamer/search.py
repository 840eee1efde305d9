"""QIDO-RS: searching studies, series and instances (PS3.18 Section 8.3 and 10.6)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from archive import Archive
from archive.attributes import Level
from archive.index.search import SearchPage
from streamer import media_types
from streamer.addresses import base_url
from streamer.answers import HttpError
from streamer.dicom_json import row_as_json
from streamer.media_types import DICOM_JSON
from streamer.search_beside import Beside
from streamer.search_query import Asked, asked

_NOTHING: Final = SearchPage((), has_more=False)


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
        if not media_types.accepts(media_types.wanted(request.scope), DICOM_JSON, "application/json"):
            raise HttpError(406, f"searches are answered as {DICOM_JSON}")
        search = asked(level, request.query_params.multi_items(), request.path_params)
        page, besides = self._found(search)
        base = base_url(request)
        rows = [
            row_as_json(row, levels=levels, include=search.include, retrieve_url=base + _path(row, level))
            | beside
            for row, beside in zip(page.rows, besides, strict=True)
        ]
        warnings = [*search.warnings]
        if page.has_more and search.query is not None:
            warnings.append(f"There are more results than limit={search.query.limit}; use offset")
        told = ", ".join(f'299 {request.url.netloc}: "{each}"' for each in warnings)
        # Without a match the answer is an empty list too: clients parse it without a special case.
        return Response(
            json.dumps(rows, ensure_ascii=False),
            media_type=DICOM_JSON,
            headers={"Warning": told} if told else None,
        )

    def _found(self, search: Asked) -> tuple[SearchPage, list[dict[str, Any]]]:
        """One page, and what was looked up beside the index of each of its rows."""
        query = search.query
        if query is None:
            return _NOTHING, []
        if not search.beside and not search.looked_up:
            page = self._archive.search(query)
            return page, [{} for _ in page.rows]
        look = Beside(self._archive, search.beside, search.looked_up)
        if not search.beside:
            page = self._archive.search(query)
            return page, [beside for _, beside in look.fitting(iter(page.rows))]
        # Which of the rows match is known one by one.
        matching = look.fitting(iter(self._archive.scan(query)))
        found = [*islice(matching, query.offset, query.offset + query.limit + 1)]
        rows = [row for row, _ in found[: query.limit]]
        return SearchPage(rows, len(found) > query.limit), [beside for _, beside in found[: query.limit]]


def _path(values: Mapping[str, Any], level: Level) -> str:
    path = f"/studies/{values['study_instance_uid']}"
    if level is not Level.STUDY:
        path += f"/series/{values['series_instance_uid']}"
    if level is Level.INSTANCE:
        path += f"/instances/{values['sop_instance_uid']}"
    return path
