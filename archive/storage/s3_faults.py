"""What obstore raises, in the words of the house. Its own words have the key in them, and a key the id of a patient: none of them is kept."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)

from dicomrelay.errors import ServiceUnavailable


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Around one request to the storage of that name.

    Raises
    ------
    FileExistsError
        The key is taken.
    FileNotFoundError
        Nothing is under the key, or the bucket is gone.
    ServiceUnavailable
        Everything else: it does not answer, is overloaded, or does not let us in. Another try may do, once somebody has seen to it.
    """
    try:
        yield
    except AlreadyExistsError:
        raise FileExistsError(errno.EEXIST, "there is an object under that name") from None
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, "the storage has no such object") from None
    except PreconditionError:
        raise ServiceUnavailable(f"{name}: an object was replaced while it was read; try again") from None
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise ServiceUnavailable(
            f"{name} does not let us in ({type(error).__name__}): look at archive.access_key_id, archive.secret_access_key and "
            "the rights of that key"
        ) from None
    except BaseError as error:
        raise ServiceUnavailable(f"{name} does not answer ({_kind(error)})") from None


def _kind(error: BaseError) -> str:
    """What can be said of an error without its words."""
    text = str(error).lower()
    for sign, words in _SIGNS:
        if sign in text:
            return words
    return type(error).__name__


_SIGNS = (
    ("connection refused", "connection refused"),
    ("dns error", "its name cannot be resolved"),
    ("certificate", "its certificate is not trusted: see archive.ca"),
    ("timed out", "timed out"),
    ("timeout", "timed out"),
    ("slowdown", "it asks us to slow down"),
    ("503", "it is overloaded"),
    ("connect", "no connection"),
)
