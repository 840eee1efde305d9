"""Asks sources how many instances a study has, with C-FIND (PS3.4 Annex C): a study that is all there need not be quiet first."""

from __future__ import annotations

import threading
from typing import Final

from pydicom.dataset import Dataset

from dicomrelay.dicom.query_models import STUDY_ROOT, Level
from dicomrelay.dimse.identifier_buffer import IDENTIFIER_TRANSFER_SYNTAXES
from dicomrelay.errors import RelayError
from dicomrelay.ledger.completion import ToAsk
from dicomrelay.log import get_logger
from dicomrelay.net.query_retrieve import Find
from dicomrelay.routing import resolve
from dicomrelay.settings import Settings
from workers.rooms import Rooms

_log = get_logger("dicomrelay.count")
_AT_ONCE: Final = 8
_AGAIN_MS: Final = 30_000
_LOOK_EVERY_S: Final = 1.0
# A source is asked for a hint: it is not waited for.
_TIMEOUT_S: Final = 5.0
# Number of Study Related Instances has VR IS, whose largest value this is (PS3.5 Table 6.2-1).
_MOST: Final = 2**31 - 1


def ask_until(rooms: Rooms, stop: threading.Event) -> None:
    """Ask whom the settings name, one study after the other, until `stop` is set. Nobody to ask: nothing to do."""
    if not any(peer.count_at for peer in rooms.settings.peers):
        return
    while not stop.wait(_LOOK_EVERY_S):
        try:
            ask_sources(rooms)
        except RelayError as error:  # the ledger does not answer: the sweeper tells of that
            _log.debug("cannot look for whom to ask", reason=str(error))


def ask_sources(rooms: Rooms) -> int:
    """Ask about the studies whose time it is; how many answers there were."""
    answers = 0
    for study in rooms.ledger.completion.to_ask(limit=_AT_ONCE, again_in_ms=_AGAIN_MS):
        try:
            number = related_instances(rooms.settings, study)
        except RelayError as error:
            _log.info(
                "a source does not say how many instances a study has",
                study_instance_uid=study.study_instance_uid,
                reason=type(error).__name__,
            )
            continue
        if number is not None:
            rooms.ledger.completion.expect(study.study_instance_uid, number)
            answers += 1
    return answers


def related_instances(settings: Settings, study: ToAsk) -> int | None:
    """Number of Study Related Instances (0020,1208) as a source gives it; None when it knows no such study or no number.

    Raises
    ------
    ConfigurationError
        `count_at` is no address and no destination.
    AssociationError
        The source cannot be reached, or does not answer.
    """
    peer = resolve(study.count_at, settings.destinations).peer(settings.gateway, timeout_s=_TIMEOUT_S)
    identifier = Dataset()
    identifier.QueryRetrieveLevel = Level.STUDY.value
    identifier.StudyInstanceUID = study.study_instance_uid
    identifier.NumberOfStudyRelatedInstances = None
    with peer.associate([(STUDY_ROOT.find, IDENTIFIER_TRANSFER_SYNTAXES)]) as association:
        for answer in Find(association, STUDY_ROOT, identifier, limit=2):
            if str(answer.get("StudyInstanceUID", "")) == study.study_instance_uid:
                return _number(answer)
    return None


def _number(answer: Dataset) -> int | None:
    try:
        number = int(answer.NumberOfStudyRelatedInstances)
    except (AttributeError, TypeError, ValueError):
        return None
    return number if 0 < number <= _MOST else None
