"""Where clients reach this server, for the addresses in answers (Retrieve URL, BulkDataURI)."""

from __future__ import annotations

import re
from typing import Final

from starlette.requests import Request

from dicomrelay.settings import is_loopback

_NO_PORT: Final = re.compile(r"\[([^\]]*)\]|([^:]*)", re.ASCII)


def base_url(request: Request) -> str:
    """The beginning of addresses, without a slash at its end: `streamer.public_url`, else what the client has asked for.

    Some clients leave the port out of the Host field. On loopback it is put in again: whoever asked there can reach it.
    """
    # Roads beside Starlette have no app, and know the setting themselves.
    public: str | None = getattr(request.app.state, "public_url", None) if "app" in request.scope else None
    if public is not None:
        return public.rstrip("/")
    url = request.base_url
    found = _NO_PORT.fullmatch(url.netloc)
    server = request.scope.get("server")
    if (
        found is not None
        and is_loopback(found[1] or found[2])
        and server
        and server[1] not in {None, 80, 443}
    ):
        return f"{url.scheme}://{url.netloc}:{server[1]}"
    return str(url).rstrip("/")
