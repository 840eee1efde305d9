"""What happened to many studies at once, for the audit: so many instances of each, a few studies an entry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from dicomrelay.audit.auditing import Audit
from dicomrelay.audit.values import MOST_THINGS, Entry, Kind, Party, Thing


class StudyTally:
    """Counts instances by their study, and tells the audit of it in entries of bounded size.

    Parameters
    ----------
    kind : Kind
        EXPORTED, IMPORTED or DELETED.
    what : str
        In a word, such as "archive.export".
    media : str
        What kind it was written to or read from: "folder", "zip". No path: that may be named after a patient.
    """

    def __init__(self, audit: Audit, kind: Kind, what: str, who: Party, media: str = "") -> None:
        self._audit = audit
        self._kind = kind
        self._what = what
        self._who = who
        self._media = Party(media) if media else None
        self._counts: Counter[str] = Counter()

    def add(self, study_instance_uid: str, instances: int = 1) -> None:
        """So many more of a study."""
        if study_instance_uid not in self._counts and len(self._counts) >= MOST_THINGS:
            self.end()
        self._counts[study_instance_uid] += instances

    def end(self, facts: Mapping[str, str | int] | None = None) -> None:
        """Tell what was counted and not told."""
        if not self._counts:
            return
        self._audit.note(
            Entry(
                self._kind,
                self._what,
                self._who,
                self._media,
                things=tuple(Thing("study", uid) for uid in self._counts),
                facts={"instances": self._counts.total(), **(facts or {})},
            )
        )
        self._counts.clear()
