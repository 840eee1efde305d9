"""What the parts of the house say to the audit, and what of it goes into trail and log."""

from __future__ import annotations

import contextlib
import os
import pwd
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from dicomrelay import metrics
from dicomrelay.audit.shipped import Shipped
from dicomrelay.audit.trail import Keeping, Segment, Trail
from dicomrelay.audit.values import Entry, Kind, Outcome, Party, Thing, cut
from dicomrelay.errors import AuditError
from dicomrelay.log import get_logger
from dicomrelay.metrics.catalogue import AUDIT_LOST
from dicomrelay.settings import Settings

FOLDER: Final = "audit"
_SAY_AGAIN_S: Final = 60.0
_MOST_WINDOWS: Final = 8192
_LOGGED: Final = frozenset({Kind.ACTION, Kind.LOGIN, Kind.REFUSED})
_log = get_logger("dicomrelay.audit")


@dataclass(slots=True)
class Doing:
    """An action under way; what is put here is written with its outcome.

    Attributes
    ----------
    words : str
        What came of it: no value of a data set.
    """

    words: str = ""
    facts: dict[str, str | int] = field(default_factory=dict)
    outcome: Outcome = Outcome.SUCCESS


class Audit:
    """The audit of a process. Safe for several threads."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._trail = trail_of(settings) if settings.audit.enabled else None
        self._window_s = settings.audit.access_window_s
        self._clock = clock
        self._said_at = float("-inf")
        self._seen: OrderedDict[Hashable, float] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, entry: Entry) -> None:
        """Record what happened, without waiting for the disk. What cannot be written is said in the log, once a minute."""
        _tell(entry)
        if self._trail is None:
            return
        try:
            self._trail.write(entry)
        except AuditError as error:
            metrics.add(AUDIT_LOST)
            if self._clock() - self._said_at >= _SAY_AGAIN_S:
                self._said_at = self._clock()
                _log.error("what happens is not recorded", action="audit.not-written", reason=str(error))

    def note_once(self, key: Hashable, entry: Callable[[], Entry]) -> None:
        """The same, the first time within `audit.access_window_s` that the key is named."""
        if self.is_new(key):
            self.note(entry())

    def is_new(self, key: Hashable) -> bool:
        """Whether the key is named for the first time within `audit.access_window_s`."""
        now = self._clock()
        with self._lock:
            last = self._seen.get(key)
            if last is not None and now - last < self._window_s:
                return False
            self._seen[key] = now
            self._seen.move_to_end(key)
            if len(self._seen) > _MOST_WINDOWS:
                self._seen.popitem(last=False)
        return True

    @contextlib.contextmanager
    def action(
        self, who: Party, what: str, about: Sequence[Thing] = (), facts: Mapping[str, str | int] | None = None
    ) -> Iterator[Doing]:
        """What a person does, in the block: durable before it is done, and its outcome after.

        Raises
        ------
        AuditError
            It cannot be recorded, so it is not done.
        """
        begun = Entry(
            Kind.ACTION, what, who, outcome=Outcome.BEGUN, things=tuple(about), facts=dict(facts or {})
        )
        if self._trail is not None:
            self._trail.write(begun, durable=True)
        doing = Doing()
        try:
            yield doing
        except BaseException as error:
            # Its words may name a file, and a file a patient.
            self._ended(begun, doing, Outcome.SERIOUS, doing.words or type(error).__name__)
            raise
        self._ended(begun, doing, doing.outcome, doing.words)

    def _ended(self, begun: Entry, doing: Doing, outcome: Outcome, words: str) -> None:
        facts = {**begun.facts, **doing.facts}
        ended = replace(begun, outcome=outcome, words=words, facts=facts, at=datetime.now(UTC))
        _tell(ended)
        if self._trail is None:
            return
        try:
            self._trail.write(ended, durable=True)
        except AuditError as error:
            metrics.add(AUDIT_LOST)
            _log.error(
                "an action was done, and its outcome is not recorded",
                action="audit.not-written",
                reason=str(error),
            )


def trail_of(settings: Settings) -> Trail:
    """The trail of a home."""
    folder = settings.path(FOLDER)
    shipped = Shipped(folder)

    def heard(segment: Segment) -> bool:
        return settings.audit.syslog is None or shipped.is_behind(segment)

    keeping = Keeping(settings.audit.keep_days, settings.audit.max_bytes)
    return Trail(folder, keeping=keeping, heard=heard)


def this_account() -> Party:
    """Whoever runs this command: the account of the machine, and the one behind sudo."""
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        name = f"uid {os.geteuid()}"
    behind = os.environ.get("SUDO_USER") if os.geteuid() == 0 else None
    if behind is None:
        with contextlib.suppress(OSError):
            login = os.getlogin()  # of the terminal, whatever the environment says
            behind = login if login != name else None
    address = os.environ.get("SSH_CONNECTION", "").partition(" ")[0]
    return Party(f"{name} ({behind})" if behind and behind != name else name, address)


def _tell(entry: Entry) -> None:
    """One line in the log of what a person did, or who was not let in."""
    if entry.kind not in _LOGGED:
        return
    say = _log.info if entry.outcome in (Outcome.SUCCESS, Outcome.BEGUN) else _log.warning
    say(
        entry.what,
        action=f"audit.{entry.kind.value}",
        who=cut(entry.actor.id),
        outcome=entry.outcome.word,
        **({"peer_address": cut(entry.actor.address)} if entry.actor.address else {}),
        **({"about": [cut(thing.id) for thing in entry.things[:10]]} if entry.things else {}),
        **({"reason": cut(entry.words)} if entry.words else {}),
    )
