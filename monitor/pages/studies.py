"""Studies: the newest, those of a state, a search; and one study, job or transfer with its journey."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlencode

from tornado.web import HTTPError

from dicomrelay.errors import ConfigurationError
from dicomrelay.ledger import Ledger
from dicomrelay.ledger.journey import STUDY, Step, TracedDelivery, TracedInstance
from dicomrelay.ledger.journey import Subject as TracedSubject
from dicomrelay.ledger.values import DestinationSummary, StudySummary, TransferState
from dicomrelay.ledger.values_operations import JobRow, Subject, SubjectKind, TransferRow
from dicomrelay.text import size
from monitor import words
from monitor.pages import study_rows as rows
from monitor.pages.page import Page

_A_PAGE: Final = 50
_TRANSFERS: Final = 50
# A longer journey is the terminal's: it takes seconds to read, and nobody reads it here.
_MOST_TRACED: Final = 5000
# A UID, an id of ours, or the beginning of one.
_WANTED: Final = re.compile(r"[0-9A-Za-z.-]{1,64}")
_UID: Final = re.compile(r"[0-9.]{1,64}")
_AFTER: Final = re.compile(r"([0-9]{1,15})-([0-9.]{1,64})")


class StudiesPage(Page):
    """A list of them."""

    tab = "studies"

    async def get(self) -> None:
        wanted = self.given("q").strip()
        # A search is among all: a name that is whole is in one state, and its page says which.
        state = "" if wanted else self.given("state")
        looks = self.house.looks
        if wanted:
            if not _WANTED.fullmatch(wanted):
                raise HTTPError(
                    400, "Search for a UID, or an id of a job or a transfer; names of patients are not here."
                )
            found = await looks.fresh(lambda ledger: _named(ledger, wanted))
            if found:
                self.redirect(f"/studies/{found}", status=303)
                return
        if state in rows.STATES:
            jobs = await looks.shared(
                ("jobs", state),
                lambda ledger: ledger.operations.jobs(limit=_A_PAGE, state=TransferState(state)),
            )
            self._list([], [rows.job_line(each) for each in jobs], wanted, state, "")
            return
        given = _AFTER.fullmatch(self.given("after"))
        after = (int(given[1]), given[2]) if given else None
        beginning = wanted if _UID.fullmatch(wanted) else "none" if wanted else ""
        studies = await looks.shared(
            ("studies", beginning, after),
            lambda ledger: ledger.studies(limit=_A_PAGE, beginning=beginning, after=after),
        )
        older = ""
        if len(studies) == _A_PAGE:
            last = studies[-1]
            place = f"{last.last_received_at_ms}-{last.study_instance_uid}"
            older = "/studies?" + urlencode({**({"q": wanted} if wanted else {}), "after": place})
        self._list(list(map(rows.study_row, studies)), [], wanted, "", older)

    def _list(
        self, studies: list[rows.StudyRow], jobs: list[rows.JobLine], wanted: str, state: str, older: str
    ) -> None:
        self.show(
            "relay-studies.html",
            studies=studies,
            jobs=jobs,
            wanted=wanted,
            state=state,
            states=[(each, each.replace("_", " ")) for each in rows.STATES],
            older=older,
            is_cut=len(jobs) == _A_PAGE,
        )


def _named(ledger: Ledger, wanted: str) -> str:
    """What that is the whole name of, as a page knows it; of a series or an instance, its study."""
    subject = ledger.operations.find(wanted)
    if subject is not None:
        return subject.id
    try:
        return ledger.journey.find(wanted).study_instance_uids[0]
    except ConfigurationError:
        return ""


@dataclass(frozen=True, slots=True)
class _Found:
    """What one look brings of a subject."""

    subject: Subject
    job: JobRow
    transfers: tuple[TransferRow, ...]
    destinations: tuple[DestinationSummary, ...] = ()
    study: StudySummary | None = None
    steps: tuple[Step, ...] = ()
    instances: tuple[TracedInstance, ...] = ()
    deliveries: tuple[TracedDelivery, ...] = ()
    known: tuple[str, ...] = ()


class SubjectPage(Page):
    """One study, job or transfer."""

    tab = "studies"

    async def get(self, wanted: str) -> None:
        looks = self.house.looks
        found = await looks.shared(("subject", wanted), lambda ledger: _look(ledger, wanted))
        if found is None:
            raise HTTPError(404, "nothing here has this id")
        outside = looks.outside()
        deliveries = [
            replace(each, outside_of_windows=each.destination in outside) for each in found.deliveries
        ]
        study = found.study
        at_ms = study.last_received_at_ms if study else found.job.at_ms
        self.show(
            "relay-study.html",
            subject=found.subject,
            kind=found.job.kind,
            state=rows.standing(study) if study else rows.state(found.job.state),
            study=study,
            total=size(study.bytes) if study else "",
            at=words.moment(at_ms),
            stamp=words.stamp(at_ms),
            orders=rows.order_lines(found.job.orders, found.subject),
            destinations=list(map(rows.to_row, found.destinations)),
            names=found.job.destinations,
            known=found.known,
            transfers=list(map(rows.transfer_line, found.transfers)),
            of_transfers=sum(found.job.transfers.values()),
            steps=rows.timeline(found.steps),
            is_told=bool(found.steps),
            coming=rows.open_lines(deliveries, found.instances),
        )


def _look(ledger: Ledger, wanted: str) -> _Found | None:
    subject = ledger.operations.find(wanted)
    if subject is None:
        return None
    found = _Found(
        subject,
        ledger.operations.job(subject),
        ledger.operations.transfers(subject, limit=_TRANSFERS),
        known=tuple(each.name for each in ledger.flow.destinations()),
    )
    if subject.kind is SubjectKind.JOB:
        return replace(found, destinations=ledger.job_progress(subject.id).destinations)
    if subject.kind is not SubjectKind.STUDY:
        return found
    studies = ledger.studies(study_instance_uid=subject.id)
    if not studies:
        return found
    found = replace(found, study=studies[0], destinations=studies[0].destinations)
    if studies[0].instances > _MOST_TRACED:
        return found
    traced = TracedSubject(STUDY, subject.id, (subject.id,))
    instances, deliveries = ledger.journey.instances(traced), ledger.journey.deliveries(traced)
    return replace(
        found,
        instances=tuple(instances),
        deliveries=tuple(deliveries),
        steps=tuple(ledger.journey.steps(traced, [], [])),
    )
