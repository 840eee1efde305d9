"""Words of the client as values, checked key by key before anything is done with them. No I/O."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from streamer.answers import HttpError
from streamer.frames import checked_uids
from streamer.streams.schedule import LARGEST_WEIGHT, Order
from streamer.streams.wire import LARGEST_ID

LARGEST_CREDIT: Final = 2**30
LARGEST_POSITION: Final = 2**24
_LARGEST_FRAME: Final = 2**40
_REQUIRED: Final = object()


class WordsError(ValueError):
    """What a client said makes no sense; the message is for the client."""

    def __init__(self, words: str, *, status: int = 400) -> None:
        super().__init__(words)
        self.status = status


@dataclass(frozen=True, slots=True)
class Open:
    """A request to begin. `primary` is a position, or an instance and a frame number."""

    request_id: int
    study: str
    series: str
    instances: tuple[str, ...]
    first_frame: int
    last_frame: int
    primary: int | tuple[str, int]
    order: Order
    weight: int
    is_paused: bool


@dataclass(frozen=True, slots=True)
class Move:
    """Another primary index."""

    request_id: int
    primary: int | tuple[str, int]


@dataclass(frozen=True, slots=True)
class Weigh:
    """Another weight."""

    request_id: int
    weight: int


@dataclass(frozen=True, slots=True)
class Pause:
    """No turns from now on, or turns again."""

    request_id: int
    is_paused: bool


@dataclass(frozen=True, slots=True)
class Cancel:
    """The end of a request."""

    request_id: int


@dataclass(frozen=True, slots=True)
class Credit:
    """So many bytes of payload more."""

    payload_bytes: int


Message = Open | Move | Weigh | Pause | Cancel | Credit


def parse_objects(data: str | bytes) -> list[Mapping[str, Any]]:
    """One JSON object, or a list of some.

    Raises
    ------
    WordsError
        It is neither.
    """
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise WordsError("these words are no JSON") from error
    listed = found if isinstance(found, list) else [found]
    if not all(isinstance(each, dict) for each in listed):
        raise WordsError("these words are no JSON object, and no list of objects")
    return listed


def parse(words: Mapping[str, Any]) -> Message:
    """The message that an object means.

    Raises
    ------
    WordsError
        An unknown op or key, a key that is missing, or a value of another kind.
    """
    op = words.get("op")
    make = _OPS.get(op) if isinstance(op, str) else None
    if make is None:
        raise WordsError(f"op {str(op)[:40]!r} is none of {', '.join(_OPS)}")
    fields = _Fields(words)
    made = make(fields)
    fields.check_all_known()
    return made


class _Fields:
    """The keys of an object, each to be asked for once."""

    def __init__(self, words: Mapping[str, Any]) -> None:
        self._words = words
        self._known = {"op"}

    def take(self, key: str, default: object = _REQUIRED) -> Any:
        self._known.add(key)
        found = self._words.get(key, default)
        if found is _REQUIRED:
            raise WordsError(f"{key} is missing")
        return found

    def whole(self, key: str, low: int, high: int, default: object = _REQUIRED) -> int:
        found = self.take(key, default)
        if type(found) is not int or not low <= found <= high:
            raise WordsError(f"{key} is {_shown(found)}: a whole number from {low} to {high} is wanted")
        return found

    def check_all_known(self) -> None:
        unknown = sorted(set(self._words) - self._known)
        if unknown:
            raise WordsError(f"{unknown[0][:40]!r} is no key of this op")


def _shown(value: object) -> str:
    return repr(value)[:80]


def _identity(fields: _Fields) -> int:
    return fields.whole("id", 1, LARGEST_ID)


def _uid(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise WordsError(f"{key} is {_shown(value)}: a UID is wanted")
    try:
        return checked_uids(value)[0]
    except HttpError as error:
        raise WordsError(f"{key}: {error}") from error


def _open(fields: _Fields) -> Open:
    request_id = _identity(fields)
    study = _uid("study", fields.take("study"))
    series = fields.take("series", None)
    listed = fields.take("instances", None)
    if listed is not None and (not isinstance(listed, list) or not listed):
        raise WordsError("instances is no list of SOP Instance UIDs")
    first, last = _frames(fields.take("frames", None))
    order = fields.take("order", Order.OUTWARD)
    if order not in list(Order):
        raise WordsError(f"order is {_shown(order)}: {', '.join(Order)} are wanted")
    return Open(
        request_id=request_id,
        study=study,
        series="" if series is None else _uid("series", series),
        instances=tuple(_uid("instances", each) for each in listed or ()),
        first_frame=first,
        last_frame=last,
        primary=_primary(fields, 0),
        order=Order(order),
        weight=fields.whole("weight", 1, LARGEST_WEIGHT, 1),
        is_paused=_truth(fields, "paused"),
    )


def _frames(value: object) -> tuple[int, int]:
    match value:
        case None:
            return 1, 0
        case [int(first), int(last)] if 1 <= first <= last <= _LARGEST_FRAME:
            return first, last
        case _:
            raise WordsError(f"frames is {_shown(value)}: [first, last] is wanted, counted from 1")


def _primary(fields: _Fields, default: object = _REQUIRED) -> int | tuple[str, int]:
    match fields.take("primary", default):
        case {"instance": uid, "frame": int(frame), **rest} if not rest and 1 <= frame <= _LARGEST_FRAME:
            return _uid("primary", uid), frame
        case bool() as found:
            pass
        case int(position) if 0 <= position < LARGEST_POSITION:
            return position
        case found:
            pass
    raise WordsError(
        f'primary is {_shown(found)}: a position from 0, or {{"instance": UID, "frame": from 1}} is wanted'
    )


def _truth(fields: _Fields, key: str) -> bool:
    found = fields.take(key, False)
    if not isinstance(found, bool):
        raise WordsError(f"{key} is {_shown(found)}: true or false is wanted")
    return found


_OPS: Final[Mapping[str, Callable[[_Fields], Message]]] = {
    "open": _open,
    "move": lambda fields: Move(_identity(fields), _primary(fields)),
    "weight": lambda fields: Weigh(_identity(fields), fields.whole("weight", 1, LARGEST_WEIGHT)),
    "pause": lambda fields: Pause(_identity(fields), is_paused=True),
    "resume": lambda fields: Pause(_identity(fields), is_paused=False),
    "cancel": lambda fields: Cancel(_identity(fields)),
    "credit": lambda fields: Credit(fields.whole("bytes", 1, LARGEST_CREDIT)),
}
