"""An archive held against a peer: its studies at once, then study by study, series by series, as far as need be."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from pydicom.dataset import Dataset

from archive.archive import Archive
from archive.attributes import ATTRIBUTES, Level
from archive.difference import Difference, DifferenceKind
from archive.index.places import SeriesThere
from archive.index.search import MODALITIES_IN_STUDY, SearchQuery
from archive.querying import Questions, count_of
from archive.scratch import scratch
from archive.values import Selection
from dicomrelay.dicom.query_models import Level as QueryLevel
from dicomrelay.errors import ConfigurationError
from dicomrelay.net.peer import RemotePeer

_TABLES: Final = """
CREATE TABLE studies (uid TEXT PRIMARY KEY, series INTEGER, instances INTEGER, done INTEGER DEFAULT 0) WITHOUT ROWID;
CREATE TABLE series (uid TEXT PRIMARY KEY, instances INTEGER) WITHOUT ROWID;
CREATE TABLE instances (uid TEXT PRIMARY KEY, sop_class TEXT) WITHOUT ROWID;
"""
_PAGE: Final = 500
_STUDY_KEYWORDS: Final = frozenset(
    [each.keyword for each in ATTRIBUTES if each.level is Level.STUDY] + ["Modality", MODALITIES_IN_STUDY]
)
_SERIES_COUNT, _STUDY_COUNT = "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances"
_IN_SERIES: Final = "NumberOfSeriesRelatedInstances"


def differing_from_peer(
    archive: Archive,
    peer: RemotePeer,
    selection: Selection,
    *,
    trust_counts: bool,
    on_progress: Callable[[int], None] | None,
) -> Iterator[Difference]:
    """What `diff` does with a peer."""
    matches = _study_matches(selection)
    return _run(
        archive, peer, matches, trust_counts=trust_counts, on_progress=on_progress or (lambda _: None)
    )


def _run(
    archive: Archive,
    peer: RemotePeer,
    matches: dict[str, str],
    *,
    trust_counts: bool,
    on_progress: Callable[[int], None],
) -> Iterator[Difference]:
    with scratch(_TABLES) as connection, Questions(peer) as questions:
        comparing = _Comparing(archive, questions, connection, trust_counts=trust_counts)
        yield from comparing.list_studies(matches)
        done = 0
        rows = archive.scan(SearchQuery(Level.STUDY, matches))
        while page := [str(row["study_instance_uid"]) for row in islice(rows, _PAGE)]:
            for difference in comparing.studies(page):
                yield difference
            done += len(page)
            on_progress(done)
        while page := comparing.left(_PAGE):
            for difference in comparing.studies(page):
                yield difference
            done += len(page)
            on_progress(done)


def _study_matches(selection: Selection) -> dict[str, str]:
    """What a peer can be asked for at study level. Raises ConfigurationError."""
    if selection.series_uids or selection.sop_instance_uids:
        raise ConfigurationError(
            "series and instances cannot be chosen toward a peer: name studies, or what they match"
        )
    matches = {keyword: value for keyword, value in selection.matches.items() if value}
    if selection.patient_id:
        matches["PatientID"] = selection.patient_id
    if selection.study_uids:
        matches["StudyInstanceUID"] = "\\".join(selection.study_uids)
    if unknown := sorted(matches.keys() - _STUDY_KEYWORDS):
        raise ConfigurationError(f"{', '.join(unknown)}: studies of a peer cannot be chosen by it")
    return matches


class _Comparing:
    """What is known of the peer is in the scratch tables: of all studies, and of one series at a time."""

    def __init__(
        self, archive: Archive, questions: Questions, connection: sqlite3.Connection, *, trust_counts: bool
    ) -> None:
        self._archive = archive
        self._places = archive.places()
        self._questions = questions
        self._connection = connection
        self._trust_counts = trust_counts

    def list_studies(self, matches: dict[str, str]) -> Iterator[Difference]:
        """Ask for all studies that match."""
        keys = {"ModalitiesInStudy" if key == "Modality" else key: value for key, value in matches.items()}
        self._connection.execute("BEGIN")
        shortcoming = self._ask_studies(keys)
        self._connection.execute("COMMIT")
        if shortcoming:
            reason = f"what only the peer has may be more than is listed here: {shortcoming}"
            yield Difference(DifferenceKind.NOT_COMPARED, Level.STUDY, reason=reason)

    def studies(self, uids: list[str]) -> Iterator[Difference]:
        """Compare these, which are here, there or both."""
        here = self._places.study_counts(uids)
        for uid in uids:
            yield from self._study(uid, here.get(uid))
            self._connection.execute("UPDATE studies SET done = 1 WHERE uid = ?", (uid,))

    def left(self, count: int) -> list[str]:
        """Studies of the peer that were not compared yet."""
        query = "SELECT uid FROM studies WHERE done = 0 ORDER BY uid LIMIT ?"
        return [uid for (uid,) in self._connection.execute(query, (count,))]

    def _study(self, uid: str, here: tuple[int, int] | None) -> Iterator[Difference]:
        there = self._there(uid)
        if there is None and here:
            # An answer may be cut short, and matching is not the same everywhere: this study, then, by its UID.
            shortcoming = self._ask_studies({"StudyInstanceUID": uid})
            there = self._there(uid)
            if there is None and shortcoming:
                yield Difference(DifferenceKind.NOT_COMPARED, Level.STUDY, uid, reason=shortcoming)
                return
        if here is None or there is None:
            if here or there:
                yield Difference(
                    DifferenceKind.ONLY_HERE if here else DifferenceKind.ONLY_THERE,
                    Level.STUDY,
                    uid,
                    here_instances=here[1] if here else None,
                    there_instances=there[1] if there else None,
                )
        elif not (self._trust_counts and here == there):
            yield from self._series_of(uid)

    def _series_of(self, study_uid: str) -> Iterator[Difference]:
        self._connection.execute("DELETE FROM series")
        shortcoming = self._questions.ask(
            QueryLevel.SERIES,
            {"StudyInstanceUID": study_uid, _IN_SERIES: ""},
            lambda uid, answer: self._keep("series", uid, count_of(answer, _IN_SERIES)),
        )
        if shortcoming:
            yield Difference(DifferenceKind.NOT_COMPARED, Level.STUDY, study_uid, reason=shortcoming)
            return
        for series in self._places.series_of(study_uid):
            uid = series.series_instance_uid
            row = self._connection.execute("SELECT instances FROM series WHERE uid = ?", (uid,)).fetchone()
            self._connection.execute("DELETE FROM series WHERE uid = ?", (uid,))
            if row is None:
                yield Difference(
                    DifferenceKind.ONLY_HERE,
                    Level.SERIES,
                    study_uid,
                    uid,
                    here_instances=series.instance_count,
                )
            elif not (self._trust_counts and row[0] == series.instance_count):
                yield from self._instances_of(study_uid, series)
        for uid, count in self._connection.execute("SELECT uid, instances FROM series ORDER BY uid"):
            yield Difference(DifferenceKind.ONLY_THERE, Level.SERIES, study_uid, uid, there_instances=count)

    def _instances_of(self, study_uid: str, series: SeriesThere) -> Iterator[Difference]:
        at = (Level.INSTANCE, study_uid, series.series_instance_uid)
        self._connection.execute("DELETE FROM instances")
        shortcoming = self._questions.ask(
            QueryLevel.IMAGE,
            {
                "StudyInstanceUID": study_uid,
                "SeriesInstanceUID": series.series_instance_uid,
                "SOPClassUID": "",
            },
            lambda uid, answer: self._keep("instances", uid, str(answer.get("SOPClassUID") or "")),
        )
        if shortcoming:
            yield Difference(DifferenceKind.NOT_COMPARED, Level.SERIES, *at[1:], reason=shortcoming)
            return
        for stored in self._archive.instances(study_uid, series.series_instance_uid):
            uid, here = stored.sop_instance_uid, stored.sop_class_uid
            row = self._connection.execute("SELECT sop_class FROM instances WHERE uid = ?", (uid,)).fetchone()
            self._connection.execute("DELETE FROM instances WHERE uid = ?", (uid,))
            if row is None:
                yield Difference(DifferenceKind.ONLY_HERE, *at, uid, here=here)
            elif row[0] and row[0] != here:
                yield Difference(
                    DifferenceKind.DIFFERING, *at, uid, here=here, there=row[0], reason="another SOP class"
                )
        for uid, there in self._connection.execute("SELECT uid, sop_class FROM instances ORDER BY uid"):
            yield Difference(DifferenceKind.ONLY_THERE, *at, uid, there=there)

    def _ask_studies(self, keys: dict[str, str]) -> str:
        return self._questions.ask(
            QueryLevel.STUDY, {_SERIES_COUNT: "", _STUDY_COUNT: "", **keys}, self._keep_study
        )

    def _keep_study(self, uid: str, answer: Dataset) -> None:
        self._keep(
            "studies (uid, series, instances)",
            uid,
            count_of(answer, _SERIES_COUNT),
            count_of(answer, _STUDY_COUNT),
        )

    def _keep(self, table: str, *values: str | int | None) -> None:
        marks = ", ".join("?" for _ in values)
        self._connection.execute(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", values)  # noqa: S608 - names of ours

    def _there(self, uid: str) -> tuple[int | None, int | None] | None:
        row: tuple[int | None, int | None] | None = self._connection.execute(
            "SELECT series, instances FROM studies WHERE uid = ?", (uid,)
        ).fetchone()
        return row
