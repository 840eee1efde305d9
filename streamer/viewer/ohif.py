"""The routes of OHIF, where it is installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response

from dicomrelay.errors import ConfigurationError
from dicomrelay.log import get_logger
from streamer.answers import HttpError
from streamer.compression import takes_gzip
from streamer.conditions import is_known
from streamer.viewer import files
from streamer.viewer.ohif_install import POINTER, installed
from streamer.viewer.ohif_package import PREFIX

_log = get_logger("dicomrelay.streamer")
_ASK: Final = "private, no-cache"
# One data source: this server. Nothing is asked of any other, and nobody is told that somebody looks.
_CONFIG: Final = {
    "name": "dicomrelay",
    "routerBasename": PREFIX.rstrip("/"),
    "extensions": [],
    "modes": [],
    "customizationService": {},
    "showStudyList": True,
    "maxNumberOfWebWorkers": 3,
    "showWarningMessageForCrossOrigin": False,
    "showCPUFallbackMessage": True,
    "showLoadingIndicator": True,
    "strictZSpacingForVolumeViewport": True,
    "maxNumRequests": {"interaction": 20, "thumbnail": 5, "prefetch": 10},
    "investigationalUseDialog": {"option": "configure", "days": 30},
    "defaultDataSourceName": "dicomrelay",
}
_SOURCE: Final = {
    "friendlyName": "dicomrelay",
    "name": "dicomrelay",
    "qidoSupportsIncludeField": True,
    "imageRendering": "wadors",
    "thumbnailRendering": "wadors",
    "enableStudyLazyLoad": True,
    "supportsFuzzyMatching": False,
    "supportsWildcard": True,
    "dicomUploadEnabled": False,
    "singlepart": "bulkdata,video,pdf",
    "bulkDataURI": {"enabled": True},
    "omitQuotationForMultipartRequest": True,
}


def app_config() -> str:
    """`app-config.js`: what OHIF is told."""
    return (
        f"window.config = {json.dumps(_CONFIG)};\n"
        f"const source = {json.dumps(_SOURCE)};\n"
        "source.qidoRoot = source.wadoRoot = window.location.origin;\n"
        'source.wadoUriRoot = window.location.origin + "/wado";\n'
        'window.config.dataSources = [{ namespace: "@ohif/extension-default.dataSourcesModule.dicomweb", '
        'sourceName: "dicomrelay", configuration: source }];\n'
    )


def policy(scripts: list[str]) -> str:
    """What OHIF's page may do: inline scripts by digest, functions from strings, workers from blobs; no host but this one."""
    return (
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; connect-src 'self' data: blob:; "
        f"script-src 'self' 'unsafe-eval' 'wasm-unsafe-eval' blob: {' '.join(scripts)}; worker-src 'self' blob:; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; media-src 'self' blob:"
    )


class Ohif:
    """`GET /ohif` and `GET /ohif/...`."""

    def __init__(self, viewers: Path | None) -> None:
        self._viewers = viewers
        self._identity: tuple[int, int] | None = None
        self._found: dict[str, Any] | None = None

    def enter(self, _request: Request) -> Response:
        """`/ohif`, which its scripts do not expect without the slash."""
        self._installed()
        return RedirectResponse(PREFIX, 308)

    def file(self, request: Request) -> Response:
        """A file by its name; the page for every address of OHIF's own."""
        viewers, found = self._installed()
        name = request.path_params["path"]
        if name == "app-config.js":
            headers = {"cache-control": _ASK, "content-security-policy": policy(found["scripts"])}
            return Response(app_config(), media_type=files.content_type(name), headers=headers)
        if name not in found["files"]:
            if "." in name.rpartition("/")[2]:
                raise HttpError(404, "OHIF has no such file; load its page anew")
            name = "index.html"
        entry = found["files"][name]
        headers = {
            "cache-control": _ASK,
            "content-security-policy": policy(found["scripts"]),
            "etag": f'"{entry["sha256"]}"',
            "vary": "Accept-Encoding",
        }
        if is_known(request.headers.getlist("if-none-match"), headers["etag"]):
            return Response(status_code=304, headers=headers)
        path = viewers / found["folder"] / name
        if entry["zipped"] and takes_gzip(request.headers.getlist("accept-encoding")):
            path = path.with_name(path.name + ".gz")
            headers["content-encoding"] = "gzip"
        if not path.is_file():
            raise HttpError(503, "a file of OHIF is gone: run `dicomrelay viewer install ohif` again")
        return FileResponse(path, media_type=files.content_type(name), headers=headers)

    def _installed(self) -> tuple[Path, dict[str, Any]]:
        """What is installed now: read again when another was put in its place."""
        if self._viewers is not None:
            try:
                status = (self._viewers / POINTER).stat()
            except OSError:
                self._identity = self._found = None
            else:
                identity = (status.st_ino, status.st_mtime_ns)
                if identity != self._identity:
                    self._found = _read(self._viewers)
                    self._identity = identity
                    _log.info(
                        "OHIF is served", action="streamer.ohif", version=(self._found or {}).get("version")
                    )
        if self._viewers is None or self._found is None:
            raise HttpError(
                404, "OHIF is not installed here: `dicomrelay viewer install ohif` does it; / has a viewer"
            )
        return self._viewers, self._found


def _read(viewers: Path) -> dict[str, Any] | None:
    try:
        return installed(viewers)
    except ConfigurationError as error:
        # No fault of the client's; where the home lies is not for it either.
        _log.error("OHIF is not served", action="streamer.ohif", error=str(error))
        raise HttpError(
            503, "what is installed of OHIF cannot be read: run `dicomrelay viewer install ohif` again"
        ) from error
