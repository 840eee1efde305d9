"""Unpacking an npm package of OHIF: what is taken of it, and what is changed. The digest of the package was checked before."""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any, Final

from dicomrelay.errors import ConfigurationError

PREFIX: Final = "/ohif/"
_ROOT: Final = "package/dist/"
_MOST_FILES: Final = 2000
_MOST_BYTES: Final = 300_000_000
_NAME: Final = re.compile(r"(?:[A-Za-z0-9_@][A-Za-z0-9_@.+-]*/)*[A-Za-z0-9_@][A-Za-z0-9_@.+-]*", re.ASCII)
# Machine learning, microscopy, and what loads scripts from elsewhere or logs in elsewhere.
_LEFT_OUT: Final = ("ort/", "dicom-microscopy-viewer/", "customizations/")
_NOT_SERVED: Final = frozenset(
    {"sw.js", "init-service-worker.js", "google.js", "oidc-client.min.js", "silent-refresh.html", "app-config.js",
     "serve.json", "_headers", "_redirects", "manifest.json"}
)  # fmt: skip
_ZIPPED: Final = (".js", ".css", ".html", ".json", ".svg", ".wasm")
_INLINE_SCRIPT: Final = re.compile(r"<script>(.*?)</script>", re.DOTALL)
# What is not served is not asked for; the theme of a telephone's home screen neither.
_NOT_LINKED: Final = re.compile(
    r'<link rel="(?:manifest|apple-touch-[a-z-]+)"[^>]*>|<script [^>]*init-service-worker[^>]*></script>'
)


def unpack(package: Path, target: Path) -> dict[str, Any]:
    """Unpack what is served of an npm package into an empty folder.

    Returns
    -------
    dict
        `files`: name → bytes and SHA-256; `scripts`: the digests of inline scripts, as a content security policy names them.

    Raises
    ------
    ConfigurationError
        It is no package of OHIF, or holds more or other things than one may.
    """
    files: dict[str, dict[str, Any]] = {}
    scripts: list[str] = []
    total = 0
    try:
        with tarfile.open(package, "r:gz") as archive:
            for count, member in enumerate(archive):
                total += member.size
                if count >= _MOST_FILES or total > _MOST_BYTES:
                    raise ConfigurationError(f"{package.name}: holds more than a package of OHIF does")
                name = _wanted(member)
                source = archive.extractfile(member) if name else None
                if name is None or source is None:
                    continue
                content = _changed(name, source.read())
                if name == "index.html":
                    scripts = _digests(content.decode())
                files[name] = _write(target / name, content)
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{package.name}: cannot be unpacked as an npm package ({error})") from error
    if "index.html" not in files or not any(name.startswith("app.bundle.") for name in files):
        raise ConfigurationError(
            f"{package.name}: is no built OHIF: package/dist/index.html or the bundle is missing"
        )
    return {"files": files, "scripts": scripts}


def _wanted(member: tarfile.TarInfo) -> str | None:
    """The name under which a member is kept; None when it is not."""
    if not member.isreg() or not member.name.startswith(_ROOT):
        return None
    name = member.name.removeprefix(_ROOT)
    # Ours too where it looks harmless: a name is what the pattern allows, and nothing in it is a way up.
    if not _NAME.fullmatch(name) or ".." in PurePosixPath(name).parts:
        return None
    is_left_out = name.startswith(_LEFT_OUT) or name in _NOT_SERVED or name.endswith(".map")
    return None if is_left_out else name


def _changed(name: str, content: bytes) -> bytes:
    """The content with our public path in place of `/`."""
    if name == "index.html":
        page = _NOT_LINKED.sub("", content.decode())
        page = page.replace('PUBLIC_URL="/"', f'PUBLIC_URL="{PREFIX}"')
        return re.sub(r'(href|src|content)="/(?!/)', rf'\1="{PREFIX}', page).encode()
    if name.endswith(".css"):
        return re.sub(rb"url\(/(?!/)", f"url({PREFIX}".encode(), content)
    if name.endswith(".js"):
        return content.replace(b'__webpack_require__.p = "/"', f'__webpack_require__.p = "{PREFIX}"'.encode())
    return content


def _digests(page: str) -> list[str]:
    return [
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in _INLINE_SCRIPT.findall(page)
    ]


def _write(path: Path, content: bytes) -> dict[str, Any]:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    is_zipped = path.name.endswith(_ZIPPED) and len(content) > 1024
    if is_zipped:
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(content, 6, mtime=0))
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(), "zipped": is_zipped}
