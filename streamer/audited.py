"""What comes through the door, for the audit: who looked at which study, asked, stored, changed, or was not let in."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import parse_qsl

from dicomrelay.access import Action
from dicomrelay.audit import Audit, Entry, Kind, Outcome, Party, Thing
from dicomrelay.errors import AuditError
from dicomrelay.spool import Provenance
from streamer.answers import AsgiApp, HttpError, Message, Receive, Scope, Send, send_error
from streamer.identities import Caller
from streamer.stow.outcomes import Failed, Stored

# In the scope: who came in.
CALLER: Final = "dicomrelay.caller"
# In the scope: called with each study that a stream is opened for.
LOOKED: Final = "dicomrelay.looked"
# PS3.4 Sections C.6.2 and K.6.1: what QIDO-RS and the worklist ask, in the words of DIMSE.
_STUDY_ROOT_FIND: Final = "1.2.840.10008.5.1.4.1.2.2.1"
_WORKLIST_FIND: Final = "1.2.840.10008.5.1.4.31"
_UID: Final = re.compile(r"[0-9]+(\.[0-9]+)*")
_STUDY: Final = re.compile(r"/studies/([0-9.]{1,64})(/.*)?")
_SEARCH: Final = re.compile(
    r"/(studies|series|instances|plain)|/studies/[^/]+/(series(/[^/]+/instances)?|instances)"
)
_WORKLIST: Final = re.compile(r"/worklist(/.*)?")
_KEYWORD: Final = re.compile(r"[A-Z][A-Za-z]{2,63}|[0-9A-Fa-f]{8}")
_TAG: Final = re.compile(r"[0-9A-Fa-f]{8}")
_NAME: Final = re.compile(r"[\w.@+-]{1,64}")
_MOST_KEYS: Final = 32


class Witness:
    """Tells the audit. Around the app and inside of the door, so that it knows who came in."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    def around(self, app: AsgiApp) -> AsgiApp:
        """The app, seen."""

        async def seen(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "websocket" or (
                scope["type"] == "http" and scope["path"].startswith("/streams")
            ):
                scope[LOOKED] = lambda study: self._looked(scope, study, "stream")
                await app(scope, receive, send)
            elif scope["type"] != "http":
                await app(scope, receive, send)
            elif scope["method"] in {"GET", "HEAD"}:
                await app(scope, receive, self._noting(scope, send))
            elif _WORKLIST.fullmatch(scope["path"]):
                await self._changed(app, scope, receive, send)
            else:
                await app(scope, receive, send)

        return seen

    # ---- at the door

    def came_in(self, caller: Caller, address: str) -> None:
        """By a password that was looked at just now."""
        self._audit.note(Entry(Kind.LOGIN, "password", _party(caller.name, address)))

    def not_let_in(self, name: str, address: str) -> None:
        """By a password or token that is nobody's. A name that can be none is not told: it may be what should not be seen."""
        shown = name if _NAME.fullmatch(name) else "unknown"
        what = "password" if name else "token"
        words = "nobody has this name and password" if name else "nobody has this token"
        self._audit.note(Entry(Kind.LOGIN, what, Party(shown, address), outcome=Outcome.MINOR, words=words))

    def may_not(self, caller: Caller, action: Action, address: str) -> None:
        """It is somebody, who may not do that."""
        words = f"{caller.role} may not {action.value}"
        who = _party(caller.name, address)
        self._audit.note(Entry(Kind.REFUSED, action.value, who, outcome=Outcome.SERIOUS, words=words))

    # ---- behind it

    def stored(self, origin: Provenance, outcomes: Iterable[Stored | Failed]) -> None:
        """What a request of STOW-RS came to: an entry for each study."""
        studies: dict[str, Counter[str]] = {}
        failed = 0
        for each in outcomes:
            if isinstance(each, Stored):
                studies.setdefault(each.study_instance_uid, Counter())[each.sop_class_uid] += 1
            else:
                failed += 1
        who = _party(origin.user, origin.peer_address)
        for study, classes in studies.items():
            self._audit.note(
                Entry(
                    Kind.TRANSFERRED,
                    "stow",
                    who,
                    outcome=Outcome.MINOR if failed else Outcome.SUCCESS,
                    words=f"{failed} of the request were refused" if failed else "",
                    things=(Thing("study", study, classes),),
                    facts={"association": origin.association_id},
                )
            )

    def _noting(self, scope: Scope, send: Send) -> Send:
        async def send_noted(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 400:
                self._answered(scope)
            await send(message)

        return send_noted

    def _answered(self, scope: Scope) -> None:
        path = scope["path"]
        if "/frames/" in path and path.startswith("/studies/"):  # hundreds a second: no pattern is tried
            self._looked(scope, path.split("/", 3)[2], "wado")
        elif _SEARCH.fullmatch(path):
            self._asked(scope, "qido", _STUDY_ROOT_FIND)
        elif _WORKLIST.fullmatch(path):
            self._asked(scope, "worklist", _WORKLIST_FIND)
        elif found := _STUDY.fullmatch(path):
            self._looked(scope, found[1], "wado")
        elif path == "/wado":
            given = dict(parse_qsl(scope["query_string"].decode("latin-1"), max_num_fields=100))
            self._looked(scope, given.get("studyUID", ""), "wado")

    def _looked(self, scope: Scope, study: str, what: str) -> None:
        if not self._audit.is_new((scope.get(CALLER, ""), address_of(scope), study)):
            return
        if _UID.fullmatch(study):
            self._audit.note(Entry(Kind.ACCESSED, what, who_of(scope), things=(Thing("study", study),)))

    def _asked(self, scope: Scope, what: str, sop_class: str) -> None:
        who, keys = who_of(scope), _keys(scope["query_string"])
        things = [Thing("sop_class", sop_class)]
        if found := _STUDY.fullmatch(scope["path"]):
            things.append(Thing("study", found[1]))
        self._audit.note_once(
            (who, what, keys, things[-1].id),
            lambda: Entry(Kind.QUERY, what, who, things=tuple(things), facts={"keys": keys}),
        )

    async def _changed(self, app: AsgiApp, scope: Scope, receive: Receive, send: Send) -> None:
        """A change: recorded before it is made, and what came of it."""
        removes = scope["method"] == "DELETE"
        doing = self._audit.action(
            who_of(scope), "worklist.remove" if removes else "worklist.add", (), {"by": "http"}
        )
        try:
            told = await asyncio.to_thread(doing.__enter__)
        except AuditError:
            await send_error(send, HttpError(503, "what is changed cannot be recorded now: ask again later"))
            return

        async def send_noted(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400:
                told.outcome, told.words = Outcome.MINOR, f"status {message['status']}"
            await send(message)

        try:
            await app(scope, receive, send_noted)
        except BaseException as error:
            await asyncio.to_thread(doing.__exit__, type(error), error, error.__traceback__)
            raise
        await asyncio.to_thread(doing.__exit__, None, None, None)


def address_of(scope: Scope) -> str:
    """Whose request it is, by address."""
    client = scope.get("client")
    return client[0] if client else ""


def who_of(scope: Scope) -> Party:
    """Who asks, as far as the door knows."""
    return _party(scope.get(CALLER, ""), address_of(scope))


def _party(caller: str, address: str) -> Party:
    return Party(caller.removeprefix("user ") or "anonymous", address)


def _keys(query: bytes) -> str:
    """Which keys a search has: names that could be of attributes, never a value, nor what only stands where a name should."""
    names = {
        name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=1000)
    }
    found = sorted(
        each for name in names for each in name.split(".") if _KEYWORD.fullmatch(each) and _is_known(each)
    )
    return " ".join(found[:_MOST_KEYS])


def _is_known(name: str) -> bool:
    from pydicom.datadict import tag_for_keyword  # noqa: PLC0415 - slow, and the search has it by then

    return _TAG.fullmatch(name) is not None or tag_for_keyword(name) is not None


_Looked = Callable[[str], None]


def nobody_looks(_study: str) -> None:
    """Nothing is noted."""


def looked_of(scope: Scope) -> _Looked:
    """What a stream tells of the studies that it opens."""
    found: _Looked = scope.get(LOOKED, nobody_looks)
    return found
