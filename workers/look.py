"""Asks a destination by C-FIND at level IMAGE which instances it has (docs/design/verification.md)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from pydicom.dataset import Dataset

from dicomrelay.dicom.query_models import STUDY_ROOT, Level
from dicomrelay.dicom.query_status import Finality, finality, query_status_name
from dicomrelay.dimse.identifier_buffer import IDENTIFIER_TRANSFER_SYNTAXES
from dicomrelay.ledger.values_verification import Found, Reference
from dicomrelay.net.query_retrieve import Find, Stop
from dicomrelay.net.requestor import Association
from workers.findings import of_look

FIND_CONTEXTS: Final = tuple((STUDY_ROOT.find, (syntax,)) for syntax in IDENTIFIER_TRANSFER_SYNTAXES)
_UIDS_AT_ONCE: Final = 100
# Of one series; a peer that matches no UIDs answers all that it has.
MAX_ANSWERS: Final = 100_000


class Look:
    """One look at all references of a verification, over one association.

    Parameters
    ----------
    moved : callable
        Called with each answer.
    stop : callable
        Whether to stop; what was not seen by then is in doubt.
    """

    def __init__(
        self,
        association: Association,
        study_instance_uid: str,
        *,
        moved: Callable[[], None],
        stop: Callable[[], bool],
    ) -> None:
        self._association = association
        self._study = study_instance_uid
        self._moved = moved
        self._stop = stop

    def at(self, references: Sequence[Reference], *, is_last: bool) -> dict[str, Found]:
        """What is there, series by series.

        Parameters
        ----------
        is_last : bool
            What is not found by now is missing.

        Raises
        ------
        NoAcceptedContext
            The peer answers no C-FIND of Study Root.
        AssociationError
            The association died.
        """
        by_series: dict[str, list[str]] = defaultdict(list)
        for each in references:
            by_series[each.series_instance_uid].append(each.sop_instance_uid)
        found: dict[str, Found] = {}
        for series, wanted in by_series.items():
            there: set[str] = set()
            for start in range(0, len(wanted), _UIDS_AT_ONCE):
                self._ask(series, wanted[start : start + _UIDS_AT_ONCE], there)
            doubt = ""
            if not there.issuperset(wanted):
                # Not every peer matches a list of UIDs.
                doubt = self._ask(series, (), there)
            found.update(of_look(wanted, there, is_last=is_last, doubt=doubt))
        return found

    def _ask(self, series: str, uids: Sequence[str], there: set[str]) -> str:
        """Add what it has of a series; why the answer is not whole, "" when it is."""
        if self._stop():
            return "the look was stopped"
        find = Find(
            self._association, STUDY_ROOT, self._identifier(series, uids), limit=MAX_ANSWERS, stop=self._stop
        )
        there.update(self._uids(find))
        conclusion = find.conclusion
        if conclusion is None:
            return "no last answer came"
        if conclusion.stopped is Stop.LIMIT:
            return f"the series has more than {MAX_ANSWERS} instances there"
        if conclusion.stopped is not None:
            return "the look was stopped"
        if find.unreadable:
            return f"{find.unreadable} answers could not be read"
        if finality(conclusion.status) not in (Finality.SUCCESS, Finality.WARNING):
            return query_status_name(conclusion.status)
        return ""

    def _uids(self, find: Find) -> Iterator[str]:
        for answer in find:
            self._moved()
            uid = answer.get("SOPInstanceUID")
            if isinstance(uid, str):
                yield str(uid)

    def _identifier(self, series: str, uids: Sequence[str]) -> Dataset:
        identifier = Dataset()
        identifier.QueryRetrieveLevel = Level.IMAGE.value
        identifier.StudyInstanceUID = self._study
        identifier.SeriesInstanceUID = series
        identifier.SOPInstanceUID = list(uids) if len(uids) > 1 else (uids[0] if uids else "")
        return identifier
