"""What is pulled: entries of [[pulls]] as questions, polls, priors, and what a person asks for (docs/design/pulls.md)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, Protocol

from dicomrelay.dicom.uids import is_tolerable_uid
from dicomrelay.dimse.query_keys import build_identifier, parse_key
from dicomrelay.errors import ConfigurationError
from dicomrelay.ledger.values import DestinationInfo, Priority
from dicomrelay.ledger.values_pulls import (
    NewPull,
    PollState,
    PriorsRule,
    PullKind,
    PullPolicy,
    Retrieval,
)
from dicomrelay.routing.destinations import resolve
from dicomrelay.settings import PullSettings, Settings

_DATE: Final = "%Y%m%d"
_UIDS: Final = frozenset({"StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"})
# They would match other patients (PS3.4 Section C.2.2.2).
_MATCHES_OTHERS: Final = frozenset("*?\\")


@dataclass(frozen=True, slots=True)
class PriorsWanted:
    """For what priors are wanted, as a rule or a worklist item knows it; "" for what it does not.

    Attributes
    ----------
    study_instance_uid : str
        The study that comes: it is no prior of itself, and its priors are ordered once.
    patient_id, issuer : str
        Patient ID (0010,0020) and Issuer of Patient ID (0010,0021).
    modality, body_part : str
        Modality (0008,0060) and Body Part Examined (0018,0015).
    """

    study_instance_uid: str
    patient_id: str
    issuer: str = ""
    modality: str = ""
    body_part: str = ""


class Orders(Protocol):
    """Where orders go: `Ledger.pulls`."""

    def order(self, new: NewPull) -> str | None:
        """Make a pull; None when one with its `only_once` is there."""


def find_entry(settings: Settings, name: str) -> PullSettings | None:
    """The entry of [[pulls]] of that name."""
    return next((entry for entry in settings.pulls if entry.name == name), None)


def check_pulls(settings: Settings) -> None:
    """See that every entry can be asked.

    Raises
    ------
    ConfigurationError
        A key that is none, or a source; it names the entry.
    """
    for entry in settings.pulls:
        check_entry(settings, entry)


def check_entry(settings: Settings, entry: PullSettings) -> None:
    """See that an entry can be asked.

    Raises
    ------
    ConfigurationError
        A key that is none, or a source; it names the entry.
    """
    try:
        check_question(entry.keys)
    except ConfigurationError as error:
        raise ConfigurationError(f"pulls.{entry.name}.keys: {error}") from error
    try:
        source_of(settings, entry.source)
    except ConfigurationError as error:
        raise ConfigurationError(f"pulls.{entry.name}.source: {error}") from error


def check_question(keys: Sequence[str]) -> None:
    """See that keys can be asked.

    Raises
    ------
    ConfigurationError
        A key that is none, or a value that its attribute cannot have: no source would find anything by it.
    """
    parsed = [parse_key(key) for key in keys]
    build_identifier(parsed)
    for key in parsed:
        wrong = [uid for uid in key.value.split("\\") if uid and not is_tolerable_uid(uid)]
        if key.name in _UIDS and wrong:
            raise ConfigurationError(
                f"key {key.name!r}: {wrong[0][:64]!r} is no UID: digits and points, at most 64"
            )


def source_of(settings: Settings, text: str) -> DestinationInfo:
    """Whom to ask.

    Raises
    ------
    ConfigurationError
        There is no such name, or it is no address.
    """
    return resolve(text, settings.destinations).info()


def policy_of(entry: PullSettings) -> PullPolicy:
    """How an entry goes about it."""
    return PullPolicy(
        retrieval=Retrieval(entry.retrieve),
        associations=entry.associations,
        limit=entry.limit,
        attempts=entry.attempts,
        windows=tuple(entry.windows),
    )


def by_hand(settings: Settings, entry: PullSettings, keys: Sequence[str] = ()) -> NewPull:
    """What an entry asks for when a person calls for it: its keys and some more, and no date but theirs."""
    return NewPull(
        PullKind.ASKED,
        source_of(settings, entry.source),
        (*entry.keys, *keys),
        policy_of(entry),
        name=entry.name,
        priority=Priority(entry.priority),
    )


def poll(settings: Settings, entry: PullSettings, state: PollState, today: date) -> NewPull:
    """What a poll asks for today, by what is known of the last one.

    Parameters
    ----------
    today : datetime.date
        Of this host: studies have the dates of where they were made, which `overlap_days` makes up for.
    """
    keys = tuple(entry.keys)
    if entry.since_last:
        since = today - timedelta(days=entry.first_days)
        if state.known_until_ms is not None:
            known = datetime.fromtimestamp(state.known_until_ms / 1000).date()  # noqa: DTZ006 - the local day is meant
            since = min(known, today) - timedelta(days=entry.overlap_days)
        # A key of the entry for the date goes first: then it is meant.
        if not any(_is_date(key) for key in keys):
            keys = (*keys, f"StudyDate={since.strftime(_DATE)}-")
    return NewPull(
        PullKind.POLL,
        source_of(settings, entry.source),
        keys,
        policy_of(entry),
        name=entry.name,
        priority=Priority(entry.priority),
    )


def _is_date(key: str) -> bool:
    name, _, value = key.partition("=")
    return bool(value) and parse_key(name).name == "StudyDate"


def order_priors(
    orders: Orders, settings: Settings, name: str, wanted: PriorsWanted, today: date
) -> str | None:
    """Order the relevant priors of a study, once for each patient it is said to be of.

    Nothing is asked here, so that it is quick. What a rule with `prefetch = name` does, and a worklist item.

    Parameters
    ----------
    orders : Orders
        `Ledger.pulls`.
    name : str
        An entry of [[pulls]] with `priors`.
    today : datetime.date
        Of this host.

    Returns
    -------
    str or None
        The id of the pull; None when they were ordered before, or nobody knows whose they are: a Patient ID that is empty,
        or would match others.

    Raises
    ------
    ConfigurationError
        There is no such entry, or it has no `priors`.
    ServiceUnavailable
        The ledger does not answer.
    """
    entry = find_entry(settings, name)
    if entry is None or entry.priors is None:
        known = ", ".join(each.name for each in settings.pulls if each.priors is not None) or "none"
        raise ConfigurationError(f"There is no entry {name!r} of [[pulls]] with priors; known: {known}")
    patient_id, priors = wanted.patient_id.strip(), entry.priors
    if not patient_id or _MATCHES_OTHERS.intersection(patient_id):
        return None
    oldest = (
        "" if priors.max_age_days is None else (today - timedelta(days=priors.max_age_days)).strftime(_DATE)
    )
    rule = PriorsRule(
        study_instance_uid=wanted.study_instance_uid,
        patient_id=patient_id,
        issuer=wanted.issuer.strip(),
        modality=wanted.modality.strip() if priors.same_modality else "",
        body_part=wanted.body_part.strip() if priors.same_body_part else "",
        newest=priors.newest,
        since=oldest,
    )
    keys = (*entry.keys, f"PatientID={patient_id}", *([f"StudyDate={oldest}-"] if oldest else []))
    return orders.order(
        NewPull(
            PullKind.PRIORS,
            source_of(settings, entry.source),
            keys,
            policy_of(entry),
            name=entry.name,
            priority=Priority(entry.priority),
            priors=rule,
            only_once=_only_once(name, rule),
        )
    )


def _only_once(name: str, rule: PriorsRule) -> str:
    """Of a study whose patient was corrected the priors of the other one are ordered too."""
    if not rule.study_instance_uid:
        return ""
    whose = hashlib.sha256(f"{rule.patient_id}\n{rule.issuer}".encode()).hexdigest()[:16]
    return f"{name} {rule.study_instance_uid} {whose}"
