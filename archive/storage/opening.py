"""The storage that the settings name."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from archive.storage.cache import Cache
from archive.storage.port import Storage
from dicomrelay.errors import ConfigurationError
from dicomrelay.settings.storage import StorageSettings

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Config, S3Store

CACHE: Final = "cache"
_CONNECT_TIMEOUT: Final = timedelta(seconds=5)
_RETRIES: Final = 3
_RETRY_TIMEOUT: Final = timedelta(seconds=20)


def open_storage(settings: StorageSettings, root: Path) -> Storage | None:
    """The storage of an archive; None for the folder of the archive itself. Nothing is asked of it yet.

    Parameters
    ----------
    settings : StorageSettings
        The section `archive`.
    root : Path
        The archive's folder: index, frames and cache are there.

    Raises
    ------
    ConfigurationError
        What speaks S3 is not installed, or the certificate file cannot be read.
    """
    if settings.url is None:
        return None
    try:
        from archive.storage.s3 import S3Storage  # noqa: PLC0415 - an extra: who has a folder needs no client
    except ImportError as error:
        raise ConfigurationError(
            "archive.url: the client for S3 is not installed; install dicomrelay[s3]"
        ) from error
    cache = Cache(root / CACHE, max_bytes=settings.cache_bytes)
    return S3Storage(_bucket(settings), name=settings.url, cache=cache)


def _bucket(settings: StorageSettings) -> S3Store:
    from obstore.store import S3Store  # noqa: PLC0415 - see above

    url = urlsplit(settings.url or "")
    config: S3Config = {
        "region": settings.region,
        "virtual_hosted_style_request": settings.virtual_hosted,
        "copy_if_not_exists": "multipart",
        # One object a request: not every service that speaks S3 has the other way.
        "disable_bulk_delete": True,
    }
    if settings.endpoint is not None:
        config["endpoint"] = settings.endpoint
    # Without these it is the environment's or the machine's own identity, as every client of S3 has it.
    if settings.access_key_id is not None and settings.secret_access_key is not None:
        config["access_key_id"] = settings.access_key_id.get_secret_value()
        config["secret_access_key"] = settings.secret_access_key.get_secret_value()
    if settings.session_token is not None:
        config["session_token"] = settings.session_token.get_secret_value()
    client: ClientConfig = {
        "allow_http": (settings.endpoint or "").startswith("http://"),
        "connect_timeout": _CONNECT_TIMEOUT,
        "timeout": timedelta(seconds=settings.timeout_s),
    }
    if settings.ca is not None:
        client["root_certificate"] = _certificate(settings.ca)
    return S3Store(
        url.netloc,
        prefix=url.path.strip("/") or None,
        config=config,
        client_options=client,
        retry_config={"max_retries": _RETRIES, "retry_timeout": _RETRY_TIMEOUT},
    )


def _certificate(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"archive.ca: {path}: {error.strerror}") from error
