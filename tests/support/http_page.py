"""docs/reference/http.md: `python -m tests.support.http_page --write`. A test holds its paths against those of the code."""

# ruff: noqa: E501 - tables of words

from __future__ import annotations

import sys
from dataclasses import dataclass

from dicomrelay.access import may
from dicomrelay.settings.users import Role
from streamer.deeds import action_of
from tests.support.markdown import ROOT

PAGE = ROOT / "docs" / "reference" / "http.md"

INTRODUCTION = """\
# HTTP

<!-- Written by `python -m tests.support.http_page --write`; a test holds it against the routes of the code. -->

Three servers of ours speak HTTP: the streamer, Flower, and each process for metrics where `metrics.port` says so. All of them listen on loopback unless
told otherwise; `tls`, and who may come, are in the [settings](settings.md) and in [who may use it](../howto/users-and-roles.md). As long as there is no user and no
`[streamer.access]`, the streamer asks nobody who they are.

*Role* is the least that a user needs. An error is `application/problem+json` (RFC 9457) with `status`, `title` and `detail`; 401 asks for basic or bearer
authentication, 403 says what the role may not, 429 and 503 have `Retry-After`. HEAD goes wherever GET does.
"""


@dataclass(frozen=True, slots=True)
class Road:
    """One path of a server, and what it does by a method."""

    method: str
    path: str
    does: str
    media: str
    page: str = ""
    """Where more is said: a page of docs/, relative to reference/."""


_DICOM = "`multipart/related` of `application/dicom`"
_PICTURES = "`image/jpeg`, `image/png`, and others of PS3.18 Section 8.7.4"
_JSON = "`application/dicom+json`"
_LOOK, _SEARCH = "../howto/look-at-images.md", "../howto/be-searched.md"
_DOWNLOAD, _PICTURE = "../howto/download-studies.md", "../howto/pictures.md"
_FRAME, _STREAM, _STORE = "../howto/frames.md", "../howto/stream-frames.md", "../howto/store-over-the-web.md"
_LIST = "../howto/worklist.md"
_STUDY = "/studies/{study}"
_SERIES = f"{_STUDY}/series/{{series}}"
_INSTANCE = f"{_SERIES}/instances/{{instance}}"

STREAMER = (
    Road("GET", "/", "The viewer, with the archive's studies.", "`text/html`", _LOOK),
    Road("GET", "/plain", "The same as plain pages, without JavaScript.", "`text/html`", _LOOK),
    Road("GET", "/viewer/names.json", "Words that the viewer shows.", "`application/json`"),
    Road("GET", "/viewer/{name}", "Files of the viewer.", "by the file"),
    Road("GET", "/ohif", "To OHIF, where it is installed.", "`text/html`", _LOOK),
    Road("GET", "/ohif/{path}", "Files of OHIF.", "by the file", _LOOK),
    Road(
        "GET",
        "/health",
        "Whether the index answers: 200 or 503. Asks nobody who they are.",
        "`application/json`",
    ),
    Road("GET", "/studies", "QIDO-RS: search for studies.", _JSON, _SEARCH),
    Road("GET", "/series", "QIDO-RS: search for series of all studies.", _JSON, _SEARCH),
    Road("GET", "/instances", "QIDO-RS: search for instances of all studies.", _JSON, _SEARCH),
    Road("GET", f"{_STUDY}/series", "QIDO-RS: series of a study.", _JSON, _SEARCH),
    Road("GET", f"{_STUDY}/instances", "QIDO-RS: instances of a study.", _JSON, _SEARCH),
    Road("GET", f"{_SERIES}/instances", "QIDO-RS: instances of a series.", _JSON, _SEARCH),
    Road("GET", _STUDY, "WADO-RS: a study.", f"{_DICOM}, `application/zip`", _DOWNLOAD),
    Road("GET", _SERIES, "WADO-RS: a series.", f"{_DICOM}, `application/zip`", _DOWNLOAD),
    Road("GET", _INSTANCE, "WADO-RS: an instance.", f"{_DICOM}, `application/dicom`", _DOWNLOAD),
    Road("GET", f"{_STUDY}/metadata", "WADO-RS: metadata of a study.", _JSON, _DOWNLOAD),
    Road("GET", f"{_SERIES}/metadata", "WADO-RS: metadata of a series.", _JSON, _DOWNLOAD),
    Road("GET", f"{_INSTANCE}/metadata", "WADO-RS: metadata of an instance.", _JSON, _DOWNLOAD),
    Road(
        "GET",
        f"{_INSTANCE}/bulkdata/{{address}}",
        "WADO-RS: one value that metadata points at.",
        "`application/octet-stream`",
        _DOWNLOAD,
    ),
    Road(
        "GET",
        f"{_INSTANCE}/frames/{{numbers}}",
        "WADO-RS: frames by their numbers, 1 to 10,000 of them; a Range of one.",
        "`multipart/related`, or the frame alone",
        _FRAME,
    ),
    Road("GET", f"{_STUDY}/rendered", "Pictures of a study.", _PICTURES, _PICTURE),
    Road("GET", f"{_SERIES}/rendered", "Pictures of a series.", _PICTURES, _PICTURE),
    Road("GET", f"{_INSTANCE}/rendered", "Pictures of an instance.", _PICTURES, _PICTURE),
    Road("GET", f"{_INSTANCE}/frames/{{numbers}}/rendered", "Pictures of frames.", _PICTURES, _PICTURE),
    Road("GET", f"{_STUDY}/thumbnail", "A small picture of a study.", _PICTURES, _PICTURE),
    Road("GET", f"{_SERIES}/thumbnail", "A small picture of a series.", _PICTURES, _PICTURE),
    Road("GET", f"{_INSTANCE}/thumbnail", "A small picture of an instance.", _PICTURES, _PICTURE),
    Road(
        "GET", f"{_INSTANCE}/frames/{{numbers}}/thumbnail", "A small picture of a frame.", _PICTURES, _PICTURE
    ),
    Road(
        "GET",
        "/wado",
        "WADO-URI: an instance, or a picture of it.",
        "`application/dicom`, pictures",
        _DOWNLOAD,
    ),
    Road(
        "POST",
        "/studies",
        "STOW-RS: store instances of any study; answered when they are durable in the spool.",
        _DICOM,
        _STORE,
    ),
    Road("POST", _STUDY, "STOW-RS: the same, of this study only.", _DICOM, _STORE),
    Road("GET", "/worklist", "Scheduled procedure steps, by DICOM keys.", "`application/json`", _LIST),
    Road("POST", "/worklist", "Take orders.", "JSON, CSV, DICOM or HL7", _LIST),
    Road("GET", "/worklist/{id}", "One of them.", "`application/json`", _LIST),
    Road("DELETE", "/worklist/{id}", "Take one off the list.", "", _LIST),
    Road(
        "GET",
        "/streams",
        "A WebSocket: frames in the order in which they are needed.",
        "frames of WebSocket",
        _STREAM,
    ),
    Road(
        "POST",
        "/streams",
        "The same by HTTP, where there is no WebSocket.",
        "one answer that goes on",
        _STREAM,
    ),
    Road(
        "POST",
        "/streams/{name}",
        "Further words to a stream by HTTP: another frame, another priority, the end.",
        "`application/json`",
        _STREAM,
    ),
)

