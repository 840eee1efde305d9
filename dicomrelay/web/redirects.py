"""Which redirects are followed: those that keep method and body, to the same service. No I/O."""

from __future__ import annotations

from typing import Final
from urllib.parse import urljoin, urlsplit

from dicomrelay.settings.dicomweb import port_of

# RFC 9110 Sections 15.4.8 and 15.4.9; the others may make a GET of a POST.
_SAME_REQUEST: Final = frozenset({307, 308})


def same_service(url: str, status: int, location: str) -> str:
    """Where to ask again; "" when nobody is to be asked there.

    Credentials and images go nowhere but to the scheme, host and port of `url`, and no user is taken from a redirect.

    Parameters
    ----------
    url : str
        That was asked.
    status : int
        Of the answer.
    location : str
        Its Location header; "" when there is none.
    """
    if status not in _SAME_REQUEST or not _is_clean(location):
        return ""
    try:
        there = urljoin(url, location)
        here, other = urlsplit(url), urlsplit(there)
        same = (here.scheme, here.hostname, port_of(here)) == (other.scheme, other.hostname, port_of(other))
    except (ValueError, KeyError):
        return ""
    return there if same and other.username is None and other.password is None else ""


def _is_clean(location: str) -> bool:
    return bool(location) and location.isascii() and location.isprintable() and " " not in location
