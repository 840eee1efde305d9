"""What comes over associations, for the audit: what was received, asked and given, and who was not let in."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from dicomrelay.audit import Audit, Entry, Kind, Outcome, Party, Thing
from dicomrelay.net.service import AssociationEnding, AssociationInfo, Rejection
from dicomrelay.spool import SpoolRecord

_Tally = dict[str, Counter[str]]
# Of one association; what is more is counted under its first study, so that memory is bounded.
_MOST_STUDIES: Final = 1000
_MOST_KEYS: Final = 32
# PS3.8 Table 9-21: result, and reasons of the service user.
_PERMANENT: Final = 1
_WHY: Final = {
    (1, 3): "calling AE title not recognized",
    (1, 7): "called AE title not recognized",
}


class Witness:
    """Tells the audit. For all threads of a listener; while instances come it only counts."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit
        self._lock = threading.Lock()
        self._received: dict[str, _Tally] = {}

    def kept(self, record: SpoolRecord) -> None:
        """An instance is durable."""
        with self._lock:
            tally = self._received.setdefault(record.provenance.association_id, {})
            study = record.study_instance_uid
            if study not in tally and len(tally) >= _MOST_STUDIES:
                study = next(iter(tally))
            tally.setdefault(study, Counter())[record.sop_class_uid] += 1

    def closed(self, association: AssociationInfo, ending: AssociationEnding) -> None:
        """It is over: an entry for each study that it brought (PS3.15 Section A.5.3.7: one patient a message)."""
        with self._lock:
            tally = self._received.pop(association.id, {})
        facts: dict[str, str | int] = {"association": association.id, "ending": ending.kind.value}
        if ending.failed:
            facts["refused"] = ending.failed
        for study, classes in tally.items():
            self._audit.note(
                Entry(
                    Kind.TRANSFERRED,
                    "association",
                    _peer(association),
                    outcome=Outcome.MINOR if ending.failed else Outcome.SUCCESS,
                    words=f"{ending.failed} instances of the association were refused"
                    if ending.failed
                    else "",
                    things=(Thing("study", study, classes),),
                    facts=facts,
                )
            )

    def asked(
        self,
        association: AssociationInfo,
        sop_class_uid: str,
        *,
        answers: int,
        status: int | None,
        level: str = "",
        keys: Sequence[str] = (),
    ) -> None:
        """A C-FIND has been answered; of its identifier the keys are told, for what they look for is a patient's."""
        named = sorted({key for key in keys if key})[:_MOST_KEYS]
        is_well = status in {0x0000, 0xFE00}
        self._audit.note(
            Entry(
                Kind.QUERY,
                "find",
                _peer(association),
                outcome=Outcome.SUCCESS if is_well else Outcome.MINOR,
                words="" if is_well else "abandoned" if status is None else f"status {status:04X}",
                things=(Thing("sop_class", sop_class_uid),),
                facts={
                    "association": association.id,
                    "answers": answers,
                    **({"level": level} if level else {}),
                    **({"keys": " ".join(named)} if named else {}),
                },
            )
        )

    def gave(
        self,
        association: AssociationInfo,
        operation: str,
        destination: str,
        studies: Mapping[str, Mapping[str, int]],
        *,
        failed: int,
    ) -> None:
        """A C-MOVE or C-GET is over: what of each study was to be sent, and to whom."""
        other = Party(destination) if destination else _peer(association)
        for study, classes in studies.items():
            self._audit.note(
                Entry(
                    Kind.TRANSFERRED,
                    operation,
                    _peer(association),
                    other,
                    by_us=True,
                    outcome=Outcome.MINOR if failed else Outcome.SUCCESS,
                    words=f"{failed} instances of the request did not go" if failed else "",
                    things=(Thing("study", study, classes),),
                    facts={"association": association.id},
                )
            )

    def rejected(self, ae_title: str, address: str, rejection: Rejection) -> None:
        """An association was rejected. What may be tried again is for want of room, and no matter of who it is."""
        if rejection.result == _PERMANENT:
            why = _WHY.get((rejection.source, rejection.reason), "no user identity that counts")
            self.not_let_in(ae_title.strip(), address, why)

    def not_let_in(self, ae_title: str, address: str, why: str) -> None:
        """An association was rejected for who asked for it: one entry in a while for each."""
        self._audit.note_once(
            (address, why),  # not by AE title, which anybody may say in thousands
            lambda: Entry(
                Kind.REFUSED,
                "association",
                Party(ae_title or "unknown", address),
                outcome=Outcome.SERIOUS,
                words=why,
            ),
        )


def tally_of(found: Iterable[tuple[str, str]]) -> _Tally:
    """How many of each class there are in each study, of pairs of study and class."""
    tally: _Tally = {}
    for study, sop_class in found:
        tally.setdefault(study, Counter())[sop_class] += 1
    return tally


def _peer(association: AssociationInfo) -> Party:
    return Party(association.calling_ae_title.strip() or "unknown", association.peer_address)