_WATCH = "../howto/watch-in-the-browser.md"
FLOWER = (
    Road("GET", "/transfers", "Destinations, sources and queues, live.", "`text/html`", _WATCH),
    Road("GET", "/transfers/{name}", "One destination: rates, errors, what is open.", "`text/html`", _WATCH),
    Road("GET", "/studies", "Search for studies by UID.", "`text/html`", _WATCH),
    Road("GET", "/studies/{id}", "The journey of a study or a job.", "`text/html`", _WATCH),
    Road("GET", "/attention", "What needs attention.", "`text/html`", _WATCH),
    Road(
        "POST",
        "/do",
        "A button: retry, hold, release, cancel, replay; with a token of the page it is on.",
        "a form",
        _WATCH,
    ),
    Road("GET", "/relay-static/{file}", "Style and script of these pages.", "by the file"),
)

_PROMETHEUS = "../howto/prometheus.md"
EVERYWHERE = (
    Road("GET", "/metrics", "Metrics of the whole relay.", "OpenMetrics text", _PROMETHEUS),
    Road("GET", "/healthz", "Whether the process lives.", "`text/plain`", _PROMETHEUS),
    Road("GET", "/readyz", "Whether it can do its work: 200 or 503.", "`text/plain`", _PROMETHEUS),
)


def role_of(road: Road) -> str:
    """The least role that the streamer lets do it."""
    if road.path == "/health":
        return "–"
    action = action_of(road.method, road.path)
    return next(role.value for role in Role if may(role, action))


def render() -> str:
    """The whole page."""
    streamer = [(road, role_of(road)) for road in STREAMER]
    flower = [(road, "operator" if road.path == "/do" else "viewer") for road in FLOWER]
    return "".join(
        [
            INTRODUCTION,
            "\n## The streamer\n\n`streamer.host` and `streamer.port`, 127.0.0.1:8080. `{study}`, `{series}` and `{instance}` are UIDs.\n\n",
            _table(streamer),
            "\n## Flower\n\n`monitor.host` and `monitor.port`, 127.0.0.1:5555. These pages are ours; those of Flower itself are behind the same door, and only show.\n\n",
            _table(flower),
            "\n## Metrics and health\n\nOn Flower's port, and on `metrics.port` where that is set; with `metrics.token` they want it as a bearer token.\n\n",
            _table([(road, "–") for road in EVERYWHERE]),
        ]
    )


def _table(roads: list[tuple[Road, str]]) -> str:
    lines = ["| request | role | does | media | more |", "| --- | --- | --- | --- | --- |"]
    for road, role in roads:
        more = f"[how]({road.page})" if road.page else ""
        lines.append(f"| `{road.method} {road.path}` | {role} | {road.does} | {road.media} | {more} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(render(), encoding="utf-8")
        sys.stderr.write(f"written: {PAGE.name}\n")
    else:
        sys.stdout.write(render())
