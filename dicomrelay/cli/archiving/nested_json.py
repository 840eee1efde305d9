"""`list --format json`: patients, studies, series and instances in one document, under the names of archive_index.json."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import click

from archive import Archive
from dicomrelay.cli.archiving.tree import Branch, Tally, instances_of, series_of

Row = Mapping[str, Any]


class NestedJsonWriter:
    """Writes the document study by study: memory is that of a series.

    Parameters
    ----------
    with_instances : bool
        Instances too, and not only how many there are.
    """

    def __init__(self, archive: Archive, *, with_instances: bool) -> None:
        self._archive = archive
        self._with_instances = with_instances
        self.tally = Tally()
        click.echo('{"patients": [', nl=False)

    def write(self, branch: Branch) -> None:
        """One study, with its patient around it."""
        row = branch.row
        self.tally.studies += 1
        if branch.begins_patient:
            patient = {
                "patientName": row["patient_name"],
                "patientID": row["patient_id"],
                "patientBirthDate": row["patient_birth_date"],
                "patientSex": row["patient_sex"],
            }
            click.echo(f'{"," if self.tally.patients else ""}\n {_open(patient)}, "studies": [', nl=False)
            self.tally.patients += 1
        else:
            click.echo(",", nl=False)
        modalities = list(row.get("ModalitiesInStudy") or ())
        study = {
            "studyInstanceUID": row["study_instance_uid"],
            "studyDate": row["study_date"],
            "studyTime": row["study_time"],
            "studyDescription": row["study_description"],
            "accessionNumber": row["accession_number"],
            "modality": modalities[0] if modalities else None,
            "modalities": modalities,
        }
        click.echo(f'\n  {_open(study)}, "series": [', nl=False)
        self._series(row)
        click.echo("]}", nl=False)
        if branch.ends_patient:
            click.echo("]}", nl=False)

    def _series(self, study: Row) -> None:
        between = ""
        for row in series_of(self._archive, study):
            count = row.get("NumberOfSeriesRelatedInstances") or 0
            self.tally.series += 1
            self.tally.instances += count
            series = {
                "seriesInstanceUID": row["series_instance_uid"],
                "seriesNumber": row["series_number"],
                "modality": row["modality"],
                "seriesDescription": row["series_description"],
                "instanceCount": count,
            }
            click.echo(f"{between}\n   {_open(series)}", nl=False)
            if self._with_instances:
                self._instances(instances_of(self._archive, row))
            click.echo("}", nl=False)
            between = ","

    def _instances(self, rows: Iterator[Row]) -> None:
        click.echo(', "instances": [', nl=False)
        between = ""
        while page := list(islice(rows, 1000)):
            lines = [json.dumps(_instance(row), ensure_ascii=False) for row in page]
            click.echo(between + ",".join(f"\n    {line}" for line in lines), nl=False)
            between = ","
        click.echo("]", nl=False)

    def close(self) -> None:
        """That was all."""
        counts = {
            "patientCount": self.tally.patients,
            "studyCount": self.tally.studies,
            "seriesCount": self.tally.series,
            "fileCount": self.tally.instances,
        }
        click.echo(f"],\n {json.dumps(counts)[1:]}")


def _instance(row: Row) -> dict[str, Any]:
    return {
        "sopInstanceUID": row["sop_instance_uid"],
        "sopClassUID": row["sop_class_uid"],
        "transferSyntaxUID": row["transfer_syntax_uid"],
        "instanceNumber": row["instance_number"],
    }


def _open(members: Mapping[str, Any]) -> str:
    """An object that is not closed yet."""
    return json.dumps(members, ensure_ascii=False)[:-1]
