"""The page at `/`: the newest studies, and which URLs there are. Plain HTML, everything escaped, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse

from archive import Archive
from archive.attributes import Level
from archive.index.search import SearchQuery

_SHOWN: Final = 100
_STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}td,th{padding:.3rem .6rem;border-bottom:1px solid #ccc;text-align:left}"
    "code{font-size:13px;overflow-wrap:anywhere}@media(max-width:64rem){td,th{overflow-wrap:anywhere}}"
)
_URLS: Final = (
    ("/studies?PatientName=DOE*&StudyDate=20240101-", "search studies (QIDO-RS)"),
    ("/studies/{study}/series", "the series of a study"),
    ("/studies/{study}/series/{series}/instances", "the instances of a series"),
    ("/studies/{study}/series/{series}/instances/{instance}", "an instance (WADO-RS)"),
    ("/studies/{study}/series/{series}/instances/{instance}/metadata", "its attributes as DICOM JSON"),
    ("/studies/{study}/series/{series}/instances/{instance}/frames/1,2", "its frames, as they are stored"),
    ("/health", "whether this server and the index work"),
)
_COLUMNS: Final = (
    "Patient",
    "Id",
    "Date",
    "Modalities",
    "Description",
    "Series",
    "Instances",
    "Study Instance UID",
)


class FrontPage:
    """`GET /`."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def show(self, _request: Request) -> HTMLResponse:
        """The page."""
        page = self._archive.search(SearchQuery(Level.STUDY, limit=_SHOWN))
        rows = "".join(_row(row) for row in page.rows)
        more = f"<p>The newest {_SHOWN}; there are more.</p>" if page.has_more else ""
        head = "".join(f"<th>{name}</th>" for name in _COLUMNS)
        urls = "".join(
            f"<tr><td><code>{escape(url)}</code></td><td>{escape(about)}</td></tr>" for url, about in _URLS
        )
        return HTMLResponse(
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>dicomrelay</title><style>{_STYLE}</style>'
            f"</head><body><h1>Archive</h1><h2>Studies</h2><table><tr>{head}</tr>{rows}</table>{more}"
            f"<h2>URLs</h2><table>{urls}</table></body></html>"
        )


def _row(row: Mapping[str, Any]) -> str:
    uid = escape(row["study_instance_uid"])
    cells = (
        row["patient_name"],
        row["patient_id"],
        row["study_date"],
        ", ".join(row["ModalitiesInStudy"]),
        row["study_description"],
        row["NumberOfStudyRelatedSeries"],
        row["NumberOfStudyRelatedInstances"],
    )
    shown = "".join(f"<td>{escape('' if cell is None else str(cell))}</td>" for cell in cells)
    return f'<tr>{shown}<td><a href="/studies/{uid}/series"><code>{uid}</code></a></td></tr>'
