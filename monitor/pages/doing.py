"""What a button does: one verb, for those who may, recorded before it is done."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from tornado.web import HTTPError, RequestHandler

from dicomrelay.access import Action
from dicomrelay.audit import Outcome, Party, Thing
from dicomrelay.errors import AuditError, RelayError
from dicomrelay.ledger import Ledger
from dicomrelay.ledger.values import TransferState
from dicomrelay.ledger.values_operations import (
    EVERYTHING,
    Changed,
    Replayed,
    ReplayOrder,
    Subject,
    SubjectKind,
    Verb,
)
from dicomrelay.log import get_logger
from dicomrelay.text import shown, size
from monitor import words
from monitor.pages.page import Page
from monitor.said import Word

# Of the forms: everything that is open to one destination.
ALL: Final = "*"
_REPLAY: Final = "replay"
_OF_DESTINATIONS: Final = {"hold-destination": Action.HOLD, "release-destination": Action.RELEASE}
_ACTIONS: Final = {
    **{each.value: Action(each.value) for each in Verb},
    _REPLAY: Action.REPLAY,
    **_OF_DESTINATIONS,
}
_DONE: Final = {
    Verb.RETRY: "tried again now",
    Verb.HOLD: "held",
    Verb.RELEASE: "released",
    Verb.CANCEL: "cancelled",
}
_LEFT: Final = {
    (Verb.RETRY, TransferState.HELD): "held: release lets them go",
    (Verb.RETRY, TransferState.CANCELLED): "cancelled: replay sends them after all",
    (Verb.RELEASE, TransferState.CANCELLED): "cancelled: replay sends them after all",
    (Verb.RELEASE, TransferState.NEEDS_ATTENTION): "in need of attention: retry tries them again",
    (Verb.HOLD, TransferState.NEEDS_ATTENTION): "in need of attention, which do not move by themselves",
}
_LONGEST: Final = 256
_MOST_NAMES: Final = 100
_log = get_logger("dicomrelay.monitor")


@dataclass(frozen=True, slots=True)
class Wish:
    """What a form asks for.

    Attributes
    ----------
    id : str
        Of a study, a job or a transfer; "*" for everything; of a verb for a destination, "".
    """

    verb: str
    id: str
    destination: str
    to: tuple[str, ...] = ()
    again: bool = False

    @property
    def what(self) -> str:
        """In a word, as the audit of the command has it."""
        if self.verb in _OF_DESTINATIONS:
            return f"destinations.{self.verb.removesuffix('-destination')}"
        return f"jobs.{self.verb}"

    def things(self) -> Iterator[Thing]:
        """What it is about, for the audit: ids of ours, UIDs and names of destinations, which the ledger was asked for."""
        if self.id:
            yield Thing("subject", "all" if self.id == ALL else self.id)
        yield from (Thing("destination", name) for name in (self.destination, *self.to) if name)


class DoPage(Page):
    """Takes the forms of the other pages, and leads back to where they were."""

    def wanted(self) -> Action:
        if self.request.method != "POST":
            return Action.VIEW
        return _ACTIONS.get(self._field("verb"), Action.MANAGE_USERS)

    def get(self) -> None:
        """There is nothing to see."""
        self.redirect("/transfers", status=303)

    async def post(self) -> None:
        wish = Wish(
            verb=self._field("verb"),
            id=self._field("id"),
            destination=self._field("destination"),
            to=tuple(
                dict.fromkeys(filter(None, RequestHandler.get_body_arguments(self, "to")[:_MOST_NAMES]))
            ),
            again=self._field("again") == "yes",
        )
        if wish.verb not in _ACTIONS:
            raise HTTPError(400, "there is no such verb")
        word = await asyncio.to_thread(self._recorded, wish)
        self.house.looks.forget()
        key = self.house.said.put(word)
        back = self._field("back")
        # A path of ours, and not the beginning of another host's address.
        place = (
            back
            if back.startswith("/") and back[1:2] not in ("/", "\\") and back.isprintable()
            else "/transfers"
        )
        self.redirect(f"{place}{'&' if '?' in place else '?'}said={key}#said", status=303)

    def _field(self, name: str) -> str:
        return str(RequestHandler.get_body_argument(self, name, ""))[:_LONGEST]

    def _recorded(self, wish: Wish) -> Word:
        """In a thread: done as the audit wants it."""
        house, user = self.house, self.user
        if user is None:  # the guard has let nobody else through
            raise HTTPError(403)
        who = Party(user.name, self.request.remote_ip or "", role=user.role.value)
        try:
            known = house.looks.ask(lambda ledger: _known(ledger, wish))
            if known is None:
                return Word(
                    ("Nothing was done: nothing here has this id, or no destination this name.",), False
                )
            with house.audit.action(who, wish.what, list(wish.things()), {"by": "flower"}) as doing:
                word = house.looks.ask(lambda ledger: self._done(ledger, wish, known))
                if not word.went_well:
                    doing.outcome = Outcome.MINOR
                return word
        except AuditError:
            return Word(("Nothing was done: it cannot be recorded now (see the log).",), False)
        except RelayError as error:
            _log.warning("a button did not do", action="monitor.button", verb=wish.verb, reason=str(error))
            return Word((f"It was not done, or not all of it: {shown(str(error))}",), False)

    def _done(self, ledger: Ledger, wish: Wish, subject: Subject) -> Word:
        if wish.verb in _OF_DESTINATIONS:
            return _destination(ledger, wish)
        if wish.verb == _REPLAY:
            order = ReplayOrder(
                job_id=f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}",
                subject=subject,
                destinations=wish.to,
                again=wish.again,
            )
            return replayed_words(ledger.operations.replay(order, in_archive=self.house.looks.in_archive))
        verbs: dict[str, Any] = {
            "retry": ledger.operations.retry,
            "hold": ledger.operations.hold,
            "release": ledger.operations.release,
            "cancel": ledger.operations.cancel,
        }
        return changed_words(verbs[wish.verb](subject, destination=wish.destination))


def _known(ledger: Ledger, wish: Wish) -> Subject | None:
    """What it is about, where everything that it names is known."""
    if any(ledger.destination(name) is None for name in (wish.destination, *wish.to) if name):
        return None
    if wish.verb in _OF_DESTINATIONS:
        return EVERYTHING if wish.destination else None
    if wish.id == ALL:
        # What is held or cancelled one by one is released one by one.
        return EVERYTHING if wish.verb == Verb.RETRY.value and wish.destination else None
    return ledger.operations.find(wish.id)


def _destination(ledger: Ledger, wish: Wish) -> Word:
    name = shown(wish.destination)
    if wish.verb == "hold-destination":
        was = ledger.flow.hold(wish.destination)
        return Word(
            (
                f"{name} is held: nothing is sent to it until it is released."
                if was
                else f"{name} was held already.",
            )
        )
    was = ledger.flow.release(wish.destination)
    return Word((f"{name} is released: what waits for it is sent." if was else f"{name} was not held.",))


def changed_words(changed: Changed) -> Word:
    """What a verb did, and what it left."""
    waits = TransferState.HELD if changed.verb is Verb.RETRY else None
    moved = [each for each in changed.changes if each.after is not waits]
    about = _subject(changed.subject)
    lines = []
    if moved:
        names = shown(", ".join(sorted({each.destination for each in moved})))
        number = sum(each.instances for each in moved)
        lines.append(
            f"{about}: {words.count(len(moved), 'transfer')} with {words.count(number, 'instance')} to {names} "
            f"{_DONE[changed.verb]}."
        )
    elif changed.changes:
        lines.append(
            f"{about}: {words.count(len(changed.changes), 'transfer')} held, to be tried when released."
        )
    elif not (changed.stages or changed.verifications or changed.orders or changed.lifted):
        lines.append(f"{about}: there was nothing to {changed.verb.value}.")
    if changed.stages:
        lines.append(f"{words.count(changed.stages, 'instance')}: archive or frames are tried again.")
    if changed.verifications:
        lines.append(f"{words.count(changed.verifications, 'instance')} not confirmed: asked about again.")
    for state, number in sorted(changed.unchanged.items()):
        why = _LEFT.get((changed.verb, state), state.value.replace("_", " "))
        lines.append(f"{words.count(number, 'transfer')} left as they are: {why}.")
    if changed.orders and changed.verb in (Verb.HOLD, Verb.CANCEL):
        lines.append(f"What comes of it later is {_DONE[changed.verb]} too, until it is released.")
    elif changed.lifted and not changed.orders:
        lines.append("No order is in force any more: what comes later goes its way.")
    lines += [f"Some of it is held by the order on {shown(name)}." for name in changed.held_by]
    return Word(tuple(lines))


def replayed_words(done: Replayed) -> Word:
    """What a replay queued, and what it left out."""
    if not done.destinations:
        return Word(("It never went anywhere: choose a destination.",), went_well=False)
    names = shown(", ".join(done.destinations))
    lines = []
    if done.queued:
        number = words.count(done.queued, "instance")
        lines.append(f"{number} ({size(done.bytes)}) queued to {names} as job {done.job_id}.")
    else:
        lines.append(f"Nothing was queued to {names}.")
    if done.delivered_before:
        lines.append(f"{done.delivered_before:,} left out: they were delivered there before.")
    if done.open:
        lines.append(f"{done.open:,} left out: on their way there, or in need of attention (retry).")
    if done.gone:
        lines.append(f"{len(done.gone):,} left out: their bytes are not here any more.")
    return Word(tuple(lines), went_well=not done.gone)


def _subject(subject: Subject) -> str:
    if subject.kind is SubjectKind.ALL:
        return "Everything"
    return f"{subject.kind.value.capitalize()} {subject.id}"
