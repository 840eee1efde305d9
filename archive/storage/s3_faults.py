"""What obstore raises, in the words of the house. Its own are not kept: they have the key in them, and that the patient's id."""

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
        Everything else: it does not answer, is overloaded, or does not let us in. Another try may do.
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
        if "NoSuchBucket" in str(error):
            raise no_bucket(name) from None
        raise ServiceUnavailable(f"{name} does not answer ({_kind(error)})") from None


def no_bucket(name: str) -> ServiceUnavailable:
    """What is said of a bucket that is not there: not that its objects are gone."""
    return ServiceUnavailable(f"{name}: there is no such bucket")


def _kind(error: BaseError) -> str:
    """What can be said of an error without its words."""
    text = str(error)
    for sign, words in _SIGNS:
        if sign in text:
            return words
    return type(error).__name__


_SIGNS = (
    ("Connection refused", "connection refused"),
    ("dns error", "its name cannot be resolved"),
    ("certificate", "its certificate is not trusted: see archive.ca"),
    ("kind: Timeout", "timed out"),
    ("SlowDown", "it asks us to slow down"),
    ("status: 503", "it is overloaded"),
    ("kind: Connect", "no connection"),
)
