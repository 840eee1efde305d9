"""The guard of every handler, Flower's and ours: who comes, from where, and what they may (docs/design/monitor.md)."""

from __future__ import annotations

import asyncio
import base64
import binascii
import inspect
import re
import secrets
import traceback
from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Final
from urllib.parse import urlsplit

from tornado.routing import URLSpec
from tornado.web import HTTPError, RequestHandler

from dicomrelay import access
from dicomrelay.access import Action, User
from dicomrelay.audit import Outcome, Party, Thing
from dicomrelay.audit.auditing import Doing
from dicomrelay.errors import AuditError, LedgerError, ServiceUnavailable
from dicomrelay.log import get_logger
from dicomrelay.settings import is_loopback
from monitor.house import House

# They say nothing but whether, or ask for a token of their own.
ASK_NOBODY: Final = frozenset({"/healthcheck", "/healthz", "/readyz", "/metrics"})
_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
# Flower's table of tasks asks for its rows so.
_READS_BY_POST: Final = frozenset({"/tasks/datatable"})
_log = get_logger("dicomrelay.monitor")
_HOST: Final = re.compile(r"(?:\[(?P<ip6>[^\]]*)\]|(?P<name>[^:]*))(?::[0-9]*)?", re.ASCII)
_NAME: Final = re.compile(r"[\w.@+-]{1,64}")
_ALWAYS: Final = (
    "default-src 'none'; img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)


class Guard(RequestHandler):
    """Comes before a handler's own class; `initialize` is the handler's own."""

    asks_who = True
    is_ours = False
    user: User | None = None
    door_asks = False
    # What an operation of Flower's own is called in the audit.
    deed = "flower"
    _nonce = ""
    _recording: tuple[AbstractContextManager[Doing], Doing] | None = None

    @property
    def house(self) -> House:
        """What the pages are built upon."""
        found: House = self.application.settings["house"]
        return found

    @property
    def script_nonce(self) -> str:
        """What lets a script in Flower's HTML run, for this answer."""
        if not self._nonce:
            self._nonce = secrets.token_urlsafe(16)
        return self._nonce

    def may(self, action: Action) -> bool:
        """Whether whoever asks may do that; where the door asks nobody, everybody may look."""
        if self.user is None and not self.door_asks:
            return action is Action.VIEW
        return access.may(self.user.role if self.user else None, action)

    def wanted(self) -> Action:
        """What a request wants to do; a page of ours says so of its own. What nobody has thought of is for admins."""
        if self.request.method in _READS or self.request.path in _READS_BY_POST:
            return Action.VIEW
        return Action.MANAGE_USERS

    # ---- what tornado and Flower call

    def set_default_headers(self) -> None:
        super().set_default_headers()
        for name in ("Origin", "Headers", "Methods"):
            self.clear_header(f"Access-Control-Allow-{name}")
        inline = "" if self.is_ours else f" 'nonce-{self.script_nonce}'"
        styles = "" if self.is_ours else " 'unsafe-inline'"
        self.set_header(
            "Content-Security-Policy",
            f"{_ALWAYS}; script-src 'self'{inline}; style-src 'self'{styles}",
        )
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("X-Frame-Options", "DENY")
        self.set_header("Referrer-Policy", "same-origin")
        self.set_header("Cross-Origin-Resource-Policy", "same-origin")
        self.set_header("Cross-Origin-Opener-Policy", "same-origin")

    async def prepare(self) -> None:
        if not self._is_called_by_our_name() or (self.asks_who and not await self._let_in()):
            return
        if not self.is_ours and self.wanted() is Action.MANAGE_USERS and not await self._begin():
            return
        before = super().prepare()
        if inspect.isawaitable(before):
            await before

    def on_finish(self) -> None:
        """What was begun has its end; a fault of whoever asked is one of theirs."""
        recording, self._recording = self._recording, None
        if recording is not None:
            about, doing = recording
            status = self.get_status()
            if status >= 400:
                doing.outcome = Outcome.SERIOUS if status >= 500 else Outcome.MINOR
                doing.words = f"status {status}"
            about.__exit__(None, None, None)
        super().on_finish()

    def check_xsrf_cookie(self) -> None:
        """That a page of this server asks: browsers say whose page does, and other programs have no cookie to be misused."""
        if self.request.path in _READS_BY_POST:
            return
        site, origin = self.request.headers.get("Sec-Fetch-Site"), self.request.headers.get("Origin")
        foreign = site != "same-origin" if site else origin and urlsplit(origin).netloc != self.request.host
        if foreign:
            raise HTTPError(403, "asked by a page of another site")

    def get_current_user(self) -> Any:
        return self.user.name if self.user else not self.door_asks

    @property
    def unauthenticated_api(self) -> bool:
        """Flower asks this where it has no users of its own: whether its API answers."""
        return self.user is not None

    def log_exception(self, typ: Any, value: Any, tb: TracebackType | None) -> None:
        """Without the address of the page: what somebody has searched for may be a name."""
        if isinstance(value, HTTPError | ServiceUnavailable | LedgerError):
            return
        *_, last = traceback.extract_tb(tb) or [None]
        where = "" if last is None else f"{last.filename}:{last.lineno}"
        _log.error("a page failed", action="monitor.failed", error=typ.__name__, where=where)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Flower's own would show the code and its settings to whoever asked."""
        if status_code >= 500:
            self._end(status_code, f"{status_code}: the log says why")
            return
        super().write_error(status_code, **kwargs)

    def render(self, *args: Any, **kwargs: Any) -> Any:
        if "read_only" in kwargs and not self.may(Action.MANAGE_USERS):
            kwargs["read_only"] = True
        return super().render(*args, **kwargs)

    # ---- what is checked

    def _is_called_by_our_name(self) -> bool:
        """On loopback a page of another site could have its own name resolved to us (DNS rebinding). Answered where not."""
        monitor = self.house.settings.monitor
        if not is_loopback(monitor.host):
            return True
        found = _HOST.fullmatch(self.request.headers.get("Host", "").lower())
        name = "" if found is None else found["name"] if found["ip6"] is None else found["ip6"]
        if is_loopback(name):
            return True
        self._end(421, "Flower is on loopback and answers to localhost and 127.0.0.1 only")
        return False

    async def _let_in(self) -> bool:
        """Whether it is somebody who may; answered where it is nobody, raises HTTPError for who may not."""
        house, field = self.house, self.request.headers.get("Authorization")
        address = self.request.remote_ip or ""
        self.door_asks = await asyncio.to_thread(access.is_asked, house.settings)
        if not self.door_asks:
            if not self.may(self.wanted()):
                raise HTTPError(403, "nobody is asked who they are here, so nobody may change anything")
            return True
        self.user = await asyncio.to_thread(access.authenticate, house.settings, field, address=address)
        if self.user is None:
            if field:
                house.not_let_in(_name_in(field), address)
            self.set_header("WWW-Authenticate", access.challenge())
            self._end(401, "show a user and a password, or a token (docs/howto/users-and-roles.md)")
            return False
        house.came_in(self.user, address)
        if not self.may(self.wanted()):
            house.may_not(self.user, self.wanted(), address)
            its_own = not self.is_ours and self.wanted() is Action.MANAGE_USERS
            what = "use operations of Flower itself: they are for admins" if its_own else self.wanted().value
            raise HTTPError(403, f"{self.user.role.value} may not {what}")
        return True

    async def _begin(self) -> bool:
        """Record an operation of Flower's own before it is done; answered where it cannot be."""
        user = self.user
        if user is None:  # who is not asked may not get here
            raise HTTPError(403)
        who = Party(user.name, self.request.remote_ip or "", role=user.role.value)
        named = [each for each in self.path_args if each and _NAME.fullmatch(each)]
        things = [Thing("subject", each) for each in named or (["unknown"] if self.path_args else [])]
        about = self.house.audit.action(who, self.deed, things, {"by": "flower"})
        try:
            doing = await asyncio.to_thread(about.__enter__)
        except AuditError:
            self._end(503, "nothing was done: it cannot be recorded now (see the log)")
            return False
        self._recording = about, doing
        return True

    def _end(self, status: int, words: str) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        if not self._finished:
            self.finish(f"{words}\n")


def _name_in(field: str) -> str:
    """The user that a wrong Authorization field names; "" for a token. One that can be none is not told."""
    scheme, _, rest = field.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        name = base64.b64decode(rest.strip(), validate=True).partition(b":")[0].decode()
    except (binascii.Error, UnicodeDecodeError):
        return "unknown"
    return name if _NAME.fullmatch(name) else "unknown"


def guarded(handlers: Sequence[Any]) -> list[URLSpec]:
    """Flower's handlers and ours behind the guard, in their order."""
    return [_guarded(spec if isinstance(spec, URLSpec) else URLSpec(*spec)) for spec in handlers]


def _guarded(spec: URLSpec) -> URLSpec:
    their = spec.handler_class
    if issubclass(their, Guard):
        return spec
    path = spec.regex.pattern.removesuffix("$")
    deed = "flower." + re.sub(r"(?<!^)(?=[A-Z])", "-", their.__name__).lower()
    facts = {"asks_who": path not in ASK_NOBODY, "deed": deed, "__doc__": their.__doc__}
    return URLSpec(path, type(f"Guarded{their.__name__}", (Guard, their), facts), spec.kwargs, spec.name)
