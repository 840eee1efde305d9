"""Performed procedure steps at our gateway, by pynetdicom as the modality and by our own SCU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pynetdicom import AE
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    CTImageStorage,
    ModalityPerformedProcedureStep,
    ModalityPerformedProcedureStepRetrieve,
)

from dicomrelay.dimse.identifier import decode_identifier, encode_identifier
from dicomrelay.ledger.migrate import migrate
from dicomrelay.net.object_scu import ObjectScu, object_contexts
from dicomrelay.net.requestor import Association, NoAcceptedContext
from dicomrelay.runtime import home
from dicomrelay.scheduling.performed_steps import PerformedSteps
from dicomrelay.settings import Settings
from tests.support import performed as said
from tests.support.gateway import Running, running

UID = "1.2.9"


@contextmanager
def gateway(folder: Path, **options: Any) -> Iterator[Running]:
    """With a ledger."""
    settings = Settings(home=folder)
    home.prepare(settings)
    migrate(home.ledger_url(settings))
    with running(folder, **options) as found:
        yield found


@contextmanager
def modality(
    found: Running, syntax: str = said.EXPLICIT, ae_title: str = "CT_1", *classes: str
) -> Iterator[Any]:
    """An association of pynetdicom."""
    ae = AE(ae_title)
    for each in classes or (ModalityPerformedProcedureStep, ModalityPerformedProcedureStepRetrieve):
        ae.add_requested_context(each, [syntax])
    association = ae.associate(found.remote.host, found.remote.port, ae_title=found.remote.ae_title)
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def create(association: Any, attributes: Dataset, uid: str | None = UID) -> Dataset:
    status, _ = association.send_n_create(attributes, ModalityPerformedProcedureStep, uid)
    assert isinstance(status, Dataset)
    return status


def change(association: Any, attributes: Dataset, uid: str = UID) -> Dataset:
    status, _ = association.send_n_set(attributes, ModalityPerformedProcedureStep, uid)
    assert isinstance(status, Dataset)
    return status


def kept(found: Running) -> PerformedSteps:
    return PerformedSteps.open(home.ledger_url(found.settings))


@pytest.mark.parametrize("syntax", [said.EXPLICIT, said.IMPLICIT])
def test_from_the_beginning_to_the_end(tmp_path: Path, syntax: str) -> None:
    """N-CREATE, N-SET, the last N-SET, and N-GET of what became of it."""
    with gateway(tmp_path) as found, modality(found, syntax) as association:
        assert create(association, said.created()).Status == 0
        changes = said.changed_by(Dataset(), {"PerformedProcedureStepDescription": "Head, again"})
        assert change(association, changes).Status == 0
        assert change(association, said.ended(references=["1.2.3.1", "1.2.3.2"])).Status == 0
        status, step = association.send_n_get([], ModalityPerformedProcedureStepRetrieve, UID)
        assert status.Status == 0
        assert step.PatientName == "Müller^Jürgen"
        assert step.PerformedProcedureStepStatus == "COMPLETED"
        assert step.PerformedProcedureStepDescription == "Head, again"
        assert len(step.PerformedSeriesSequence[0].ReferencedImageSequence) == 2
        wanted = [0x00400252, 0x00400253, 0x00091001]
        status, step = association.send_n_get(wanted, ModalityPerformedProcedureStepRetrieve, UID)
        assert status.Status == 0x0001
        assert {element.keyword for element in step} == {
            "SpecificCharacterSet",
            "PerformedProcedureStepStatus",
            "PerformedProcedureStepID",
        }
        (row,) = kept(found).steps()
        assert (row.sop_instance_uid, row.messages, row.instances) == (UID, 3, 2)


def test_the_statuses_of_the_standard(tmp_path: Path) -> None:
    """Out of order, twice, after the end, without what it must say; the association goes on after each."""
    with gateway(tmp_path) as found, modality(found) as association:
        assert change(association, said.ended()).Status == 0x0112
        missing = create(association, said.created(Modality=None))
        assert (missing.Status, missing.ErrorComment) == (0x0120, "Modality is missing")
        assert create(association, said.created(PerformedProcedureStepID="")).Status == 0x0121
        wrong = create(association, said.created(PerformedProcedureStepStatus="COMPLETED"))
        assert (wrong.Status, "AttributeIdentifierList" in wrong) == (0x0106, False)
        assert create(association, said.created()).Status == 0
        assert create(association, said.created()).Status == 0x0111
        patient = change(association, said.changed_by(Dataset(), {"PatientID": "P2"}))
        assert (patient.Status, patient.AttributeIdentifierList) == (0x0105, 0x00100020)
        assert change(association, said.ended(PerformedProcedureStepEndTime=None)).Status == 0x0121
        assert change(association, said.ended()).Status == 0
        over = change(association, said.ended())
        assert (over.Status, over.ErrorID) == (0x0110, 0xA710)
        assert over.ErrorComment == "Performed Procedure Step Object may no longer be updated"
        status, _ = association.send_n_get([], ModalityPerformedProcedureStepRetrieve, "9.9")
        assert status.Status == 0x0112


def test_what_is_wrong_comes_back(tmp_path: Path) -> None:
    """PS3.4 Section F.7.2.1.3: 0106 with an Attribute List, that of what is invalid and no more."""
    with gateway(tmp_path) as found:
        contexts = object_contexts(ModalityPerformedProcedureStep)
        with Association.request(found.remote, calling_ae_title="CT_1", contexts=contexts) as association:
            scu = ObjectScu(association, ModalityPerformedProcedureStep)
            syntax = scu.transfer_syntaxes[0]
            given = said.created(PerformedProcedureStepStatus="SCHEDULED")
            answer = scu.create(UID, encode_identifier(given, syntax), syntax)
            assert answer.response.status == 0x0106
            wrong = decode_identifier(answer.data_set, syntax)
            assert {element.keyword for element in wrong} == {
                "SpecificCharacterSet",
                "PerformedProcedureStepStatus",
            }
            assert wrong.PerformedProcedureStepStatus == "SCHEDULED"
            given = said.created()
            given.PerformedProcedureStepID = ""
            answer = scu.create(UID, encode_identifier(given, syntax), syntax)
            assert (answer.response.status, answer.response.attributes) == (0x0121, ())


def test_a_step_is_its_makers(tmp_path: Path) -> None:
    """Another AE title with the right neither ends nor reads it, and learns nothing of whom it is about."""
    with gateway(tmp_path) as found, modality(found) as mine, modality(found, said.EXPLICIT, "CT_2") as other:
        assert create(mine, said.created()).Status == 0
        refused = change(other, said.ended("DISCONTINUED"))
        assert (refused.Status, refused.ErrorComment) == (0x0124, "another AE title has made the step")
        status, step = other.send_n_get([], ModalityPerformedProcedureStepRetrieve, UID)
        assert (status.Status, step) == (0x0124, None)
        assert create(other, said.created()).Status == 0x0111
        assert change(mine, said.ended()).Status == 0
    sections = {"performed_procedure_steps": {"others_may": ["get", "set"]}}
    with running(tmp_path, sections=sections) as found, modality(found, said.EXPLICIT, "RIS") as other:
        status, step = other.send_n_get([], ModalityPerformedProcedureStepRetrieve, UID)
        assert (status.Status, step.PatientID) == (0, "P4711")
        assert change(other, said.ended()).Status == 0x0110


def test_under_the_low_water_mark_nothing_is_taken(tmp_path: Path) -> None:
    """As instances: 0213, and nothing is written. What is there is told."""
    with gateway(tmp_path) as found, modality(found) as association:
        assert create(association, said.created()).Status == 0
    with (
        running(tmp_path, min_free_bytes=1 << 60) as found,
        modality(found) as association,
    ):
        full = create(association, said.created(), "1.2.8")
        assert (full.Status, full.ErrorComment) == (0x0213, "no room here, say it again later")
        assert change(association, said.ended()).Status == 0x0213
        status, _ = association.send_n_get([], ModalityPerformedProcedureStepRetrieve, UID)
        assert status.Status == 0
        (row,) = kept(found).steps()
        assert row.messages == 1


def test_one_without_a_uid_gets_one(tmp_path: Path) -> None:
    """PS3.7 Section 10.1.5.1.4."""
    with gateway(tmp_path) as found:
        contexts = object_contexts(ModalityPerformedProcedureStep)
        with Association.request(found.remote, calling_ae_title="CT_1", contexts=contexts) as association:
            scu = ObjectScu(association, ModalityPerformedProcedureStep)
            syntax = scu.transfer_syntaxes[0]
            answer = scu.create("", encode_identifier(said.created(), syntax), syntax)
            uid = answer.response.sop_instance_uid
            assert answer.response.status == 0
            assert uid.startswith("2.25.")
            got = scu.get(uid, [0x00100020])
            assert decode_identifier(got.data_set, got.transfer_syntax_uid).PatientID == "P4711"


def test_what_cannot_be_read_is_refused_and_nothing_is_kept(tmp_path: Path) -> None:
    with gateway(tmp_path) as found:
        contexts = object_contexts(ModalityPerformedProcedureStep)
        with Association.request(found.remote, calling_ae_title="CT_1", contexts=contexts) as association:
            scu = ObjectScu(association, ModalityPerformedProcedureStep)
            syntax = scu.transfer_syntaxes[0]
            whole = encode_identifier(said.created(), syntax)
            for raw, status in (
                (whole[:-3], 0x0106),
                (b"", 0x0106),
                (whole + b"\0" * (8 << 20), 0x0213),
                (b"\x01\x00\x01\x00LO\x00\x00" * 60_001, 0x0213),
            ):
                assert scu.create(UID, raw, syntax).response.status == status
            assert scu.create("1..2", whole, syntax).response.status == 0x0117
            assert scu.create(UID, whole, syntax, sop_class_uid=CTImageStorage).response.status == 0x0118
            assert scu.change("", whole, syntax).response.status == 0x0112
        assert kept(found).steps() == ()


def test_many_references_go_in_one_message(tmp_path: Path) -> None:
    """A long examination: 1,000 instances in several PDUs."""
    uids = [f"1.2.3.{number}" for number in range(1000)]
    with gateway(tmp_path) as found, modality(found) as association:
        create(association, said.created())
        assert change(association, said.ended(references=uids)).Status == 0
        (row,) = kept(found).steps()
        assert row.instances == 1000


def test_without_a_database_it_is_refused_for_now_and_images_are_stored(tmp_path: Path) -> None:
    """0213: nothing is kept, and the modality says it again."""
    with (
        running(tmp_path) as found,
        modality(found, said.EXPLICIT, "CT_1", ModalityPerformedProcedureStep, CTImageStorage) as association,
    ):
        assert create(association, said.created()).Status == 0x0213
        image = Dataset()
        image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, "1.2.3.1"
        image.StudyInstanceUID, image.SeriesInstanceUID = said.STUDY, said.SERIES
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = said.EXPLICIT
        assert association.send_c_store(image).Status == 0
        home.prepare(found.settings)
        migrate(home.ledger_url(found.settings))
        assert create(association, said.created()).Status == 0


def test_only_who_may(tmp_path: Path) -> None:
    """The right `mpps`; it is none to store, and the other way round."""
    peers = [
        {"ae_title": "CT_1", "rights": ["mpps"]},
        {"ae_title": "CT_2", "rights": ["store"]},
    ]
    with gateway(tmp_path, peers=peers) as found:
        with modality(found) as association:
            assert create(association, said.created()).Status == 0
        with modality(found, said.EXPLICIT, "CT_2") as association:
            assert not association.is_established or not association.accepted_contexts
        both = [(ModalityPerformedProcedureStep, (said.EXPLICIT,)), (CTImageStorage, (said.EXPLICIT,))]
        with Association.request(found.remote, calling_ae_title="CT_2", contexts=both) as other:
            with pytest.raises(NoAcceptedContext):
                ObjectScu(other, ModalityPerformedProcedureStep)
            (accepted,) = other.accepted
            assert accepted[0] == CTImageStorage


def test_it_can_be_switched_off_and_be_lenient(tmp_path: Path) -> None:
    sections = {"performed_procedure_steps": {"enabled": False}}
    with gateway(tmp_path / "off", sections=sections) as found, modality(found) as association:
        assert not association.is_established or not association.accepted_contexts
    sections = {"performed_procedure_steps": {"strict": False}}
    lean = said.created(PatientSex=None, StudyID=None, PerformedSeriesSequence=None)
    with gateway(tmp_path / "lean", sections=sections) as found, modality(found) as association:
        assert create(association, lean).Status == 0
        assert change(association, said.ended("DISCONTINUED", PerformedSeriesSequence=None)).Status == 0


def test_what_is_logged_names_no_patient(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with gateway(tmp_path) as found, modality(found) as association:
        create(association, said.created(PatientName="Geheim^Name", PatientID="GEHEIM"))
        create(association, said.created(PatientName="Geheim^Name", PerformedProcedureStepID=""), "1.2.8")
        change(association, said.changed_by(Dataset(), {"PatientName": "Geheim^Anders"}))
        item = said.series(["1.2.3"], SeriesInstanceUID="")
        change(association, said.ended(PerformedSeriesSequence=Items([item])))
    written = "".join(capfd.readouterr())
    assert "Geheim" not in written
    assert "GEHEIM" not in written
