"""The archive behind its port: opened at the first question, and again after a failure."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from archive import Archive
from dicomrelay.dicom.query_models import Level
from dicomrelay.errors import ServiceUnavailable
from dicomrelay.settings import Settings
from scp_gateway.archive_port import ArchivePort, LazyArchive, open_archive
from tests.support.queries import ROOT, STUDIES, fill_archive, write_studies


def test_a_gateway_that_is_asked_nothing_loads_no_database(tmp_path: Path) -> None:
    """Not even the libraries: storing must not depend on them."""
    code = (
        "import sys; from scp_gateway import app; from dicomrelay.settings import Settings; from pathlib import Path;"
        "settings = Settings(home=Path(sys.argv[1]));"
        "schedule = app.LazyWorklist(settings), app.LazyPerformed(settings);"
        "from dicomrelay.audit import Audit; from scp_gateway.audited import Witness;"
        "witness = Witness(Audit(settings));"
        "app._operations(settings, app.open_archive(settings), app._NO_LEDGER, *schedule, witness, desk=lambda: None);"
        "print([name for name in ('sqlalchemy', 'alembic', 'archive') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.fixture
def port(tmp_path: Path) -> Iterator[ArchivePort]:
    opened = open_archive(Settings(home=tmp_path))
    yield opened
    opened.close()


def test_nothing_is_made_before_the_first_question(port: ArchivePort, tmp_path: Path) -> None:
    """No folder, no index; what the index holds is known without."""
    assert port.attributes()["PatientID"].level is Level.PATIENT
    assert port.attributes()["StudyDate"].level is Level.STUDY
    assert not (tmp_path / "archive").exists()
    assert list(port.rows(Level.STUDY, {})) == []
    assert (tmp_path / "archive" / "index.sqlite").exists()


def test_a_failure_is_not_remembered() -> None:
    """The database comes back, and the next question is answered."""
    tries = []

    class Empty:
        def digests(self, _uids: object) -> dict[str, str]:
            return {}

    def opened() -> Archive:
        tries.append(1)
        if len(tries) < 3:
            raise ServiceUnavailable("no answer")
        return cast("Archive", Empty())

    port = LazyArchive(opened)
    for _ in range(2):
        with pytest.raises(ServiceUnavailable):
            port.digests(["1.2"])
        assert not port.is_open
    assert port.digests(["1.2"]) == {}
    assert port.digests(["1.2"]) == {}
    assert len(tries) == 3


def test_rows_are_by_keyword_at_every_level(port: ArchivePort, tmp_path: Path) -> None:
    """With the counts of their level; SOP classes only when they are wanted."""
    fill_archive(tmp_path / "archive", write_studies(tmp_path / "in"))
    patients = {row["PatientID"]: row for row in port.rows(Level.PATIENT, {})}
    assert patients["P1"]["NumberOfPatientRelatedStudies"] == 2
    assert patients["P1"]["NumberOfPatientRelatedSeries"] == 3
    assert patients["P1"]["NumberOfPatientRelatedInstances"] == 6
    (study,) = port.rows(Level.STUDY, {"StudyInstanceUID": f"{ROOT}.1"}, with_sop_classes=True)
    assert study["PatientName"] == "MÜLLER^JÖRG"
    assert sorted(study["ModalitiesInStudy"]) == ["CT", "MR"]
    assert study["SOPClassesInStudy"] == ["1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"]
    assert (study["NumberOfStudyRelatedSeries"], study["NumberOfStudyRelatedInstances"]) == (2, 5)
    assert "SOPClassesInStudy" not in next(port.rows(Level.STUDY, {}))
    series = list(port.rows(Level.SERIES, {"StudyInstanceUID": f"{ROOT}.1"}))
    assert {row["Modality"]: row["NumberOfSeriesRelatedInstances"] for row in series} == {"CT": 3, "MR": 2}
    instances = list(port.rows(Level.IMAGE, {}))
    assert len(instances) == sum(each.instances for study in STUDIES for each in study.series)
    assert {row["Rows"] for row in instances} == {4}


def test_a_selection_of_nothing_is_nothing(port: ArchivePort, tmp_path: Path) -> None:
    """Where the archive itself would take it for everything."""
    fill_archive(tmp_path / "archive", write_studies(tmp_path / "in", STUDIES[:2]))
    assert list(port.select()) == []
    found = list(port.select(study_uids=[f"{ROOT}.1"]))
    assert len(found) == 5
    with port.local_file(found[0]) as path:
        assert path.read_bytes()[128:132] == b"DICM"
    assert set(port.digests([found[0].sop_instance_uid, "1.2"])) == {found[0].sop_instance_uid}
