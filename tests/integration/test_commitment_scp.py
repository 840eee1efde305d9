"""Storage commitment at our gateway: by pynetdicom and Orthanc as SCU, on the same association and on a new one."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel  # type: ignore[attr-defined]

from archive import Archive
from dicomrelay.dicom.commitment import STORAGE_COMMITMENT_PUSH_MODEL_INSTANCE
from dicomrelay.ledger.migrate import migrate
from dicomrelay.net.requestor import RemoteAe
from dicomrelay.runtime import home
from dicomrelay.runtime.ports import free_ports
from dicomrelay.settings import Settings
from tests.support.archives import orthanc, store
from tests.support.gateway import running
from tests.support.house import wait_for
from tests.support.ledger import arrival
from tests.support.queries import ROOT, STUDIES, fill_archive, write_studies
from workers.commit_reports import Reporter
from workers.rooms import Rooms

SYNTAXES = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]


@dataclass
class Asker:
    """A modality on pynetdicom, with a listener of its own for reports."""

    port: int
    status: int = 0
    reports: list[tuple[int, Dataset, bool]] = field(
        default_factory=list
    )  # event type, data set, on the same association
    changed: threading.Condition = field(default_factory=threading.Condition)

    def take(self, event: evt.Event, same: bool) -> tuple[int, Dataset | None]:
        with self.changed:
            self.reports.append((event.event_type, event.event_information, same))
            self.changed.notify_all()
        return self.status, None

    def wait(self, count: int = 1, timeout_s: float = 10) -> tuple[int, Dataset, bool]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.reports) >= count, timeout_s), "no report came"
            return self.reports[count - 1]

    def ask(
        self,
        gateway: RemoteAe,
        references: Sequence[tuple[str, str]],
        *,
        transaction_uid: str = "2.25.1",
        stays_s: float = 0.0,
        action: int = 1,
    ) -> int:
        """Send the request, stay for so long, release; the status of the answer, -1 when the context was refused."""
        ae = AE("CT1")
        ae.add_requested_context(StorageCommitmentPushModel, SYNTAXES)
        association = ae.associate(
            gateway.host,
            gateway.port,
            evt_handlers=[(evt.EVT_N_EVENT_REPORT, lambda event: self.take(event, same=True))],
        )
        if not association.is_established:
            return -1
        information = Dataset()
        information.TransactionUID = transaction_uid
        information.ReferencedSOPSequence = DicomSequence()
        for sop_class_uid, sop_instance_uid in references:
            item = Dataset()
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class_uid, sop_instance_uid
            information.ReferencedSOPSequence.append(item)
        answer, _ = association.send_n_action(
            information, action, StorageCommitmentPushModel, STORAGE_COMMITMENT_PUSH_MODEL_INSTANCE
        )
        before = len(self.reports)
        if stays_s:
            with self.changed:
                self.changed.wait_for(lambda: len(self.reports) > before, stays_s)
            time.sleep(0.2)
        association.release()
        return int(answer.Status)


@contextmanager
def asker() -> Iterator[Asker]:
    """One that listens."""
    found = Asker(free_ports(1)[0])
    ae = AE("CT1")
    ae.add_supported_context(StorageCommitmentPushModel, SYNTAXES, scu_role=False, scp_role=True)
    server = ae.start_server(
        ("127.0.0.1", found.port),
        block=False,
        evt_handlers=[(evt.EVT_N_EVENT_REPORT, lambda event: found.take(event, same=False))],
    )
    try:
        yield found
    finally:
        server.shutdown()


def references_of(paths: Sequence[Path]) -> list[tuple[str, str]]:
    """SOP class and SOP Instance UID of each."""
    found = [dcmread(path, stop_before_pixels=True) for path in paths]
    return [(str(ds.SOPClassUID), str(ds.SOPInstanceUID)) for ds in found]


def _rooms(settings: Settings) -> Rooms:
    home.prepare(settings)
    migrate(home.ledger_url(settings))
    return Rooms.open(settings)


def _report(settings: Settings) -> int:
    """What the scheduler does when its time comes, once."""
    rooms = _rooms(settings)
    try:
        return Reporter(rooms, threading.Event()).report_due()
    finally:
        rooms.close()


def _states(folder: Path) -> dict[str, int]:
    with closing(Archive.open(folder / "archive")) as archive:
        return archive.commitments.counts()


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = write_studies(tmp_path / "in", STUDIES[:1])
    fill_archive(tmp_path / "home" / "archive", paths)
    return paths


def _sections(port: int, **commitment: object) -> dict[str, object]:
    destination = {"name": "ct1", "ae_title": "CT1", "host": "127.0.0.1", "port": port, "moves_only": True}
    return {"destinations": [destination], "commitment": commitment}


def test_a_report_on_the_same_association(tmp_path: Path, files: list[Path]) -> None:
    """Event 1, all instances, where to get them; and noted as answered."""
    with asker() as peer, running(tmp_path / "home", sections=_sections(peer.port)) as gateway:
        assert peer.ask(gateway.remote, references_of(files), stays_s=5) == 0
        event_type, information, same = peer.wait()
        assert (event_type, same, information.TransactionUID) == (1, True, "2.25.1")
        assert information.RetrieveAETitle == "DICOMRELAY"
        found = {item.ReferencedSOPInstanceUID for item in information.ReferencedSOPSequence}
        assert found == {uid for _, uid in references_of(files)}
        assert _states(tmp_path / "home") == {"answered": 1}
        assert _report(gateway.settings) == 0
        assert len(peer.reports) == 1


def test_a_report_on_a_new_association(tmp_path: Path, files: list[Path]) -> None:
    """The peer has released: the scheduler calls it, with what failed and why."""
    references = [*references_of(files), ("1.2.840.10008.5.1.4.1.1.2", "1.2.3.4")]
    with (
        asker() as peer,
        running(tmp_path / "home", sections=_sections(peer.port, wait_s=0, same_association_s=0)) as gateway,
    ):
        assert peer.ask(gateway.remote, references) == 0
        wait_for(lambda: _report(gateway.settings) > 0, timeout_s=10, what="a report")
        event_type, information, same = peer.wait()
        assert not same
        assert (event_type, [item.FailureReason for item in information.FailedSOPSequence]) == (2, [0x0112])
        assert len(information.ReferencedSOPSequence) == len(files)
        assert _states(tmp_path / "home") == {"answered": 1}


def test_what_is_on_its_way_is_waited_for(tmp_path: Path, files: list[Path]) -> None:
    """Nothing is said before all of it is here; then it is committed to."""
    late = write_studies(tmp_path / "late", STUDIES[1:2])
    with (
        asker() as peer,
        running(
            tmp_path / "home", sections=_sections(peer.port, wait_s=60, same_association_s=0.2)
        ) as gateway,
    ):
        assert peer.ask(gateway.remote, references_of([*files, *late]), stays_s=1) == 0
        assert _report(gateway.settings) == 0
        assert peer.reports == []
        fill_archive(tmp_path / "home" / "archive", late)
        wait_for(lambda: _report(gateway.settings) > 0, timeout_s=10, what="a report")
        assert peer.wait()[0] == 1
        assert _states(tmp_path / "home") == {"answered": 1}


def test_other_bytes_that_came_just_before(tmp_path: Path, files: list[Path]) -> None:
    """Acknowledged, and not judged yet: it is not known to be what the archive has."""
    other = dcmread(files[0])
    other.PatientComments = "not what the archive has"
    with (
        asker() as peer,
        running(tmp_path / "home", sections=_sections(peer.port, wait_s=0, same_association_s=5)) as gateway,
    ):
        _send(gateway.remote, other)
        references = references_of(files[:1])
        assert peer.ask(gateway.remote, references, stays_s=5) == 0
        event_type, information, _ = peer.wait()
        assert (event_type, [item.FailureReason for item in information.FailedSOPSequence]) == (2, [0x0110])
        (came,) = gateway.spool.arrivals(10)
        gateway.spool.remove([came.id])
        assert peer.ask(gateway.remote, references, transaction_uid="2.25.2", stays_s=5) == 0
        assert peer.wait(2)[0] == 1


def test_what_the_ledger_has_set_aside(tmp_path: Path, files: list[Path]) -> None:
    """The archive never saw it: on the same association, and from the scheduler."""
    (reference,) = references_of(files[:1])
    with (
        asker() as peer,
        running(
            tmp_path / "home",
            sections=_sections(peer.port, same_association_s=0),
        ) as gateway,
    ):
        rooms = _rooms(gateway.settings)
        try:
            rooms.ledger.register([replace(arrival(1), sop_instance_uid=reference[1], digest="f" * 64)])
        finally:
            rooms.close()
        assert peer.ask(gateway.remote, [reference]) == 0
        wait_for(lambda: _report(gateway.settings) > 0, timeout_s=10, what="a report")
        event_type, information, _ = peer.wait()
        assert (event_type, [item.FailureReason for item in information.FailedSOPSequence]) == (2, [0x0110])


def _send(gateway: RemoteAe, data_set: Dataset) -> None:
    ae = AE("CT1")
    ae.add_requested_context(data_set.SOPClassUID, data_set.file_meta.TransferSyntaxUID)
    association = ae.associate(gateway.host, gateway.port)
    assert association.send_c_store(data_set).Status == 0
    association.release()


def test_a_gateway_that_is_killed_after_its_answer(tmp_path: Path, files: list[Path]) -> None:
    """The request is durable: a later process reports."""
    with asker() as peer:
        sections = _sections(peer.port, same_association_s=0)
        with running(tmp_path / "home", sections=sections) as gateway:
            assert peer.ask(gateway.remote, references_of(files)) == 0
            settings = gateway.settings
        assert peer.reports == []
        wait_for(lambda: _report(settings) > 0, timeout_s=10, what="a report")
        assert peer.wait()[0] == 1


def test_the_same_transaction_again(tmp_path: Path, files: list[Path]) -> None:
    """Answered and reported alike; for something else it is refused."""
    with asker() as peer, running(tmp_path / "home", sections=_sections(peer.port)) as gateway:
        assert peer.ask(gateway.remote, references_of(files), stays_s=5) == 0
        first = peer.wait()
        for path in (tmp_path / "home" / "archive" / "data").rglob("*.dcm"):
            path.unlink()  # what was said was said
        assert peer.ask(gateway.remote, references_of(files), stays_s=5) == 0
        again = peer.wait(2)
        assert (again[0], again[1]) == (first[0], first[1])
        assert peer.ask(gateway.remote, references_of(files[:1])) == 0x0115
        assert peer.ask(gateway.remote, references_of(files), transaction_uid="2.25.2", stays_s=5) == 0
        assert peer.wait(3)[0] == 2


def test_a_peer_that_does_not_take_its_report(tmp_path: Path, files: list[Path]) -> None:
    """Tried again later; what it says it does not know is not."""
    with (
        asker() as peer,
        running(
            tmp_path / "home", sections=_sections(peer.port, same_association_s=0, attempts=3)
        ) as gateway,
    ):
        peer.status = 0x0110
        assert peer.ask(gateway.remote, references_of(files)) == 0
        wait_for(lambda: _report(gateway.settings) >= 0 and bool(peer.reports), timeout_s=10, what="a report")
        assert _states(tmp_path / "home") == {"pending": 1}
        assert _report(gateway.settings) == 0  # it waits
        assert len(peer.reports) == 1
        peer.status = 0x0115
        with closing(Archive.open(tmp_path / "home" / "archive")) as archive:
            archive.commitments.later(1, due_in_ms=0, attempted=False)
        assert _report(gateway.settings) == 1
        assert _states(tmp_path / "home") == {"failed": 1}


def test_a_peer_that_nobody_knows_where_to_find(tmp_path: Path, files: list[Path]) -> None:
    """On its own association it is told all the same; else it is given up, and said in the log."""
    with asker() as peer, running(tmp_path / "home") as gateway:
        assert peer.ask(gateway.remote, references_of(files), stays_s=5) == 0
        assert peer.wait()[2] is True
        assert peer.ask(gateway.remote, references_of(files), transaction_uid="2.25.2") == 0
        wait_for(lambda: len(peer.reports) > 1 or _report(gateway.settings) > 0, timeout_s=10, what="an end")
        states = _states(tmp_path / "home")
        assert states in ({"answered": 1, "failed": 1}, {"answered": 2})


def test_where_an_entry_of_the_peers_listens(tmp_path: Path, files: list[Path]) -> None:
    """An AE title, one address and a port: that is enough."""
    with asker() as peer:
        entry = {"ae_title": "CT1", "host": "127.0.0.1", "port": peer.port, "rights": ["commitment"]}
        with running(
            tmp_path / "home", peers=[entry], sections={"commitment": {"same_association_s": 0}}
        ) as gateway:
            assert peer.ask(gateway.remote, references_of(files)) == 0
            wait_for(lambda: _report(gateway.settings) > 0, timeout_s=10, what="a report")
            assert peer.wait()[0] == 1


def test_a_peer_without_the_right(tmp_path: Path, files: list[Path]) -> None:
    """Its context is rejected: pynetdicom has nothing left to ask in."""
    entry = {"ae_title": "CT1", "host": "127.0.0.1", "rights": ["store", "query"]}
    with asker() as peer, running(tmp_path / "home", peers=[entry]) as gateway:
        assert peer.ask(gateway.remote, references_of(files)) == -1


def test_bad_requests_are_answered(tmp_path: Path, files: list[Path]) -> None:
    """Another action; no reference."""
    with asker() as peer, running(tmp_path / "home") as gateway:
        assert peer.ask(gateway.remote, references_of(files), action=2) == 0x0123
        assert peer.ask(gateway.remote, []) == 0x0115
        assert peer.ask(gateway.remote, references_of(files), transaction_uid="") == 0x0115
    assert _states(tmp_path / "home") == {}


def test_an_index_that_is_away_is_told(tmp_path: Path, files: list[Path]) -> None:
    """0110: not kept, and nobody believes it was."""
    with asker() as peer, running(tmp_path / "home") as gateway:
        index = tmp_path / "home" / "archive" / "index.sqlite"
        content = index.read_bytes()
        for beside in index.parent.glob("index.sqlite-*"):
            beside.unlink()
        index.write_bytes(b"no database at all" * 100)
        assert peer.ask(gateway.remote, references_of(files)) == 0x0110
        index.write_bytes(content)
        assert peer.ask(gateway.remote, references_of(files), stays_s=5) == 0


# ---- Orthanc asks us


def _rest(port: int, path: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", data, timeout=60) as answer:
        return json.loads(answer.read())


@pytest.mark.dcmtk
def test_orthanc_asks_for_commitment(tmp_path: Path, files: list[Path]) -> None:
    """It releases after its request and takes the report as a listener; what it does not have here is told."""
    gateway_port, http = free_ports(2)
    modalities = {"relay": ["DICOMRELAY", "127.0.0.1", gateway_port]}
    others = write_studies(tmp_path / "others", STUDIES[2:3])
    with orthanc(
        tmp_path / "orthanc",
        HttpServerEnabled=True, HttpPort=http, AuthenticationEnabled=False, DicomModalities=modalities,
    ) as archive:  # fmt: skip
        store(archive, [*files, *others])
        destination = {
            "name": "orthanc", "ae_title": "ORTHANC", "host": "127.0.0.1", "port": archive.remote.port, "moves_only": True,
        }  # fmt: skip
        sections = {"destinations": [destination], "commitment": {"wait_s": 0}}
        with running(tmp_path / "home", sections=sections, port=gateway_port) as gateway:
            asked = [
                {"SOPClassUID": sop_class, "SOPInstanceUID": uid}
                for sop_class, uid in references_of([*files, *others])
            ]
            transaction = _rest(http, "/modalities/relay/storage-commitment", {"DicomInstances": [
                [each["SOPClassUID"], each["SOPInstanceUID"]] for each in asked
            ]})["ID"]  # fmt: skip

            def is_over() -> bool:
                _report(gateway.settings)
                return bool(_rest(http, f"/storage-commitment/{transaction}")["Status"] != "Pending")

            wait_for(is_over, timeout_s=15, what="Orthanc has its report")
            told = _rest(http, f"/storage-commitment/{transaction}")
            assert told["Status"] == "Failure"
            assert len(told["Success"]) == len(files)
            assert {each["SOPInstanceUID"] for each in told["Failures"]} == {
                f"{ROOT}.3.1.1",
                f"{ROOT}.3.1.2",
            }
