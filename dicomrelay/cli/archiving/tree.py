"""The tree that `list` writes: patients, studies, series and, if asked, instances, each as it is found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import click
from rich.cells import cell_len, set_cell_size

from archive import Archive
from archive.attributes import Level
from archive.index.search import SearchQuery
from dicomrelay.cli.archiving.columns import plain
from dicomrelay.cli.archiving.dates import shown_date
from dicomrelay.cli.archiving.words import many
from dicomrelay.text import shown

Row = Mapping[str, Any]
_T = TypeVar("_T")
_GAP: Final = "  "
_STUDY_ORDER: Final = ("PatientName", "PatientID", "StudyDate", "StudyTime", "StudyInstanceUID")


@dataclass(frozen=True, slots=True)
class Branch:
    """A study in the tree: its row, and whether it begins or ends its patient."""

    row: Row
    begins_patient: bool
    ends_patient: bool


@dataclass(slots=True)
class Tally:
    """How much has been shown."""

    patients: int = 0
    studies: int = 0
    series: int = 0
    instances: int = 0

    def words(self) -> str:
        """Such as "1 patient, 2 studies, 5 series, 120 instances"."""
        return ", ".join(
            (
                many(self.patients, "patient"),
                f"{self.studies} {'study' if self.studies == 1 else 'studies'}",
                f"{self.series} series",
                many(self.instances, "instance"),
            )
        )


def branches(archive: Archive, matches: Mapping[str, str]) -> Iterator[Branch]:
    """Studies by patient and date; two names of one patient are shown as two."""
    rows = archive.scan(SearchQuery(Level.STUDY, matches, sort=_STUDY_ORDER))
    before: Any = None
    for row, after in _with_next(rows):
        own = patient_of(row)
        yield Branch(row, before != own, after is None or patient_of(after) != own)
        before = own


def series_of(archive: Archive, study: Row) -> Iterator[Row]:
    """The series of a study in their order."""
    matches = {"StudyInstanceUID": study["study_instance_uid"]}
    return iter(archive.scan(SearchQuery(Level.SERIES, matches, sort=("SeriesNumber", "SeriesInstanceUID"))))


def instances_of(archive: Archive, series: Row) -> Iterator[Row]:
    """The instances of a series in their order."""
    matches = {
        "StudyInstanceUID": series["study_instance_uid"],
        "SeriesInstanceUID": series["series_instance_uid"],
    }
    return iter(archive.scan(SearchQuery(Level.INSTANCE, matches, sort=("InstanceNumber", "SOPInstanceUID"))))


def patient_of(row: Row) -> tuple[Any, ...]:
    """What makes a patient one; where there is no id, each study has its own."""
    identity = row["patient_id"] or ("", row["study_instance_uid"])
    return row["patient_name"], identity, row["issuer_of_patient_id"]


@dataclass
class TreeWriter:
    """Writes the tree.

    Attributes
    ----------
    width : int, optional
        Cells of a line: a UID that has no room behind the words stands on the next line. None: always behind them.
    with_instances : bool
    """

    archive: Archive
    width: int | None
    with_instances: bool = False
    tally: Tally = field(default_factory=Tally)

    def write(self, branch: Branch) -> None:
        """One study with all below it, and its patient above the first."""
        row = branch.row
        if branch.begins_patient:
            self.tally.patients += 1
            name = _text(row["patient_name"]) or "(no name)"
            click.echo(f"{click.style(name, bold=True)}{_GAP}{_text(row['patient_id']) or '(no id)'}")
        self.tally.studies += 1
        below = "   " if branch.ends_patient else "│  "
        words = _GAP.join(
            filter(
                None,
                (
                    shown_date(_text(row["study_date"])) or "(no date)",
                    plain(row.get("ModalitiesInStudy"), ", "),
                    _text(row["study_description"]),
                    f"accession {number}" if (number := _text(row["accession_number"])) else "",
                ),
            )
        )
        self._line("└─ " if branch.ends_patient else "├─ ", below, words, row["study_instance_uid"])
        for series, after in _with_next(series_of(self.archive, row)):
            self._series(series, below, is_last=after is None)

    def _series(self, row: Row, indent: str, *, is_last: bool) -> None:
        count = row.get("NumberOfSeriesRelatedInstances") or 0
        self.tally.series += 1
        self.tally.instances += count
        number = "" if row["series_number"] is None else f"{row['series_number']}"
        words = _GAP.join(
            filter(
                None,
                (number, _text(row["modality"]), _text(row["series_description"]), many(count, "instance")),
            )
        )
        below = indent + ("   " if is_last else "│  ")
        self._line(indent + ("└─ " if is_last else "├─ "), below, words, row["series_instance_uid"])
        if self.with_instances:
            for instance, after in _with_next(instances_of(self.archive, row)):
                mark = "└─ " if after is None else "├─ "
                number = "" if instance["instance_number"] is None else f"{instance['instance_number']}"
                self._line(below + mark, below, number, instance["sop_instance_uid"])

    def _line(self, mark: str, below: str, words: str, uid: str) -> None:
        line = f"{mark}{words}"
        uid = shown(uid)
        if not words:
            click.echo(f"{mark}{click.style(uid, dim=True)}")
        elif self.width is None or cell_len(line) + len(_GAP) + len(uid) <= self.width:
            click.echo(f"{line}{_GAP}{click.style(uid, dim=True)}")
        else:
            click.echo(line if cell_len(line) <= self.width else f"{set_cell_size(line, self.width - 1)}…")
            click.echo(f"{below}{click.style(uid, dim=True)}")


def _text(value: Any) -> str:
    return shown(plain(value))


def _with_next(items: Iterable[_T]) -> Iterator[tuple[_T, _T | None]]:
    """Each with the one behind it; None behind the last."""
    source = iter(items)
    try:
        current = next(source)
    except StopIteration:
        return
    for following in source:
        yield current, following
        current = following
    yield current, None
