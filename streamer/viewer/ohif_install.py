"""Installing OHIF below the home: fetched or given, checked, unpacked beside its place, then named in one step.

```
home/viewers/ohif.json          which folder holds it, and every file in it: replaced as a whole
home/viewers/ohif-<version>-<random>/
```
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import secrets
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from dicomrelay.errors import ConfigurationError, ServiceUnavailable
from streamer.viewer.ohif_package import unpack

VERSION: Final = "3.13.2"
SHA512: Final = {
    VERSION: (
        "5997719a9986eeba85816f5924b71b82bdd70ad2e2d4a0cd3e831a798e4f3dee"
        "a3e06e1f8c48e393271933a0ba664d85f3b04ac457e9abe8dde715d907d13c10"
    )
}
POINTER: Final = "ohif.json"
_PIECE: Final = 1 << 20
_MOST_BYTES: Final = 200_000_000
_TIMEOUT_S: Final = 60
_FOLDER: Final = re.compile(r"ohif-[A-Za-z0-9._-]+-[0-9a-f]{8}")


def tarball_url(registry: str, version: str) -> str:
    """Where an npm registry has the package."""
    return f"{registry.rstrip('/')}/@ohif/app/-/app-{version}.tgz"


def download(url: str, target: Path, *, progress: Callable[[int], None] = lambda _: None) -> None:
    """Fetch a package into a file, at most 200 MB of it.

    Raises
    ------
    ConfigurationError
        The URL is neither http nor https.
    ServiceUnavailable
        It cannot be fetched.
    """
    if not url.startswith(("https://", "http://")):
        raise ConfigurationError(f"{url}: give an http or https URL, or a file with --file")
    total = 0
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer, target.open("wb") as file:  # noqa: S310 - checked
            while piece := answer.read(_PIECE):
                total += len(piece)
                if total > _MOST_BYTES:
                    raise ConfigurationError(
                        f"{url}: more than {_MOST_BYTES // 1_000_000} MB, which is no OHIF"
                    )
                file.write(piece)
                progress(total)
    except (OSError, http.client.HTTPException) as error:
        why = error.reason if isinstance(error, urllib.error.URLError) else error
        raise ServiceUnavailable(f"{url}: cannot be fetched ({why}); give a file with --file") from error


def install(
    viewers: Path, package: Path, *, version: str = VERSION, sha512: str | None = None
) -> dict[str, Any]:
    """Check a package and put it in place; what was there before is removed afterwards. A crash leaves the one or the other.

    Parameters
    ----------
    viewers : Path
        The folder `viewers` of the home.
    sha512 : str, optional
        The digest that the package must have, in hexadecimal; the known one of the version when not given.

    Raises
    ------
    ConfigurationError
        The package cannot be read, is another than the digest says, or is no OHIF; or no digest is known.
    """
    expected = sha512 or SHA512.get(version)
    if expected is None:
        raise ConfigurationError(
            f"no digest of OHIF {version} is known: give it with --sha512, or install {VERSION}"
        )
    try:
        with package.open("rb") as file:
            actual = hashlib.file_digest(file, "sha512").hexdigest()
    except OSError as error:
        raise ConfigurationError(f"{package}: cannot be read ({error.strerror})") from error
    if actual != expected.lower():
        raise ConfigurationError(
            f"{package.name}: its SHA-512 is {actual[:16]}…, where {expected[:16]}… is expected: not installed"
        )
    try:
        viewers.mkdir(mode=0o700, exist_ok=True)
        _remove_others(viewers)
        folder = viewers / f"ohif-{version}-{secrets.token_hex(4)}"
        folder.mkdir()
        try:
            found = {"version": version, "sha512": actual, "folder": folder.name, **unpack(package, folder)}
            _point(viewers, found)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        _remove_others(viewers)
    except OSError as error:
        raise ConfigurationError(f"{viewers}: cannot be written ({error.strerror})") from error
    return found


def installed(viewers: Path) -> dict[str, Any] | None:
    """What is installed, as `install` wrote it; None when nothing is."""
    try:
        found: dict[str, Any] = json.loads((viewers / POINTER).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{viewers / POINTER}: cannot be read; install OHIF again") from error
    return found


def remove(viewers: Path) -> bool:
    """Take it away; False when there was none."""
    was_there = (viewers / POINTER).exists()
    (viewers / POINTER).unlink(missing_ok=True)
    _remove_others(viewers)
    return was_there


def _point(viewers: Path, found: dict[str, Any]) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f"{POINTER}.", dir=viewers)
    with open(descriptor, "w", encoding="utf-8") as file:
        json.dump(found, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(viewers / POINTER)


def _remove_others(viewers: Path) -> None:
    """Folders and pointers that a crash or an older version left."""
    if not viewers.is_dir():
        return
    pointed = installed(viewers)
    for path in viewers.iterdir():
        if _FOLDER.fullmatch(path.name) and (pointed is None or path.name != pointed["folder"]):
            shutil.rmtree(path, ignore_errors=True)
        elif path.name.startswith(f"{POINTER}."):
            path.unlink(missing_ok=True)
