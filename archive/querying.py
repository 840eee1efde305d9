"""Questions to a peer, one after the other, over an association that is opened when it is needed (C-FIND, Study Root)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType

from pydicom.dataset import Dataset

from dicomrelay.dicom.query_models import STUDY_ROOT, UNIQUE_KEYS, Level
from dicomrelay.dicom.query_status import Finality, finality, query_status_name
from dicomrelay.dicom.uids import is_tolerable_uid
from dicomrelay.dimse.identifier_buffer import IDENTIFIER_TRANSFER_SYNTAXES
from dicomrelay.dimse.query_keys import build_identifier, parse_key
from dicomrelay.errors import AssociationError
from dicomrelay.net.peer import RemotePeer
from dicomrelay.net.query_retrieve import Find
from dicomrelay.net.requestor import Association


class Questions:
    """Asks a peer. A context manager; for one thread."""

    def __init__(self, peer: RemotePeer) -> None:
        self._peer = peer
        self._association: Association | None = None

    def ask(self, level: Level, keys: Mapping[str, str], take: Callable[[str, Dataset], None]) -> str:
        """Ask at a level; the unique keys of the levels above must be among the keys, each with one UID.

        Parameters
        ----------
        keys : mapping
            Values by keyword; an empty one asks for the attribute back.
        take : callable
            Gets the unique key of each answer, and the answer. It may get some twice, when the question is asked again.

        Returns
        -------
        str
            Why that is not all there is; "" when it is.

        Raises
        ------
        AssociationError
            The peer cannot be reached, or the association died twice.
        """
        try:
            return self._ask(level, keys, take)
        except AssociationError:
            if self._association is None:  # it was not even opened
                raise
            # Peers close what was idle for long; once more, then.
            self._association.abort()
            self._association = None
            return self._ask(level, keys, take)

    def _ask(self, level: Level, keys: Mapping[str, str], take: Callable[[str, Dataset], None]) -> str:
        if self._association is None or not self._association.is_open:
            self._association = None
            contexts = [(STUDY_ROOT.find, IDENTIFIER_TRANSFER_SYNTAXES)]
            self._association = self._peer.associate(contexts)
        wanted = {"QueryRetrieveLevel": str(level), UNIQUE_KEYS[level]: "", **keys}
        identifier = build_identifier([parse_key(f"{name}={value}") for name, value in wanted.items()])
        find = Find(self._association, STUDY_ROOT, identifier)
        above = [UNIQUE_KEYS[each] for each in STUDY_ROOT.levels_down_to(level)[:-1]]
        strange = 0
        for answer in find:
            uid = str(answer.get(UNIQUE_KEYS[level]) or "")
            is_ours = all(str(answer.get(key) or keys[key]) == keys[key] for key in above)
            if is_tolerable_uid(uid) and is_ours:
                take(uid, answer)
            else:
                strange += 1
        return _shortcoming(find, strange)

    def __enter__(self) -> Questions:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._association is not None:
            if kind is None:
                self._association.release()
            else:
                self._association.abort()


def count_of(answer: Dataset, keyword: str) -> int | None:
    """A count that a peer tells; None when it does not."""
    try:
        count = int(answer.get(keyword))
    except (TypeError, ValueError):
        return None
    return count if count >= 0 else None


def _shortcoming(find: Find, strange: int) -> str:
    conclusion = find.conclusion
    if conclusion is None or finality(conclusion.status) is not Finality.SUCCESS:
        status = 0xC000 if conclusion is None else conclusion.status
        return f"the peer ended its answers with: {query_status_name(status)}"
    bad = strange + find.unreadable
    return f"{bad} answers of the peer could not be used" if bad else ""
