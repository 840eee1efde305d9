"""The files of the viewer as they were built: read by exact name, once each."""

from __future__ import annotations

import functools
import gzip
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
DIST: Final = HERE / "dist"
MANIFEST: Final = "manifest.json"
_BUILT_FROM: Final = ("build.mjs", "package.json", "package-lock.json")
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".gif": "image/gif",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".woff2": "font/woff2",
}


@dataclass(frozen=True, slots=True)
class Built:
    """One file of the viewer."""

    name: str
    content: bytes
    zipped: bytes
    sha256: str


@functools.cache
def manifest() -> dict[str, Any]:
    """What the build wrote: the digest of its sources, the worker's name, and every file. Empty when nothing was built."""
    try:
        found: dict[str, Any] = json.loads((DIST / MANIFEST).read_bytes())
    except FileNotFoundError:
        return {}
    return found


def built(name: str) -> Built | None:
    """A file by its name in the manifest; None when there is none of that name."""
    # Looked at before anything is remembered: names come from clients, and there is no end of them.
    return _read(name) if name in manifest().get("files", {}) else None


@functools.cache
def _read(name: str) -> Built:
    content = (DIST / name).read_bytes()
    return Built(name, content, gzip.compress(content, 6, mtime=0), manifest()["files"][name]["sha256"])


def content_type(name: str) -> str:
    """The media type of a file by the end of its name."""
    return _TYPES.get(Path(name).suffix.lower(), "application/octet-stream")


def digest_of_sources() -> str:
    """SHA-256 over what the viewer is built from: path, zero byte, content, zero byte, sorted by path."""
    paths = [path for path in (HERE / "src").rglob("*") if path.is_file()]
    names = sorted([path.relative_to(HERE).as_posix() for path in paths] + [*_BUILT_FROM])
    digest = hashlib.sha256()
    for name in names:
        digest.update(name.encode() + b"\0" + (HERE / name).read_bytes() + b"\0")
    return digest.hexdigest()
