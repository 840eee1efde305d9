"""The routes of the viewer: its page at the root, its files, the names of attributes."""

from __future__ import annotations

import functools
import gzip
import hashlib
import json
from typing import Final

from pydicom._dicom_dict import DicomDictionary
from starlette.requests import Request
from starlette.responses import Response

from streamer import media_types
from streamer.answers import HttpError
from streamer.compression import takes_gzip
from streamer.conditions import is_known
from streamer.front_page import FrontPage
from streamer.viewer import files

_SAME_ORIGIN: Final = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; connect-src 'self'"
)
PAGE_POLICY: Final = (
    f"{_SAME_ORIGIN}; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:"
)
# The codecs' glue code makes functions from strings. A worker has no page, and no host but this one.
WORKER_POLICY: Final = f"{_SAME_ORIGIN}; script-src 'self' 'wasm-unsafe-eval' 'unsafe-eval'"
_ASK: Final = "private, no-cache"
_KEEP: Final = "private, max-age=31536000, immutable"
_HASHED: Final = (".js", ".css", ".wasm")


class Viewer:
    """`GET /` and `GET /viewer/...`."""

    def __init__(self, plain: FrontPage) -> None:
        self._plain = plain

    def page(self, request: Request) -> Response:
        """The viewer where a page is wanted, the plain one for everybody else."""
        ranges = media_types.parse_accept(request.headers.getlist("accept"))
        page = (
            files.built("index.html")
            if any(each.name == "text/html" and each.quality for each in ranges)
            else None
        )
        if page is None:
            answer: Response = self._plain.show(request)
            answer.headers["vary"] = "Accept"
            return answer
        headers = {"content-security-policy": PAGE_POLICY, "cache-control": _ASK, "vary": "Accept"}
        return Response(page.content, media_type="text/html; charset=utf-8", headers=headers)

    def file(self, request: Request) -> Response:
        """One of the viewer's files."""
        name = request.path_params["name"]
        found = files.built(name)
        if found is None:
            raise HttpError(404, "the viewer has no such file; load its page anew")
        headers = {"cache-control": _KEEP if name.endswith(_HASHED) else _ASK, "etag": f'"{found.sha256}"'}
        if name == files.manifest()["worker"]:
            headers["content-security-policy"] = WORKER_POLICY
        return sent(request, found.content, found.zipped, files.content_type(name), headers)

    def names(self, request: Request) -> Response:
        """The names of the standard's attributes by tag, for the metadata table."""
        content, zipped, tag = _names()
        return sent(request, content, zipped, "application/json", {"cache-control": _ASK, "etag": tag})


@functools.cache
def _names() -> tuple[bytes, bytes, str]:
    content = json.dumps({f"{tag:08X}": entry[2] for tag, entry in DicomDictionary.items()}).encode()
    return content, gzip.compress(content, 6, mtime=0), f'"{hashlib.sha256(content).hexdigest()}"'


def sent(
    request: Request, content: bytes, zipped: bytes, media_type: str, headers: dict[str, str]
) -> Response:
    """A file, zipped where that is taken; 304 where it is there already."""
    headers = {**headers, "vary": "Accept-Encoding"}
    if is_known(request.headers.getlist("if-none-match"), headers["etag"]):
        return Response(status_code=304, headers=headers)
    if takes_gzip(request.headers.getlist("accept-encoding")) and len(zipped) < len(content):
        return Response(zipped, media_type=media_type, headers={**headers, "content-encoding": "gzip"})
    return Response(content, media_type=media_type, headers=headers)
