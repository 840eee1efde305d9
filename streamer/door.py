"""What every request passes before a route sees it (docs/design/streamer-door.md): Origin, rate, identity."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import math
from collections.abc import Iterable
from typing import Final

from dicomrelay.access import Doorkeeper, may
from dicomrelay.settings import StreamerSettings
from streamer.answers import (
    AsgiApp,
    HttpError,
    Message,
    Receive,
    Scope,
    Send,
    header_values,
    send_error,
    send_whole,
)
from streamer.audited import CALLER, Witness, address_of
from streamer.credentials import Credentials
from streamer.deeds import action_of
from streamer.identities import Caller, Identities
from streamer.rates import Rate

# In the scope of what a page of another site asks that cors_origins let in.
FOREIGN: Final = "dicomrelay.foreign"
# The prefix of the subprotocol by which a browser's WebSocket shows its token.
TOKEN_PROTOCOL: Final = "dicomrelay.bearer."  # noqa: S105 - a prefix
_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_OPEN_PATHS: Final = frozenset({"/health"})
_EXPOSED: Final = (
    b"Accept-Ranges, Content-Length, Content-Location, Content-Range, ETag, Location, Retry-After, Warning"
)
_PREFLIGHT: Final = (
    (b"access-control-allow-methods", b"GET, HEAD, POST, DELETE"),
    (
        b"access-control-allow-headers",
        b"Accept, Authorization, Content-Type, If-Match, If-None-Match, If-Range, Range",
    ),
    (b"access-control-max-age", b"600"),
)
_PASSWORDS_AT_ONCE: Final = 2
_MINUTE_S: Final = 60
_MAX_FAILURES: Final = 10


def guarded(
    app: AsgiApp,
    settings: StreamerSettings,
    *,
    keeper: Doorkeeper | None = None,
    witness: Witness | None = None,
) -> AsgiApp:
    """The app behind what the settings ask of those who come: nothing, by default, but that pages of other sites change nothing.

    Parameters
    ----------
    keeper : Doorkeeper, optional
        Knows the users of the house.
    witness : Witness, optional
        Tells the audit who came in, and who did not.

    Raises
    ------
    ConfigurationError
        Tokens or users cannot be read from their file.
    """
    guards = app if witness is None else witness.around(app)
    access = settings.access
    if access is not None or keeper is not None:
        credentials = None if access is None else Credentials(access)
        most = _MAX_FAILURES if access is None else access.max_failures
        guards = _Identified(guards, Identities(credentials, keeper), most, witness)
    if settings.requests_per_s is not None:
        guards = _Rated(guards, settings.requests_per_s)
    return _Origins(guards, settings.cors_origins, own=_origin_of(settings.public_url or ""))


class _Origins:
    """CORS, and no change or WebSocket by a page of another site."""

    def __init__(self, app: AsgiApp, origins: Iterable[str], *, own: str) -> None:
        self._app = app
        self._origins = frozenset(origins)
        self._own = own

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        given = header_values(scope, b"origin")
        if not given:
            await self._app(scope, receive, send)
            return
        is_listed = len(given) == 1 and ("*" in self._origins or given[0] in self._origins)
        if _is_preflight(scope) and self._origins:
            await self._preflight(send, given[0] if is_listed else None)
            return
        is_foreign = not self._is_own(scope, given)
        if is_listed and scope["type"] == "http":
            scope[FOREIGN] = is_foreign
            send = _shared(send, given[0])
        elif not is_listed and is_foreign and scope.get("method", "") not in _READS:
            await refuse(
                scope, send, HttpError(403, "pages of this origin may not do that: see streamer.cors_origins")
            )
            return
        await self._app(scope, receive, send)

    def _is_own(self, scope: Scope, given: list[str]) -> bool:
        return given == [self._own] != [""] or _is_same(scope, given)

    async def _preflight(self, send: Send, origin: str | None) -> None:
        if origin is None:
            await send_error(send, HttpError(403, "this origin is not in streamer.cors_origins"))
            return
        await send_whole(_shared(send, origin), 204, b"", b"", headers=_PREFLIGHT)


class _Rated:
    """So many requests a second from one address."""

    def __init__(self, app: AsgiApp, per_s: float) -> None:
        self._app = app
        self._rate = Rate(per_s, max(1.0, per_s))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in {"http", "websocket"}:
            address = address_of(scope)
            wait_s = self._rate.wait_s(address)
            if wait_s > 0:
                await refuse(
                    scope, send, _later("more requests a second than streamer.requests_per_s", wait_s)
                )
                return
            self._rate.take(address)
        await self._app(scope, receive, send)


class _Identified:
    """Nobody without a token or a password, and nobody to what its role may not."""

    def __init__(
        self, app: AsgiApp, identities: Identities, max_failures: int, witness: Witness | None
    ) -> None:
        self._app = app
        self._witness = witness
        self._identities = identities
        self._failures = Rate(max_failures / _MINUTE_S, max_failures)
        self._passwords = asyncio.Semaphore(_PASSWORDS_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_asked = scope["type"] in {"http", "websocket"} and scope["path"] not in _OPEN_PATHS
        if not is_asked or not self._identities.is_on:
            await self._app(scope, receive, send)
            return
        try:
            caller = await self._caller(scope)
            self._check(caller, scope)
            scope[CALLER] = caller.name
        except HttpError as error:
            await refuse(scope, send, error)
            return
        await self._app(scope, receive, send)

    async def _caller(self, scope: Scope) -> Caller:
        address = address_of(scope)
        fields = header_values(scope, b"authorization")
        if not fields and scope["type"] == "websocket":
            fields = _token_of(scope)
        field = fields[0].encode("latin-1") if len(fields) == 1 else b""
        # A token is too long to be guessed: who knows it comes in, whoever else fails at the same address.
        is_token = field[:7].lower() == b"bearer "
        caller = self._identities.known(field) if is_token else None
        if caller is not None:
            return caller
        self._let_guess(address)
        if not field:
            # Not a failure: browsers ask without first (RFC 7235 Section 2.1).
            raise self._unknown("show who you are: the Authorization field, once")
        if not is_token:
            caller = self._identities.known(field) or await self._slowly(field, address)
        if caller is None:
            self._failures.take(address)
            if self._witness is not None:
                self._witness.not_let_in("" if is_token else name_of(field), address)
            raise self._unknown("nobody has this token, or this name and password")
        return caller

    async def _slowly(self, field: bytes, address: str) -> Caller | None:
        if field[:6].lower() != b"basic ":
            return None
        async with self._passwords:
            # Those that came at once are counted too: what waited here may be one too many by now.
            self._let_guess(address)
            caller = await asyncio.to_thread(self._identities.checked, field)
        if caller is not None and self._witness is not None:
            self._witness.came_in(caller, address)
        return caller

    def _check(self, caller: Caller, scope: Scope) -> None:
        """Raise 403 where the role may not."""
        action = action_of(scope.get("method", ""), scope["path"])
        if may(caller.role, action):
            return
        if self._witness is not None:
            self._witness.may_not(caller, action, address_of(scope))
        raise HttpError(
            403, f"{caller.name} is {caller.role}, who may not {action.value}: an admin can give another role"
        )

    def _let_guess(self, address: str) -> None:
        wait_s = self._failures.wait_s(address)
        if wait_s > 0:
            raise _later("too many failures to show who you are came from this address", wait_s)

    def _unknown(self, words: str) -> HttpError:
        return HttpError(401, words, headers=((b"www-authenticate", self._identities.challenge()),))


async def refuse(scope: Scope, send: Send, error: HttpError) -> None:
    """Say no, to a WebSocket in place of the handshake too (ASGI's extension `websocket.http.response`)."""
    if scope["type"] == "http":
        await send_error(send, error)
    elif "websocket.http.response" in scope.get("extensions", {}):

        async def send_denial(message: Message) -> None:
            await send({**message, "type": message["type"].replace("http.", "websocket.http.", 1)})

        await send_error(send_denial, error)
    else:
        await send({"type": "websocket.close", "code": 1008, "reason": str(error)[:120]})


def _later(words: str, wait_s: float) -> HttpError:
    return HttpError(
        429, f"{words}: ask again later", headers=((b"retry-after", str(math.ceil(wait_s)).encode()),)
    )


def _token_of(scope: Scope) -> list[str]:
    """The token among the subprotocols, taken out of them."""
    offered = scope.get("subprotocols", [])
    tokens = [name for name in offered if name.startswith(TOKEN_PROTOCOL)]
    scope["subprotocols"] = [name for name in offered if not name.startswith(TOKEN_PROTOCOL)]
    return [f"Bearer {name.removeprefix(TOKEN_PROTOCOL)}" for name in tokens]


def name_of(field: bytes) -> str:
    """The name that a field of basic authentication shows; "?" where there is none to be read."""
    with contextlib.suppress(ValueError):
        return base64.b64decode(field[6:].strip(), validate=True).partition(b":")[0].decode() or "?"
    return "?"


def _origin_of(url: str) -> str:
    """The origin of a URL; "" of none."""
    scheme, _, rest = url.partition("://")
    place = rest.partition("/")[0]
    return f"{scheme}://{place}".lower() if place else ""


def _is_preflight(scope: Scope) -> bool:
    return (
        scope["type"] == "http"
        and scope["method"] == "OPTIONS"
        and bool(header_values(scope, b"access-control-request-method"))
    )


def _is_same(scope: Scope, given: list[str]) -> bool:
    """Whether the one origin is the name that was asked for. The scheme is not compared: a proxy may have taken TLS off."""
    hosts = header_values(scope, b"host")
    return len(given) == len(hosts) == 1 and given[0].partition("://")[2].lower() == hosts[0].lower() != ""


def _shared(send: Send, origin: str) -> Send:
    """Let the pages of an origin read the answer. Never with credentials that the browser adds by itself."""
    fields = (
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", _EXPOSED),
    )

    async def send_shared(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *fields, (b"vary", b"Origin")]
        await send(message)

    return send_shared
