"""What is shown to a service as Authorization: a token, a user, or an access token of OAuth 2."""

from __future__ import annotations

import base64
import threading
from pathlib import Path
from typing import Final, Protocol

from dicomrelay.errors import ConfigurationError
from dicomrelay.settings import DicomwebAuthSettings
from dicomrelay.web.access_tokens import AccessTokens

_MAX_SECRET_BYTES: Final = 65_536


class Credentials(Protocol):
    """Makes the value of Authorization."""

    def header(self, refused: str = "") -> str:
        """What to send now.

        Parameters
        ----------
        refused : str
            What the service has just answered 401 to: something else, if there is anything else.

        Raises
        ------
        ConfigurationError
            A file cannot be read.
        AssociationError
            No token came.
        """


def credentials_of(auth: DicomwebAuthSettings | None, where: str) -> Credentials | None:
    """By the settings; None when nothing is shown. Access tokens are kept, one for all transfers of a destination.

    Parameters
    ----------
    where : str
        The setting, for the words of errors: "destinations.cloud".
    """
    if auth is None:
        return None
    if auth.token_file is not None:
        return _Token(auth.token_file, f"{where}.auth.token_file")
    if auth.user is not None and auth.password_file is not None:
        return _User(auth.user, auth.password_file, f"{where}.auth.password_file")
    with _clients_lock:
        found = _clients.get((auth, where))
        if found is None:
            found = _clients[auth, where] = _Client(auth, where)
    return found


class _Token:
    def __init__(self, path: Path, where: str) -> None:
        self._path = path
        self._where = where

    def header(self, refused: str = "") -> str:
        del refused  # the file is what there is
        token = read_secret(self._path, self._where)
        if not token.isascii() or not token.isprintable() or " " in token:
            raise ConfigurationError(f"{self._path}: holds no bearer token ({self._where})")
        return f"Bearer {token}"


class _User:
    """RFC 7617."""

    def __init__(self, user: str, path: Path, where: str) -> None:
        self._user = user
        self._path = path
        self._where = where

    def header(self, refused: str = "") -> str:
        del refused
        pair = f"{self._user}:{read_secret(self._path, self._where)}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"


class _Client:
    """Has its secret from a file as it is when a token is asked for."""

    def __init__(self, auth: DicomwebAuthSettings, where: str) -> None:
        path = auth.client_secret_file
        assert path is not None  # noqa: S101 - the settings have looked
        self._tokens = AccessTokens(
            auth, where, secret=lambda: read_secret(path, f"{where}.auth.client_secret_file")
        )

    def header(self, refused: str = "") -> str:
        return f"Bearer {self._tokens.get(refused.removeprefix('Bearer '))}"


# One for each destination of the settings, at most.
_clients: dict[tuple[DicomwebAuthSettings, str], _Client] = {}
_clients_lock = threading.Lock()


def read_secret(path: Path, where: str) -> str:
    """What a file holds, without the white space around it.

    Raises
    ------
    ConfigurationError
        It cannot be read, is empty, too long, or no text; it is not quoted.
    """
    try:
        with path.open("rb") as file:
            secret = file.read(_MAX_SECRET_BYTES + 1).decode().strip()
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror} ({where})") from error
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: is no text ({where})") from None
    if not 0 < len(secret) < _MAX_SECRET_BYTES or not secret.isprintable():
        raise ConfigurationError(f"{path}: is empty, too long, or has more than one line ({where})")
    return secret
